"""Bags in: rosbag2 folders and files, ROS 1 bags, whole or damaged; no ROS needed.

A bag may come from anybody. It carries definitions of its messages, and ``rosbags`` would make Python code of
them and run it; here messages are read by the definitions of :data:`~csk_ros.replay.bag_types.TYPES` only,
those of ROS 1 by the definitions of ROS Noetic.
"""

from __future__ import annotations

import json
import struct
from contextlib import ExitStack
from functools import cache, cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import zstandard
from rosbags.serde import SerdeError

from csk_ros.labels import LabelSet
from csk_ros.replay.bag_types import LABEL_SET_KEY, TYPES, BagError, RawRecord, Record, Topic
from csk_ros.replay.storage import ros1_messages
from csk_ros.replay.storage.folder import find_contents, open_file
from csk_ros.replay.storage.parts import FOREVER, LARGEST, Damage, Problems, in_order, one_line, read_up_to

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from typing_extensions import Self

    from csk_ros.replay.storage.parts import Channel, Message, StorageFile

_ZSTD = b"\x28\xb5\x2f\xfd"  # no CDR starts so
# What decoding lets through of broken messages.
_BROKEN = (SerdeError, ValueError, TypeError, KeyError, IndexError, AssertionError, struct.error)


class BagReader:
    """Reads a bag in receive order; a context manager.

    Read are rosbag2 folders (mcap or sqlite3, plain or compressed, in one file or several, with or without
    ``metadata.yaml``), one such file, ROS 1 bags (messages are converted) and folders of them. Of a damaged
    bag it reads what can be read; :attr:`problems` says what could not.

    Messages come in the order of their receive times over all files, whatever order they are stored in;
    those of one time in the order in which they are stored. That rests on the times that the index of an
    mcap or ROS 1 bag gives for its chunks; where it lies, the messages of such a chunk come late. In memory
    are held the chunks that overlap in time at the moment (mostly one), and of sqlite3 files 20 bytes per
    message. A bag without an index is read once in full on entering. Files that are compressed as a whole
    are unpacked into a temporary folder. No chunk or message over 256 MiB is unpacked.

    Args:
        path: the bag.

    Raises:
        BagError: on entering, if the bag is missing or empty, or nothing of it can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._found = Problems()

    def __enter__(self) -> Self:
        """Open the bag and read its index."""
        if not self.path.exists():
            raise BagError(f"there is no bag at {self.path}: check the path")
        self._stack = ExitStack()
        with self._stack:
            self._open()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bag."""
        self._stack.close()

    def _open(self) -> None:
        scratch = cache(lambda: Path(self._stack.enter_context(TemporaryDirectory(prefix="csk-bag-"))))
        self._files: list[StorageFile] = []
        try:
            self._contents = find_contents(self.path, self._found)
        except (Damage, OSError) as error:
            raise BagError(f"cannot read the bag {self.path}: {one_line(error)}") from error
        for path in self._contents.files:
            try:
                self._files.append(open_file(path, self._found, scratch))
            except Damage as error:
                self._found.say(path.name, str(error))
        if not self.message_count:
            if self.problems:
                raise BagError(f"cannot read the bag {self.path}: {'; '.join(self.problems)}")
            raise BagError(f"the bag {self.path} is empty: it holds no messages")
        if self.problems and self.message_count < self._contents.promised:
            promise = f"of {self._contents.promised} messages that it names, {self.message_count} were found"
            self._found.say("metadata.yaml", promise)

    @property
    def problems(self) -> list[str]:
        """What could not be read, a line each, by file; grows while reading."""
        return self._found.lines

    @property
    def complete(self) -> bool:
        """Whether nothing was found that cannot be read; known for sure when all has been read."""
        return not self._found.lines

    @property
    def storage(self) -> str:
        """``mcap``, ``sqlite3`` or ``ros1``."""
        return self._files[0].storage

    @property
    def compression(self) -> str:
        """How the bag is compressed, in words; empty if it is not."""
        mode = self._contents.compression
        packed = next((file.compression for file in self._files if file.compression not in {"", "none"}), "")
        return f"zstd by {mode}" if mode else packed and f"{packed} by chunk"

    @property
    def files(self) -> list[Path]:
        """The bag's files, also those that cannot be read."""
        return self._contents.files

    @property
    def channels(self) -> dict[str, list[Channel]]:
        """By topic: its types, with definition and QoS as far as the bag holds them."""
        channels: dict[str, list[Channel]] = {}
        for file in self._files:
            for channel in file.channels.values():
                digest, qos = self._contents.types.get((channel.topic, channel.msgtype), ("", ()))
                whole = channel._replace(id=0, digest=channel.digest or digest, qos=channel.qos or qos)
                if whole not in channels.setdefault(channel.topic, []):
                    channels[channel.topic].append(whole)
        return dict(sorted(channels.items()))

    @property
    def topics(self) -> dict[str, Topic]:
        """The topics by name; the counts are those of the index."""
        counts: dict[str, int] = {}
        for file in self._files:
            for channel in file.channels.values():
                counts[channel.topic] = counts.get(channel.topic, 0) + file.counts.get(channel.id, 0)
        topics = {}
        for name, channels in self.channels.items():
            types = {channel.msgtype for channel in channels}
            topics[name] = Topic(name, types.pop() if len(types) == 1 else "several types", counts[name])
        return topics

    @property
    def unreadable(self) -> dict[str, str]:
        """Topics whose messages cannot be given as CDR, and why; they are left out of all that is read."""
        reasons = {}
        for name, channels in self.channels.items():
            if reason := next(filter(None, map(_why_unreadable, channels)), ""):
                reasons[name] = reason
        return reasons

    @property
    def start_ns(self) -> int:
        """Receive time of the first message."""
        return min(file.start_ns for file in self._files)

    @property
    def duration_ns(self) -> int:
        """Time from the first message to the last."""
        return max(file.end_ns for file in self._files) - self.start_ns

    @property
    def message_count(self) -> int:
        """Messages on all topics together, by the index."""
        return sum(sum(file.counts.values()) for file in self._files)

    @property
    def custom_data(self) -> dict[str, str]:
        """The texts in the bag's metadata; empty for a storage file without its folder."""
        custom = self._contents.custom or {}
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
                f"the label set in the metadata of {self.path} is malformed: {one_line(error)}"
            ) from error

    def records(self, topics: Collection[str] | None = None) -> Iterator[Record]:
        """Every message of ``topics`` (None: all), in receive order; broken ones are a problem, and left out.

        Raises:
            BagError: as :meth:`raw_records`, and for a type that ROS 2 Jazzy lacks or defines otherwise.
        """
        for raw in self.raw_records(topics):
            self._check_type(raw)
            try:
                message = TYPES.deserialize_cdr(raw.data, raw.msgtype)
            except _BROKEN as error:
                self._found.add(
                    self.path.name, "message", f"on {raw.topic}, {one_line(error)}", raw.received_ns
                )
                continue
            yield Record(raw.topic, raw.msgtype, raw.received_ns, message)

    def decode(self, raw: RawRecord) -> Record:
        """The message of ``raw``.

        Raises:
            BagError: if it is broken, or of a type that ROS 2 Jazzy does not know or knows otherwise.
        """
        self._check_type(raw)
        try:
            message = TYPES.deserialize_cdr(raw.data, raw.msgtype)
        except _BROKEN as error:
            raise BagError(f"a message on {raw.topic} in {self.path} is broken: {one_line(error)}") from error
        return Record(raw.topic, raw.msgtype, raw.received_ns, message)

    def _check_type(self, raw: RawRecord) -> None:
        if raw.msgtype not in TYPES.fielddefs:
            raise BagError(f"{self.path} holds messages of type {raw.msgtype}, which are not known here")
        if raw.msgtype in self._redefined:
            raise BagError(f"{self.path} defines {raw.msgtype} otherwise than ROS 2 Jazzy")

    @cached_property
    def _redefined(self) -> set[str]:
        """Types that the bag defines in its own way."""
        channels = [channel for channels in self.channels.values() for channel in channels]
        return {
            c.msgtype
            for c in channels
            if c.encoding == "cdr"
            and c.digest
            and c.msgtype in TYPES.fielddefs
            and c.digest != _digest(c.msgtype)
        }

    def raw_records(
        self, topics: Collection[str] | None = None, *, start_ns: int = 0, stop_ns: int = FOREVER
    ) -> Iterator[RawRecord]:
        """As :meth:`records`, without decoding, and only what was received in [start_ns, stop_ns).

        Raises:
            BagError: at once, if a topic is not in the bag or not readable.
        """
        for topic in topics or ():
            if topic not in self.channels:
                raise BagError(f"{self.path} has no topic {topic}: it has {', '.join(self.channels)}")
            if topic in self.unreadable:
                raise BagError(f"{topic} in {self.path} cannot be read: {self.unreadable[topic]}")
        chosen = (self.channels.keys() if topics is None else set(topics)) - self.unreadable.keys()
        return self._read(chosen, start_ns, stop_ns)

    def _read(self, topics: Collection[str], start_ns: int, stop_ns: int) -> Iterator[RawRecord]:
        parts = (
            (file.start_ns, partial(self._file_messages, file, topics, start_ns, stop_ns))
            for file in self._files
        )
        for message in in_order(parts):
            channel = message.channel
            yield RawRecord(channel.topic, channel.msgtype, message.received_ns, message.data)

    def _file_messages(
        self, file: StorageFile, topics: Collection[str], start_ns: int, stop_ns: int
    ) -> Iterator[Message]:
        wanted = {number for number, channel in file.channels.items() if channel.topic in topics}
        for message in file.messages(wanted, start_ns, stop_ns):
            try:
                yield message._replace(data=_to_cdr(message))
            except Damage as error:
                fault = f"on {message.channel.topic}, {error}"
                self._found.add(file.path.name, "message", fault, message.received_ns)


def _to_cdr(message: Message) -> bytes:
    if message.channel.encoding == "ros1":
        return ros1_messages.to_cdr(message.data, message.channel.msgtype)
    if not message.data.startswith(_ZSTD):
        return message.data
    data, fault = read_up_to(zstandard.ZstdDecompressor().stream_reader(message.data), LARGEST)
    if len(data) == LARGEST or not data:
        raise Damage(fault or f"it has {LARGEST} bytes or more")
    return data


@cache
def _digest(msgtype: str) -> str:
    return TYPES.hash_rihs01(msgtype)


def _why_unreadable(channel: Channel) -> str:
    if channel.encoding == "ros1":
        return ros1_messages.why_unknown(channel)
    return "" if channel.encoding == "cdr" else f"its messages are in {channel.encoding!r}, not in CDR"
