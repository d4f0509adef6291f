"""Files made of records, with messages gathered in chunks: what mcap and ROS 1 bags have in common.

Chunks are read one at a time, when their time has come. Messages that stand outside chunks are taken together
in runs of about a chunk's size.
"""

from __future__ import annotations

import bz2
import io
import struct
import zlib
from abc import ABC, abstractmethod
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import lz4.frame
import zstandard

from csk_ros.replay.storage.parts import CUT_SHORT, FOREVER, Damage, Message, in_order, read_up_to

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from csk_ros.replay.storage.parts import Channel, Problems, Readable

    Read = Callable[[int, int], bytes]

_RUN = 1 << 20


class Kind(Enum):
    """What a record is, as far as reading messages goes."""

    MESSAGE = auto()
    CHANNEL = auto()
    CHUNK = auto()
    OTHER = auto()
    END = auto()


class Entry(NamedTuple):
    """One record: where it starts, its data begins, the next one starts; of a message, whose it is."""

    kind: Kind
    start: int
    begin: int
    end: int
    channel: int = 0
    received_ns: int = 0


class Block(NamedTuple):
    """A chunk, or a run of messages outside chunks (by its kind), and the times of its messages."""

    begin: int
    end: int
    kind: Kind
    start_ns: int = 0
    end_ns: int = 0


class Packed(NamedTuple):
    """A chunk as it is stored."""

    data: bytes
    compression: str
    size: int
    crc: int = 0


class BlockFile(ABC):
    """A file of records, indexed: by its own index where that is in order, else by reading it once.

    Args:
        path: the file.
        problems: takes what cannot be read.

    Raises:
        OSError: if it cannot be read at all.
    """

    storage: str
    _what = "chunk"

    def __init__(self, path: Path, problems: Problems) -> None:
        self.path = path
        self._problems = problems
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            self._clear()
            try:
                self._load_index(file, size)
            except Exception:  # noqa: BLE001 (whatever a broken index makes of itself)
                self._clear()
                self._scan(file, size)

    def messages(self, channels: Collection[int], start_ns: int, stop_ns: int) -> Iterator[Message]:
        """As :class:`~csk_ros.replay.storage.parts.StorageFile`."""
        with self.path.open("rb") as file:
            yield from in_order(
                (block.start_ns, partial(self._block_messages, file, block, channels, start_ns, stop_ns))
                for block in self.blocks
                if block.start_ns < stop_ns and block.end_ns >= start_ns
            )

    def _block_messages(
        self, file: BinaryIO, block: Block, channels: Collection[int], start_ns: int, stop_ns: int
    ) -> Iterator[Message]:
        payload, entries, fault = self._entries(file, block)
        if fault:
            self._problems.add(self.path.name, self._what, fault, block.begin)
        if any(entry.received_ns < block.start_ns for entry in entries):
            self._problems.say(self.path.name, "the times in its index are wrong: some messages come late")
        chosen = (e for e in entries if e.channel in channels and start_ns <= e.received_ns < stop_ns)
        for entry in sorted(chosen, key=lambda e: e.received_ns):
            data = payload[entry.begin : entry.end]
            yield Message(entry.received_ns, self.channels[entry.channel], data)

    def _entries(self, file: BinaryIO, block: Block) -> tuple[bytes, list[Entry], str]:
        """The payload of a block, its messages in the order of the file, and why it is not whole."""
        try:
            payload, fault = self._payload(file, block)
        except Damage as error:
            return b"", [], str(error)
        found = []
        try:
            for entry in self._walk(lambda at, size: payload[at : at + size], 0, len(payload)):
                if entry.kind is Kind.CHANNEL:
                    self._learn(payload[entry.start : entry.end])
                elif entry.kind is Kind.MESSAGE and entry.channel in self.channels:
                    found.append(entry)
                elif entry.kind is Kind.MESSAGE:
                    fault = fault or "a message of no known channel"
        except Damage as error:
            fault = fault or str(error)
        return payload, found, fault

    def _payload(self, file: BinaryIO, block: Block) -> tuple[bytes, str]:
        if block.kind is not Kind.CHUNK:
            file.seek(block.begin)
            return file.read(block.end - block.begin), ""
        return self._unpack(self._packed(file, block))

    def _unpack(self, packed: Packed) -> tuple[bytes, str]:
        if packed.compression in {"", "none"} and len(packed.data) == packed.size:
            data, fault = packed.data, ""
        else:
            data, fault = read_up_to(self._unpacking(packed), packed.size)
        if packed.crc and not fault and zlib.crc32(data) != packed.crc:
            raise Damage("its checksum is wrong")
        return data, fault

    @staticmethod
    def _unpacking(packed: Packed) -> Readable:
        data = io.BytesIO(packed.data)
        if packed.compression in {"", "none"}:
            return data
        if packed.compression == "zstd":
            return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
        if packed.compression == "lz4":
            return lz4.frame.LZ4FrameFile(data)  # type: ignore[no-any-return]
        if packed.compression == "bz2":
            return bz2.BZ2File(data)
        raise Damage(f"its compression {packed.compression!r} is not known")

    def _clear(self) -> None:
        self.compression = ""
        self.channels: dict[int, Channel] = {}
        self.counts: dict[int, int] = {}
        self.blocks: list[Block] = []
        self.start_ns, self.end_ns = FOREVER, 0

    def _walk(self, read: Read, position: int, limit: int) -> Iterator[Entry]:
        """The records from ``position`` on.

        Raises:
            Damage: where no record stands, or one reaches beyond ``limit``; a chunk is yielded before.
        """
        while position < limit:
            try:
                entry = self._entry(read, position)
            except (struct.error, ValueError) as error:
                raise Damage(f"there is no record at byte {position}") from error
            if entry.end <= limit or entry.kind is Kind.CHUNK:
                yield entry
            if entry.kind is Kind.END:
                return
            if entry.end > limit:
                raise Damage(CUT_SHORT)
            position = entry.end

    def _scan(self, file: BinaryIO, size: int) -> None:
        """Index the file by reading it once."""
        run, last = range(0), Kind.OTHER
        try:
            for entry in self._walk(reading(file), self._first_record, size):
                last = entry.kind
                if last in {Kind.MESSAGE, Kind.CHANNEL}:
                    run = range(run.start if run else entry.start, entry.end)
                    if len(run) < _RUN:
                        continue
                run = self._add_run(file, run)
                if last is Kind.CHUNK:
                    self._add_block(file, Block(entry.start, min(entry.end, size), last))
            fault = "" if last is Kind.END else CUT_SHORT
        except Damage as error:
            fault = str(error)
        if fault:
            self._problems.say(self.path.name, f"its end is missing, as when a recorder is killed ({fault})")
        self._add_run(file, run)

    def _add_run(self, file: BinaryIO, run: range) -> range:
        if run:
            self._add_block(file, Block(run.start, run.stop, Kind.MESSAGE))
        return range(0)

    def _add_block(self, file: BinaryIO, block: Block) -> None:
        _, entries, fault = self._entries(file, block)
        if fault:
            self._problems.add(self.path.name, self._what, fault, block.begin)
        for entry in entries:
            self.counts[entry.channel] = self.counts.get(entry.channel, 0) + 1
        times = [entry.received_ns for entry in entries]
        if times:
            self._index(block._replace(start_ns=min(times), end_ns=max(times)))

    def _index(self, block: Block) -> None:
        self.blocks.append(block)
        self.start_ns, self.end_ns = min(self.start_ns, block.start_ns), max(self.end_ns, block.end_ns)

    _first_record: int

    @abstractmethod
    def _load_index(self, file: BinaryIO, size: int) -> None:
        """Take channels, counts and blocks from the file's own index; raise anything where it has none."""

    @abstractmethod
    def _entry(self, read: Read, position: int) -> Entry:
        """The record at ``position``; ``struct.error`` or ``ValueError`` where none stands."""

    @abstractmethod
    def _learn(self, record: bytes) -> None:
        """Take a channel from its record; ``Damage`` if it is broken."""

    @abstractmethod
    def _packed(self, file: BinaryIO, block: Block) -> Packed:
        """The chunk of ``block``; ``Damage`` if its header is broken."""


def reading(file: BinaryIO) -> Read:
    """Reads (position, count) of a file."""

    def read(position: int, count: int) -> bytes:
        file.seek(position)
        return file.read(count)

    return read
