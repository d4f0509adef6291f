from __future__ import annotations

import re
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_bags import cut, hit, messages, raw, read, read_or_refusal, write_mcap
from mcap.writer import IndexType, Writer

from csk_ros.replay.bag import STRING, TYPES, BagError, BagReader

MADE = messages()
COMPRESSIONS = ["NONE", "ZSTD", "LZ4"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("index", [IndexType.ALL, IndexType.NONE])
def test_what_others_write_is_read(tmp_path, compression, index):
    write_mcap(tmp_path / "bag.mcap", MADE, compression, index=index)
    assert read(tmp_path / "bag.mcap") == (raw(MADE), [])
    with BagReader(tmp_path / "bag.mcap") as bag:
        assert (bag.start_ns, bag.duration_ns) == (MADE[0].received_ns, 590_000_000)
        assert {t.name: t.messages for t in bag.topics.values()} == {
            "/eo/image": 30,
            "/ir/image": 24,
            "/route": 6,
        }
        assert bag.complete
        assert bag.compression == ("" if compression == "NONE" else f"{compression.lower()} by chunk")


def test_messages_outside_chunks_are_read(tmp_path):
    made = messages(count=300, size=(100, 100))  # more than one run
    write_mcap(tmp_path / "bag.mcap", made, chunked=False)
    assert read(tmp_path / "bag.mcap") == (raw(made), [])


def test_messages_come_by_receive_time_whatever_the_order_of_storage(tmp_path):
    shuffled = [MADE[i] for i in sorted(range(len(MADE)), key=lambda i: (i % 7, i))]
    write_mcap(tmp_path / "bag.mcap", shuffled, chunk_size=5_000)
    assert read(tmp_path / "bag.mcap") == (raw(MADE), [])


def test_a_stretch_and_some_topics(tmp_path):
    write_mcap(tmp_path / "bag.mcap", MADE, chunk_size=5_000)
    start, stop = MADE[10].received_ns, MADE[40].received_ns
    with BagReader(tmp_path / "bag.mcap") as bag:
        found = [tuple(r) for r in bag.raw_records(["/route"], start_ns=start, stop_ns=stop)]
    assert found == [r for r in raw(MADE[10:40]) if r[0] == "/route"]


@pytest.fixture(scope="module", params=[*COMPRESSIONS, "outside chunks"])
def whole(tmp_path_factory, request):
    path = tmp_path_factory.mktemp("whole") / "bag.mcap"
    chunked = request.param != "outside chunks"
    write_mcap(path, MADE, request.param if chunked else "NONE", chunked=chunked)
    return path


@settings(max_examples=25)
@given(keep=st.floats(0, 1, exclude_max=True))
@example(keep=0.999)
@example(keep=0.0)
def test_of_a_bag_cut_short_the_beginning_is_read(whole, tmp_path_factory, keep):
    path = tmp_path_factory.mktemp("cut") / "bag.mcap"
    cut(whole, path, keep)
    if (result := read_or_refusal(path)) is None:
        assert keep < 0.2
        return
    found, problems = result
    assert found == raw(MADE)[: len(found)]
    if len(found) < len(MADE):
        (problem,) = (line for line in problems if "end is missing" in line)
        assert problem.startswith("bag.mcap: ")
    assert len(found) >= len(MADE) * (keep - 0.4)


def test_the_index_of_a_bag_cut_short_counts_what_can_be_read(tmp_path, whole):
    path = tmp_path / "bag.mcap"
    cut(whole, path, 0.5)
    with BagReader(path) as bag:
        found = list(bag.raw_records())
        assert bag.message_count == sum(t.messages for t in bag.topics.values()) == len(found)
        assert (bag.start_ns, bag.start_ns + bag.duration_ns) == (found[0].received_ns, found[-1].received_ns)
        assert not bag.complete


@settings(max_examples=60)
@given(at=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=60))
def test_damage_anywhere_is_a_problem_or_an_error_and_nothing_is_invented(whole, tmp_path_factory, at, junk):
    path = tmp_path_factory.mktemp("hit") / "bag.mcap"
    hit(whole, path, at, junk)
    if (result := read_or_refusal(path)) is None:
        return
    found, problems = result
    assert [r[2] for r in found] == sorted(r[2] for r in found) or problems
    assert len(found) <= len(MADE)


def test_a_damaged_chunk_costs_its_own_messages_alone(tmp_path):
    write_mcap(tmp_path / "bag.mcap", MADE, "ZSTD")
    data = bytearray((tmp_path / "bag.mcap").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20] = bytes(20)
    (tmp_path / "bag.mcap").write_bytes(data)
    found, problems = read(tmp_path / "bag.mcap")
    lost = [i for i, r in enumerate(raw(MADE)) if r not in found]
    assert 0 < len(lost) < 12
    assert lost == list(range(lost[0], lost[-1] + 1))
    assert re.fullmatch(r"bag.mcap: 1 chunk cannot be read: .*", *problems)


def test_problems_do_not_grow_when_read_again(tmp_path):
    write_mcap(tmp_path / "bag.mcap", MADE)
    data = bytearray((tmp_path / "bag.mcap").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "bag.mcap").write_bytes(data)
    with BagReader(tmp_path / "bag.mcap") as bag:
        assert bag.complete
        first = list(bag.raw_records())
        problems = bag.problems
        assert problems == ["bag.mcap: 1 chunk cannot be read: its checksum is wrong"]
        assert list(bag.raw_records()) == first
        assert bag.problems == problems
        assert not bag.complete


def test_a_chunk_that_claims_more_than_it_may_is_not_unpacked(tmp_path):
    """A bomb: the size is honest, and beyond reason."""
    write_mcap(tmp_path / "bag.mcap", MADE, index=IndexType.NONE)
    data = bytearray((tmp_path / "bag.mcap").read_bytes())
    chunk = data.index(b"\x06", 8 + 9 + 4)
    struct.pack_into("<Q", data, chunk + 9 + 16, 1 << 50)
    (tmp_path / "bag.mcap").write_bytes(data)
    _, problems = read(tmp_path / "bag.mcap")
    assert any("1 chunk cannot be read: it claims 1125899906842624 bytes" in line for line in problems)


def test_channels_that_are_not_cdr_are_named_and_left_out(tmp_path):
    with (tmp_path / "bag.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("Pose", "jsonschema", b"{}")
        channel = writer.register_channel("/pose", "json", schema)
        writer.add_message(channel, 5, b"{}", 5)
        writer.finish()
    with BagReader(tmp_path / "bag.mcap") as bag:
        assert bag.unreadable == {"/pose": "its messages are in 'json', not in CDR"}
        assert list(bag.raw_records()) == []
        with pytest.raises(BagError, match=r"/pose in .* cannot be read: its messages are in 'json'"):
            bag.raw_records(["/pose"])


def _one_channel(path, encoding, schema, metadata, data):
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        number = writer.register_schema("std_msgs/String", schema, b"string data")
        writer.add_message(writer.register_channel("/route", encoding, number, metadata), 5, data, 5)
        writer.finish()
    return path


def test_an_mcap_of_ros1_messages(tmp_path):
    path = _one_channel(tmp_path / "bag.mcap", "ros1", "ros1msg", {}, b"\x05\0\0\0FUSED")
    with BagReader(path) as bag:
        assert [record.message.data for record in bag.records()] == ["FUSED"]


def test_a_malformed_qos_costs_no_message(tmp_path):
    data = TYPES.serialize_cdr(TYPES.types[STRING](data="FUSED"), STRING)
    metadata = {"offered_qos_profiles": "- !!python/object/apply:os.getcwd []"}
    with BagReader(_one_channel(tmp_path / "bag.mcap", "cdr", "ros2msg", metadata, bytes(data))) as bag:
        assert [record.message.data for record in bag.records()] == ["FUSED"]
        assert bag.channels["/route"][0].qos == ()
