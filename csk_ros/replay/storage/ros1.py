"""ROS 1 bags, version 2.0 (http://wiki.ros.org/Bags/Format/2.0)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from csk_ros.replay.storage.blocks import Block, BlockFile, Entry, Kind, Packed, reading
from csk_ros.replay.storage.parts import Channel, Damage
from csk_ros.replay.storage.types import normal_msgtype, qos_profile

if TYPE_CHECKING:
    from typing import BinaryIO

    from csk_ros.replay.storage.blocks import Read

MAGIC = b"#ROSBAG V2.0\n"

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_TIME = struct.Struct("<II")
_MESSAGE, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 5, 6, 7
_KINDS = {_MESSAGE: Kind.MESSAGE, _CONNECTION: Kind.CHANNEL, _CHUNK: Kind.CHUNK, _CHUNK_INFO: Kind.END}
_LARGEST_HEADER = 1 << 16

Fields = dict[bytes, bytes]


class Ros1File(BlockFile):
    """A file indexed by its chunk infos, else by reading it once; arguments as of the base class."""

    storage = "ros1"
    _first_record = len(MAGIC)

    def _load_index(self, file: BinaryIO, size: int) -> None:
        read = reading(file)
        fields, _, _ = _record(read, self._first_record)
        position = _U64.unpack(fields[b"index_pos"])[0]
        connections, chunks = (_U32.unpack(fields[key])[0] for key in (b"conn_count", b"chunk_count"))
        if not position:
            raise Damage("it has no index")
        while position < size:
            fields, begin, end = _record(read, position)
            if fields[b"op"][0] == _CONNECTION:
                self._learn(read(position, end - position))
            else:
                self._add_chunk(read, fields, read(begin, end - begin))
            position = end
        if (connections, chunks) != (len(self.channels), self._chunks) or position != size:
            raise Damage("its index is not whole")

    def _clear(self) -> None:
        super()._clear()
        self._chunks = 0

    def _add_chunk(self, read: Read, fields: Fields, counts: bytes) -> None:
        self._chunks += 1
        for channel, count in struct.iter_unpack("<II", counts):
            self.counts[channel] = self.counts.get(channel, 0) + count
        position = _U64.unpack(fields[b"chunk_pos"])[0]
        chunk, _, end = _record(read, position)
        self.compression = chunk[b"compression"].decode("ascii")
        if counts:
            start_ns, end_ns = _time(fields[b"start_time"]), _time(fields[b"end_time"])
            self._index(Block(position, end, Kind.CHUNK, start_ns, end_ns))

    def _entry(self, read: Read, position: int) -> Entry:
        try:
            fields, begin, end = _record(read, position)
            kind = _KINDS.get(fields[b"op"][0], Kind.OTHER)
            if kind is Kind.MESSAGE:
                channel = _U32.unpack(fields[b"conn"])[0]
                return Entry(kind, position, begin, end, channel, _time(fields[b"time"]))
        except (KeyError, IndexError) as error:
            raise ValueError(error) from error
        return Entry(kind, position, begin, end)

    def _learn(self, record: bytes) -> None:
        try:
            fields, begin, end = _record(lambda at, size: record[at : at + size], 0)
            about = _fields(record[begin:end])
            known = Channel(
                id=_U32.unpack(fields[b"conn"])[0],
                topic="/" + fields[b"topic"].decode().strip("/"),
                msgtype=normal_msgtype(about[b"type"].decode()),
                encoding="ros1",
                definition=about[b"message_definition"].decode("utf-8", "replace"),
                digest=about[b"md5sum"].decode(),
                qos=(qos_profile("latched" if about.get(b"latching") == b"1" else "stream"),),
            )
        except (KeyError, IndexError, ValueError, struct.error) as error:
            raise Damage("a connection's record is broken") from error
        self.channels.setdefault(known.id, known)

    def _packed(self, file: BinaryIO, block: Block) -> Packed:
        try:
            fields, begin, end = _record(reading(file), block.begin)
            compression, size = fields[b"compression"].decode("ascii"), _U32.unpack(fields[b"size"])[0]
        except (KeyError, ValueError, struct.error) as error:
            raise Damage("its header is broken") from error
        self.compression = compression
        return Packed(reading(file)(begin, min(end, block.end) - begin), compression, size)


def _record(read: Read, position: int) -> tuple[Fields, int, int]:
    """A record's header, and where its data begins and ends."""
    (size,) = _U32.unpack(read(position, 4))
    if size > _LARGEST_HEADER:
        raise ValueError(size)
    fields = _fields(read(position + 4, size))
    begin = position + 4 + size + 4
    return fields, begin, begin + _U32.unpack(read(begin - 4, 4))[0]


def _fields(header: bytes) -> Fields:
    fields, position = {}, 0
    while position < len(header):
        (size,) = _U32.unpack_from(header, position)
        name, equals, value = header[position + 4 : position + 4 + size].partition(b"=")
        if not equals:
            raise ValueError(name)
        fields[name] = value
        position += 4 + size
    return fields


def _time(value: bytes) -> int:
    seconds, nanoseconds = _TIME.unpack(value)
    return int(seconds) * 10**9 + int(nanoseconds)
