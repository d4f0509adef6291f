"""Stamps of image messages, without decoding the images."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from csk_ros.replay.bag import COMPRESSED_IMAGE, IMAGE, BagError

if TYPE_CHECKING:
    from csk_ros.replay.bag import BagReader, RawRecord

_SHORTEST = 12


def require_images(bag: BagReader, topic: str) -> None:
    """Raise BagError if ``topic`` is not in the bag or holds no images."""
    bag.raw_records([topic])
    msgtype = bag.topics[topic].msgtype
    if msgtype not in {IMAGE, COMPRESSED_IMAGE}:
        raise BagError(f"{topic} in {bag.path} holds {msgtype}, which is no image")


def stamp_ns(record: RawRecord) -> int | None:
    """The stamp of a message that begins with a ``std_msgs/Header``; None if it is too short for one."""
    if len(record.data) < _SHORTEST:
        return None
    # CDR: encapsulation (its second byte is the byte order), then sec and nanosec.
    seconds, nanoseconds = struct.unpack_from("<iI" if record.data[1] else ">iI", record.data, 4)
    return int(seconds) * 10**9 + int(nanoseconds)
