"""Messages of ROS 1 as CDR, by the definitions of ROS Noetic."""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from csk_ros.replay.bag_types import TYPES
from csk_ros.replay.storage.parts import Damage, one_line

if TYPE_CHECKING:
    from csk_ros.replay.storage.parts import Channel

_NOETIC = get_typestore(Stores.ROS1_NOETIC)
_NAME = 2  # a field that is a message
_BROKEN = (SerdeError, ValueError, IndexError, AssertionError, UnicodeError, struct.error)


def why_unknown(channel: Channel) -> str:
    """Why the messages of a ROS 1 channel have no CDR form here; empty if they have."""
    if channel.msgtype not in _NOETIC.fielddefs:
        return f"ROS Noetic does not come with {channel.msgtype}"
    if channel.digest not in {"", "*", _md5(channel.msgtype)}:
        return f"it defines {channel.msgtype} otherwise than ROS Noetic"
    if not _same(channel.msgtype):
        return f"ROS 2 has no {channel.msgtype} of the same fields"
    return ""


def to_cdr(data: bytes, msgtype: str) -> bytes:
    """A message in ROS 1's serialisation as ROS 2's.

    Raises:
        Damage: if it is broken.
    """
    try:
        return bytes(TYPES.ros1_to_cdr(data, msgtype))
    except _BROKEN as error:
        raise Damage(one_line(error)) from error


@cache
def _md5(msgtype: str) -> str:
    return str(_NOETIC.generate_msgdef(msgtype)[1])


@cache
def _same(msgtype: str) -> bool:
    """Whether both have the type with fields of the same types in the same order."""
    old, new = (store.fielddefs.get(msgtype) for store in (_NOETIC, TYPES))
    if old is None or new is None:
        return False
    # The header's counter is the one field that conversion takes out.
    olds = [kind for name, kind in old[1] if (msgtype, name) != ("std_msgs/msg/Header", "seq")]
    news = [kind for _, kind in new[1]]
    return olds == news and all(_same(part) for part in _parts(olds))


def _parts(kinds: list[Any]) -> list[str]:
    """The message types among field types, also in arrays."""
    flat = [kind[1][0] if kind[0] > _NAME else kind for kind in kinds]
    return [name for kind, name in flat if kind == _NAME]
