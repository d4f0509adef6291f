"""What bags hold, for readers and writers: records, the known types, and the one error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rosbags.typesys import Stores, get_typestore

if TYPE_CHECKING:
    from pathlib import Path

Storage = Literal["mcap", "sqlite3"]

LABEL_SET_KEY = "csk_ros.label_set"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
STRING = "std_msgs/msg/String"
TYPES = get_typestore(Stores.ROS2_JAZZY)
"""Message types of ROS 2 Jazzy, for building and serialising messages."""


class BagError(ValueError):
    """A bag that cannot be read or written; the message is one line and names the bag."""


class Record(NamedTuple):
    """One message of a bag.

    Attributes:
        topic: its topic.
        msgtype: its type, such as ``sensor_msgs/msg/Image``.
        received_ns: when the recorder received it, in nanoseconds.
        message: the message, with the fields that ROS gives it; arrays are ndarrays.
    """

    topic: str
    msgtype: str
    received_ns: int
    message: Any


class RawRecord(NamedTuple):
    """One message of a bag as its CDR bytes; fields as in :class:`Record`."""

    topic: str
    msgtype: str
    received_ns: int
    data: bytes


class Topic(NamedTuple):
    """One topic of a bag, its type and how many messages it holds."""

    name: str
    msgtype: str
    messages: int


def refuse_existing(path: Path) -> None:
    """Raise BagError if something stands at ``path`` already."""
    if path.exists() or path.is_symlink():
        raise BagError(f"{path} exists already and is left alone: remove it or give another path")
