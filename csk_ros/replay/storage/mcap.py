"""mcap files, as rosbag2 and other recorders write them (https://mcap.dev/spec)."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel as ChannelRecord
from mcap.records import ChunkIndex, Footer, Schema, Statistics

from csk_ros.replay.storage.blocks import Block, BlockFile, Entry, Kind, Packed
from csk_ros.replay.storage.parts import Channel, Damage
from csk_ros.replay.storage.types import normal_msgtype, qos_if_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from csk_ros.replay.storage.blocks import Read

MAGIC = b"\x89MCAP0\r\n"

_HEAD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQII")  # the last one is the length of the compression's name
_FOOTER_BYTES = 9 + 20 + len(MAGIC)
_KINDS = {
    Opcode.MESSAGE: Kind.MESSAGE,
    Opcode.SCHEMA: Kind.CHANNEL,
    Opcode.CHANNEL: Kind.CHANNEL,
    Opcode.CHUNK: Kind.CHUNK,
    Opcode.DATA_END: Kind.END,
    Opcode.FOOTER: Kind.END,
}
_KNOWN = frozenset(Opcode)
_PRIVATE = 0x80  # opcodes from here on are anybody's


class McapFile(BlockFile):
    """A file indexed by its summary, else by reading it once; arguments as of the base class."""

    storage = "mcap"
    _first_record = len(MAGIC)

    def _clear(self) -> None:
        super()._clear()
        self._schemas: dict[int, Schema] = {}

    def _load_index(self, file: BinaryIO, size: int) -> None:
        file.seek(size - _FOOTER_BYTES)
        tail = file.read()
        footer = Footer.read(_stream(tail[_HEAD.size :]))
        start = footer.summary_start
        if not (tail.endswith(MAGIC) and tail[0] == Opcode.FOOTER and 0 < start < size):
            raise Damage("it has no summary")
        file.seek(start)
        summary = file.read(size - _FOOTER_BYTES - start)
        checked = summary + tail[: -len(MAGIC) - 4]
        if footer.summary_crc and zlib.crc32(checked) != footer.summary_crc:
            raise Damage("its summary's checksum is wrong")
        statistics: Statistics | None = None
        chunks: list[ChunkIndex] = []
        for opcode, record in _summary_records(summary):
            if opcode in {Opcode.SCHEMA, Opcode.CHANNEL}:
                self._learn(record)
            elif opcode == Opcode.CHUNK_INDEX:
                chunks.append(ChunkIndex.read(_stream(record[_HEAD.size :])))
            elif opcode == Opcode.STATISTICS:
                statistics = Statistics.read(_stream(record[_HEAD.size :]))
        self._take_index(statistics, chunks)

    def _take_index(self, statistics: Statistics | None, chunks: list[ChunkIndex]) -> None:
        if statistics is None or statistics.chunk_count != len(chunks):
            raise Damage("its summary is not whole")
        self.counts = {id_: count for id_, count in statistics.channel_message_counts.items() if count}
        if (
            sum(self.counts.values()) != statistics.message_count
            or not self.counts.keys() <= self.channels.keys()
        ):
            raise Damage("its summary contradicts itself")
        if statistics.message_count and not chunks:
            raise Damage("it has no chunks")
        for chunk in chunks:
            self.compression = chunk.compression
            begin, end = chunk.chunk_start_offset, chunk.chunk_start_offset + chunk.chunk_length
            self.blocks.append(
                Block(begin, end, Kind.CHUNK, chunk.message_start_time, chunk.message_end_time)
            )
        if statistics.message_count:
            self.start_ns, self.end_ns = statistics.message_start_time, statistics.message_end_time

    def _entry(self, read: Read, position: int) -> Entry:
        opcode, size = _HEAD.unpack(read(position, _HEAD.size))
        if opcode not in _KNOWN and opcode < _PRIVATE:
            raise ValueError(opcode)
        begin = position + _HEAD.size
        kind = _KINDS.get(opcode, Kind.OTHER)
        if kind is not Kind.MESSAGE:
            return Entry(kind, position, begin, begin + size)
        if size < _MESSAGE.size:
            raise ValueError(size)
        channel, _, received_ns, _ = _MESSAGE.unpack(read(begin, _MESSAGE.size))
        return Entry(kind, position, begin + _MESSAGE.size, begin + size, channel, received_ns)

    def _learn(self, record: bytes) -> None:
        try:
            if record[0] == Opcode.SCHEMA:
                schema = Schema.read(_stream(record[_HEAD.size :]))
                self._schemas.setdefault(schema.id, schema)
            else:
                self._add_channel(ChannelRecord.read(_stream(record[_HEAD.size :])))
        except (struct.error, ValueError, McapError) as error:
            raise Damage("a channel's record is broken") from error

    def _add_channel(self, record: ChannelRecord) -> None:
        schema = self._schemas.get(record.schema_id)
        known = Channel(
            id=record.id,
            topic=record.topic,
            msgtype=normal_msgtype(schema.name if schema else ""),
            encoding=record.message_encoding,
            definition=schema.data.decode("utf-8", "replace") if schema else "",
            digest=record.metadata.get("topic_type_hash", ""),
            qos=qos_if_whole(record.metadata.get("offered_qos_profiles", "")),
        )
        self.channels.setdefault(record.id, known)

    def _packed(self, file: BinaryIO, block: Block) -> Packed:
        file.seek(block.begin + _HEAD.size)
        try:
            _, _, size, crc, name = _CHUNK.unpack(file.read(_CHUNK.size))
            compression = file.read(min(name, 64)).decode("ascii")
            (length,) = struct.unpack("<Q", file.read(8))
        except (struct.error, ValueError) as error:
            raise Damage("its header is broken") from error
        self.compression = compression
        return Packed(file.read(max(0, min(length, block.end - file.tell()))), compression, size, crc)


def _summary_records(summary: bytes) -> Iterator[tuple[int, bytes]]:
    """Operation and bytes of each record."""
    position = 0
    while position < len(summary):
        opcode, size = _HEAD.unpack_from(summary, position)
        end = position + _HEAD.size + size
        yield opcode, summary[position:end]
        position = end


def _stream(data: bytes) -> ReadDataStream:
    return ReadDataStream(io.BytesIO(data))
