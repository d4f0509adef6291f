"""The stamp of a serialised message whose first field is a ``std_msgs/Header``, read and set in place."""

from __future__ import annotations

import struct

_SECOND = 1_000_000_000
_AT = 4  # CDR begins with four bytes that tell its kind


def read_stamp(data: bytes) -> int:
    """The stamp in nanoseconds.

    Raises:
        struct.error: if the message is too short to have one.
    """
    seconds, nanoseconds = struct.unpack_from(_layout(data), data, _AT)
    return int(seconds) * _SECOND + int(nanoseconds)


def find_stamp(data: bytes) -> int | None:
    """As :func:`read_stamp`; None for a message that is too short to have one."""
    try:
        return read_stamp(data)
    except struct.error:
        return None


def set_stamp(data: bytes, stamp_ns: int) -> bytes:
    """The message with another stamp.

    Raises:
        struct.error: for a message too short, or a stamp that 32 bits of seconds do not hold.
    """
    changed = bytearray(data)
    struct.pack_into(_layout(data), changed, _AT, *divmod(stamp_ns, _SECOND))
    return bytes(changed)


def _layout(data: bytes) -> str:
    # The second byte tells the byte order.
    return "<iI" if data[1:2] == b"\1" else ">iI"
