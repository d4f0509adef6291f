"""rosbag2 in and out through ``rosbags``: no ROS needed, metadata that ROS 2 Jazzy reads (version 9).

Conventions of the bags written here: topics as in :data:`TOPICS`, messages in receive order, the label
set of masks and labels as JSON under :data:`LABEL_SET_KEY` in the bag's ``custom_data``.

A bag may come from anybody. It carries definitions of its messages, and ``rosbags`` would make Python code of
them and run it; here messages are read by the definitions of :data:`TYPES` only.
"""

from __future__ import annotations

import json
import shutil
import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import apsw
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import (
    CompressionFormat,
    CompressionMode,
    Reader,
    ReaderError,
    StoragePlugin,
    Writer,
)
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from csk_ros.labels import LabelSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import TracebackType

    from rosbags.interfaces import Connection
    from typing_extensions import Self

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


class _Durability(NamedTuple):
    depth: int
    durability: QosDurability


_QOS = {
    "stream": _Durability(10, QosDurability.VOLATILE),
    "latched": _Durability(1, QosDurability.TRANSIENT_LOCAL),
}
# How rosbag2 writes a duration that was left at its default.
_INFINITE = QosTime(9223372036, 854775807)


def qos_profile(kind: Literal["stream", "latched"] = "stream") -> Qos:
    """The QoS that a topic was offered with: reliable, keep last; ``latched`` serves late subscribers."""
    depth, durability = _QOS[kind]
    return Qos(
        QosHistory.KEEP_LAST,
        depth,
        QosReliability.RELIABLE,
        durability,
        _INFINITE,
        _INFINITE,
        QosLiveliness.AUTOMATIC,
        _INFINITE,
        avoid_ros_namespace_conventions=False,
    )


class BagWriter:
    """Writes one new bag; a context manager. Left by an exception, it removes what it has written.

    Args:
        path: the bag's folder, which must not exist.
        storage: storage plugin of the bag.
        zstd: compress the messages (mcap: its chunks; sqlite3: each message).
        custom_data: texts to keep in the bag's metadata.

    Raises:
        BagError: if ``path`` exists, or its parent cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        storage: Storage = "mcap",
        zstd: bool = False,
        label_set: LabelSet | None = None,
        custom_data: dict[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        if storage not in get_args(Storage):
            raise BagError(f"unknown storage '{storage}': use one of {', '.join(get_args(Storage))}")
        refuse_existing(self.path)
        self._writer = Writer(self.path, version=9, storage_plugin=StoragePlugin[storage.upper()])
        if zstd:
            mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
            self._writer.set_compression(mode, CompressionFormat.ZSTD)
        texts = dict(custom_data or {})
        if label_set is not None:
            texts[LABEL_SET_KEY] = json.dumps(label_set.to_dict())
        for key, text in texts.items():
            self._writer.set_custom_data(key, text)
        self._topics: dict[str, Connection] = {}

    def __enter__(self) -> Self:
        """Create the bag's folder."""
        try:
            self._writer.open()
        except OSError as error:
            raise BagError(f"cannot write the bag {self.path}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write index and metadata, or remove the unfinished bag."""
        self._writer.__exit__(kind, error, trace)
        if kind is not None:
            shutil.rmtree(self.path)

    def add_topic(self, topic: str, msgtype: str, qos: Literal["stream", "latched"] = "stream") -> None:
        """Declare a topic before its first message."""
        self._topics[topic] = self._writer.add_connection(
            topic, msgtype, typestore=TYPES, offered_qos_profiles=[qos_profile(qos)]
        )

    def note(self, key: str, text: str) -> None:
        """Keep a text in the bag's metadata, at any time before it is closed."""
        self._writer.set_custom_data(key, text)

    def write(self, topic: str, received_ns: int, message: Any) -> None:
        """Append a message built from :data:`TYPES`."""
        self.write_raw(topic, received_ns, TYPES.serialize_cdr(message, self._topics[topic].msgtype))

    def write_raw(self, topic: str, received_ns: int, data: bytes | memoryview) -> None:
        """Append a message given as its CDR bytes."""
        self._writer.write(self._topics[topic], received_ns, data)


# What the storages let through of files that are cut short or are something else altogether.
_BROKEN = (
    ReaderError,
    SerdeError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    struct.error,
    apsw.Error,
)


class BagReader:
    """Reads a bag (rosbag2 folder, or one of its files) in receive order; a context manager.

    Args:
        path: the bag.

    Raises:
        BagError: on entering and while reading, if the bag is missing, empty, truncated or no bag.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __enter__(self) -> Self:
        """Open the bag and read its index."""
        if not self.path.exists():
            raise BagError(f"there is no bag at {self.path}: check the path")
        if self.path.is_dir() and not (self.path / "metadata.yaml").exists():
            raise BagError(f"{self.path} is no rosbag2 folder: it holds no metadata.yaml")
        try:
            self._reader = Reader(self.path)
            self._reader.open()
        except _BROKEN as error:
            raise BagError(f"cannot read the bag {self.path}: {_one_line(error)}") from error
        if not self._reader.message_count:
            self._reader.close()
            raise BagError(f"the bag {self.path} is empty: it holds no messages")
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bag."""
        self._reader.close()

    @property
    def topics(self) -> dict[str, Topic]:
        """The topics by name."""
        return {
            name: Topic(name, info.msgtype or "several types", info.msgcount)
            for name, info in sorted(self._reader.topics.items())
        }

    @property
    def start_ns(self) -> int:
        """Receive time of the first message."""
        return self._reader.start_time

    @property
    def duration_ns(self) -> int:
        """Time from the first message to the last."""
        return self._reader.duration - 1

    @property
    def message_count(self) -> int:
        """Messages on all topics together."""
        return self._reader.message_count

    @property
    def custom_data(self) -> dict[str, str]:
        """The texts in the bag's metadata; empty for a storage file without its folder."""
        custom = self._reader.storage.metadata.custom or {}
        if not isinstance(custom, dict):
            raise BagError(f"the custom data in the metadata of {self.path} is malformed")
        return dict(custom)

    @property
    def label_set(self) -> LabelSet | None:
        """The label set that masks and labels of this bag use, where it was stored."""
        text = self.custom_data.get(LABEL_SET_KEY)
        try:
            return None if text is None else LabelSet.from_dict(json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise BagError(
                f"the label set in the metadata of {self.path} is malformed: {_one_line(error)}"
            ) from error

    def offered_qos(self, topic: str) -> Qos | None:
        """The QoS with which a topic was offered when it was recorded; None where the bag does not tell."""
        for connection in self._reader.topics[topic].connections:
            profiles = getattr(connection.ext, "offered_qos_profiles", None)
            if profiles:
                offered: Qos = profiles[0]
                return offered
        return None

    def records(self, topics: Collection[str] | None = None) -> Iterator[Record]:
        """Every message of ``topics`` (None: all), in receive order."""
        for raw in self.raw_records(topics):
            yield self.decode(raw)

    def decode(self, raw: RawRecord) -> Record:
        """The message of ``raw``.

        Raises:
            BagError: if it is broken, or of a type that ROS 2 Jazzy does not know or knows otherwise.
        """
        self._check_type(raw.msgtype)
        try:
            message = TYPES.deserialize_cdr(raw.data, raw.msgtype)
        except _BROKEN as error:
            raise BagError(
                f"a message on {raw.topic} in {self.path} is broken: {_one_line(error)}"
            ) from error
        return Record(raw.topic, raw.msgtype, raw.received_ns, message)

    def _check_type(self, msgtype: str) -> None:
        if msgtype not in TYPES.fielddefs:
            raise BagError(f"{self.path} holds messages of type {msgtype}, which are not known here")
        digests = {c.digest for c in self._reader.connections if c.msgtype == msgtype and c.digest}
        if digests - {_digest(msgtype)}:
            raise BagError(f"{self.path} defines {msgtype} otherwise than ROS 2 Jazzy")

    def raw_records(self, topics: Collection[str] | None = None) -> Iterator[RawRecord]:
        """As :meth:`records`, without decoding.

        Raises:
            BagError: at once if a topic is not in the bag; while iterating if the bag is damaged.
        """
        for topic in topics or ():
            if topic not in self._reader.topics:
                raise BagError(f"{self.path} has no topic {topic}: it has {', '.join(self._reader.topics)}")
        chosen = [c for c in self._reader.connections if topics is None or c.topic in topics]
        return self._read(chosen)

    def _read(self, connections: list[Connection]) -> Iterator[RawRecord]:
        if not connections:
            return
        try:
            for connection, received_ns, data in self._reader.messages(connections):
                yield RawRecord(connection.topic, connection.msgtype, received_ns, data)
        except (ReaderError, struct.error, apsw.Error) as error:
            raise BagError(f"the bag {self.path} is damaged: {_one_line(error)}") from error


@cache
def _digest(msgtype: str) -> str:
    return TYPES.hash_rihs01(msgtype)


def refuse_existing(path: Path) -> None:
    """Raise BagError if something stands at ``path`` already."""
    if path.exists() or path.is_symlink():
        raise BagError(f"{path} exists already and is left alone: remove it or give another path")


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
