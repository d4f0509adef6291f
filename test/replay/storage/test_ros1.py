from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bags import cut, hit, messages, raw, read, read_or_refusal, write_ros1
from rosbags import rosbag1
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from csk_ros.messages import read_ir
from csk_ros.replay.bag import BagReader

MADE = messages()


@pytest.mark.parametrize("compression", [None, "BZ2", "LZ4"])
def test_ros1_bags_are_read_as_ros2_messages(tmp_path, compression):
    write_ros1(tmp_path / "drive.bag", MADE, compression)
    assert read(tmp_path / "drive.bag") == (raw(MADE), [])
    with BagReader(tmp_path / "drive.bag") as bag:
        assert (bag.start_ns, bag.duration_ns, bag.message_count) == (MADE[0].received_ns, 590_000_000, 60)
        assert bag.storage == "ros1"
        (first, *_) = bag.records(["/eo/image"])
        assert np.array_equal(read_ir(first.message), read_ir(MADE[0].message))


def test_a_folder_of_split_bags_is_one_bag(tmp_path):
    for i in range(12):
        write_ros1(tmp_path / f"drive_{i}.bag", MADE[5 * i : 5 * i + 5])
    assert read(tmp_path) == (raw(MADE), [])


@pytest.fixture(scope="module", params=[None, "BZ2", "LZ4"])
def whole(tmp_path_factory, request):
    path = tmp_path_factory.mktemp("whole") / "drive.bag"
    write_ros1(path, MADE, request.param)
    return path


@settings(max_examples=25)
@given(keep=st.floats(0, 1, exclude_max=True))
def test_of_a_bag_cut_short_the_beginning_is_read(whole, tmp_path_factory, keep):
    path = tmp_path_factory.mktemp("cut") / "drive.bag"
    cut(whole, path, keep)
    if (result := read_or_refusal(path)) is None:
        assert keep < 0.2
        return
    found, problems = result
    assert found == raw(MADE)[: len(found)]
    assert any("end is missing" in line for line in problems) or len(found) == len(MADE)
    assert len(found) >= len(MADE) * (keep - 0.4)


@settings(max_examples=40)
@given(at=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=60))
def test_damage_anywhere_is_a_problem_or_an_error(whole, tmp_path_factory, at, junk):
    path = tmp_path_factory.mktemp("hit") / "drive.bag"
    hit(whole, path, at, junk)
    if (result := read_or_refusal(path)) is None:
        return
    found, problems = result
    assert [r[2] for r in found] == sorted(r[2] for r in found) or problems


def test_a_recorder_killed_within_a_chunk(tmp_path):
    """It leaves a chunk of size 0, with its messages behind it, and no index."""
    path = tmp_path / "drive.bag.active"
    write_ros1(tmp_path / "one.bag", MADE, chunk_size=1 << 30)
    data = bytearray((tmp_path / "one.bag").read_bytes())
    chunk = data.index(b"compression=none") - 16
    (header,) = struct.unpack_from("<I", data, chunk)
    size = data.index(b"size=") + 5
    if data[chunk + 4 : chunk + 4 + header].count(b"size=") != 1:
        pytest.fail("the chunk's header is not where it was thought to be")
    data[size : size + 4] = data[chunk + 4 + header : chunk + 8 + header] = bytes(4)
    position = data.index(b"index_pos=") + 10
    (end,) = struct.unpack_from("<Q", data, position)
    data[position : position + 8] = bytes(8)
    path.write_bytes(data[: int(end * 0.9)])
    found, problems = read(path)
    assert len(found) > 45
    assert found == raw(MADE)[: len(found)]
    assert "end is missing" in problems[0]


def _own_type(path, msgtype, definition):
    types = get_typestore(Stores.EMPTY)
    types.register(get_types_from_msg(definition, msgtype))
    with rosbag1.Writer(path) as writer:
        topic = writer.add_connection("/topic", msgtype, typestore=types)
        writer.write(topic, 1, types.serialize_ros1(types.types[msgtype](7), msgtype))
    return path


@pytest.mark.parametrize(
    ("msgtype", "reason"),
    [
        ("my_msgs/msg/Thing", "ROS Noetic does not come with my_msgs/msg/Thing"),
        ("sensor_msgs/msg/Image", "defines sensor_msgs/msg/Image otherwise than ROS Noetic"),
    ],
)
def test_types_that_are_not_noetics_are_named_and_left_out(tmp_path, msgtype, reason):
    with BagReader(_own_type(tmp_path / "own.bag", msgtype, "int32 value")) as bag:
        assert reason in bag.unreadable["/topic"]
        assert list(bag.raw_records()) == []
        assert bag.topics["/topic"].messages == 1


def test_types_with_other_fields_in_ros2_are_left_out(tmp_path):
    from made_bags import NOETIC  # noqa: PLC0415 (used here alone)

    with rosbag1.Writer(tmp_path / "range.bag") as writer:
        topic = writer.add_connection("/topic", "sensor_msgs/msg/Range", typestore=NOETIC)
        writer.write(topic, 1, bytes(60))
    with BagReader(tmp_path / "range.bag") as bag:
        assert "ROS 2 has no sensor_msgs/msg/Range of the same fields" in bag.unreadable["/topic"]


def test_a_message_that_cannot_be_converted_is_one_problem(tmp_path):
    from made_bags import NOETIC, as_ros1  # noqa: PLC0415 (used here alone)

    with rosbag1.Writer(tmp_path / "drive.bag") as writer:
        topic = writer.add_connection("/eo/image", MADE[0].msgtype, typestore=NOETIC)
        writer.write(topic, 1, as_ros1(MADE[0]))
        writer.write(topic, 2, as_ros1(MADE[2])[:-7])
        writer.write(topic, 3, as_ros1(MADE[4]))
    found, (problem,) = read(tmp_path / "drive.bag")
    assert [r[2] for r in found] == [1, 3]
    assert problem.startswith("drive.bag: 1 message cannot be read: on /eo/image, ")


def test_latched_topics_are_transient_local(tmp_path):
    write_ros1(tmp_path / "drive.bag", MADE, latching=1)
    with BagReader(tmp_path / "drive.bag") as bag:
        assert bag.channels["/route"][0].qos[0].durability.name == "TRANSIENT_LOCAL"
