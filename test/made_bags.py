"""Bags of every storage with the same messages, written by the libraries that others use."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags import rosbag1, rosbag2
from rosbags.typesys import Stores, get_typestore

from csk_ros.replay.bag import IMAGE, STRING, TYPES, BagError, BagReader
from csk_ros.replay.samples import header, image_message

NOETIC = get_typestore(Stores.ROS1_NOETIC)


class Made(NamedTuple):
    """A message as it went into a bag."""

    topic: str
    msgtype: str
    received_ns: int
    message: object


def messages(count=60, seed=0, size=(48, 64)) -> list[Made]:
    """Two cameras and a route, in the order of their times."""
    random = np.random.default_rng(seed)
    made = []
    for i in range(count):
        stamp_ns = 1_000_000_000 + i * 10_000_000
        if i % 10 == 9:
            made.append(Made("/route", STRING, stamp_ns, TYPES.types[STRING](data=f"FUSED {i}")))
            continue
        pixels = random.integers(0, 60, size, np.uint8)
        image = image_message(pixels, "mono8", header(stamp_ns - 5, "camera"))
        made.append(Made(("/eo/image", "/ir/image")[i % 2], IMAGE, stamp_ns, image))
    return made


def cdr(made: Made) -> bytes:
    return bytes(TYPES.serialize_cdr(made.message, made.msgtype))


def raw(made: list[Made]) -> list[tuple]:
    """What a reader has to give for these."""
    return [(m.topic, m.msgtype, m.received_ns, cdr(m)) for m in made]


def read(path) -> tuple[list[tuple], list[str]]:
    """Everything in a bag, and its problems."""
    with BagReader(path) as bag:
        return [tuple(record) for record in bag.raw_records()], bag.problems


def read_or_refusal(path) -> tuple[list[tuple], list[str]] | None:
    """As :func:`read`; None where nothing at all can be read, which must be one line."""
    try:
        return read(path)
    except BagError as error:
        if "\n" in str(error):
            pytest.fail(f"more than one line: {error}")
        return None


def cut(whole, path, keep):
    """Copy the first ``keep`` of a file, 0 to 1."""
    data = whole.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])


def hit(whole, path, at, junk):
    """Copy a file with ``junk`` in place of its bytes from ``at`` on, 0 to 1."""
    data = whole.read_bytes()
    position = int(at * len(data))
    path.write_bytes(data[:position] + junk + data[position + len(junk) :])


def write_mcap(path, made, compression="NONE", *, chunked=True, index=IndexType.ALL, chunk_size=20_000):
    """As recorders other than rosbags write it."""
    with path.open("wb") as file:
        writer = McapWriter(
            file,
            chunk_size=chunk_size,
            compression=CompressionType[compression],
            use_chunking=chunked,
            index_types=index,
        )
        writer.start(profile="ros2", library="test")
        channels = {}
        for m in made:
            if m.topic not in channels:
                text, _ = TYPES.generate_msgdef(m.msgtype, ros_version=2)
                schema = writer.register_schema(m.msgtype, "ros2msg", text.encode())
                channels[m.topic] = writer.register_channel(m.topic, "cdr", schema)
            writer.add_message(channels[m.topic], m.received_ns, cdr(m), m.received_ns)
        writer.finish()


def write_rosbag2(path, made, storage="mcap", mode="none"):
    """As rosbag2 writes it, compressed by ``mode``."""
    writer = rosbag2.Writer(path, version=9, storage_plugin=rosbag2.StoragePlugin[storage.upper()])
    writer.set_compression(rosbag2.CompressionMode[mode.upper()], rosbag2.CompressionFormat.ZSTD)
    with writer:
        topics = {}
        for m in made:
            if m.topic not in topics:
                topics[m.topic] = writer.add_connection(m.topic, m.msgtype, typestore=TYPES)
            writer.write(topics[m.topic], m.received_ns, cdr(m))


def as_ros1(made: Made) -> bytes:
    """The message in ROS 1's serialisation; its header's counter is 0."""
    return bytes(TYPES.cdr_to_ros1(cdr(made), made.msgtype))


def write_ros1(path, made, compression=None, chunk_size=20_000, latching=None):
    """A ROS 1 bag."""
    writer = rosbag1.Writer(path)
    writer.chunk_threshold = chunk_size
    if compression:
        writer.set_compression(rosbag1.Writer.CompressionFormat[compression])
    with writer:
        topics = {}
        for m in made:
            if m.topic not in topics:
                topics[m.topic] = writer.add_connection(
                    m.topic, m.msgtype, typestore=NOETIC, latching=latching
                )
            writer.write(topics[m.topic], m.received_ns, as_ros1(m))
