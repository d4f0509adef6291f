from __future__ import annotations

import numpy as np
import pytest
from made_bags import messages, raw, read, write_mcap, write_ros1
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore, store
from squares_samples import TWO

from csk_ros.replay.bag import STRING, TYPES, BagError, BagReader, BagWriter
from csk_ros.replay.copy import cut_bag

MADE = messages()


@pytest.fixture
def bag(tmp_path):
    write_mcap(tmp_path / "bag.mcap", MADE)
    return tmp_path / "bag.mcap"


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_stretch_keeps_bytes_and_times(bag, tmp_path, storage):
    copied = cut_bag(bag, tmp_path / "out", from_s=0.1, to_s=0.3, storage=storage, progress=False)
    assert copied == (20, {}, [])
    assert read(tmp_path / "out") == (raw(MADE[10:30]), [])


def test_some_topics(bag, tmp_path):
    cut_bag(bag, tmp_path / "out", topics=["/ir/image"], zstd=True, progress=False)
    assert read(tmp_path / "out")[0] == [r for r in raw(MADE) if r[0] == "/ir/image"]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_ros1_bag_becomes_a_rosbag2(tmp_path, storage):
    write_ros1(tmp_path / "drive.bag", MADE, "LZ4")
    cut_bag(tmp_path / "drive.bag", tmp_path / "out", storage=storage, progress=False)
    assert read(tmp_path / "out") == (raw(MADE), [])
    with BagReader(tmp_path / "out") as bag:
        assert len(list(bag.records())) == len(MADE)


def test_labels_custom_data_and_latched_messages_are_kept(tmp_path):
    with BagWriter(tmp_path / "bag", label_set=TWO, custom_data={"origin": "here"}) as writer:
        writer.add_topic("/latched", STRING, "latched")
        writer.add_topic("/stream", STRING)
        for i in range(10):
            topic = "/latched" if i in {1, 3, 8} else "/stream"
            writer.write(topic, i * 10**9, TYPES.types[STRING](data=str(i)))
    cut_bag(tmp_path / "bag", tmp_path / "out", from_s=5, to_s=9, progress=False)
    with BagReader(tmp_path / "out") as bag:
        assert [r.message.data for r in bag.records()] == ["3", "5", "6", "7", "8"]
        assert bag.label_set == TWO
        assert bag.custom_data["origin"] == "here"
        assert bag.channels["/latched"][0].qos[0].durability.name == "TRANSIENT_LOCAL"


@pytest.mark.parametrize("hashed", [True, False])
def test_types_of_others_are_copied_with_their_definitions_and_no_code_is_made(tmp_path, monkeypatch, hashed):
    types = get_typestore(Stores.EMPTY)
    definition = "int32 value\nother_msgs/Part part\n" + "=" * 80 + "\nMSG: other_msgs/Part\nfloat32[] x\n"
    types.register(get_types_from_msg(definition, "my_msgs/msg/Thing"))
    digest = types.hash_rihs01("my_msgs/msg/Thing")
    part = types.types["other_msgs/msg/Part"](x=np.zeros(2, np.float32))
    data = types.serialize_cdr(types.types["my_msgs/msg/Thing"](7, part), "my_msgs/msg/Thing")
    with Writer(tmp_path / "bag", version=9) as writer:
        topic = writer.add_connection("/thing", "my_msgs/msg/Thing", typestore=types)
        writer.write(topic, 1, data)
    if not hashed:  # as before Iron
        import sqlite3  # noqa: PLC0415 (used here alone)

        (tmp_path / "bag" / "metadata.yaml").unlink()
        with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
            database.execute("UPDATE topics SET type_description_hash = ''")

    def generate(*_):
        raise AssertionError("a definition was made into code")

    monkeypatch.setattr(store, "generate_python_code", generate)
    copied = cut_bag(tmp_path / "bag", tmp_path / "out", progress=False)
    assert copied == (1, {}, [])
    with BagReader(tmp_path / "out") as bag:
        (channel,) = bag.channels["/thing"]
        assert (channel.digest, bytes(data)) == (digest, next(bag.raw_records()).data)
        assert "other_msgs/Part" in channel.definition


def test_types_without_a_definition_are_skipped_and_named(tmp_path):
    import sqlite3  # noqa: PLC0415 (used here alone)

    with BagWriter(tmp_path / "bag", storage="sqlite3") as writer:
        for topic in ("/one", "/two"):
            writer.add_topic(topic, STRING)
            writer.write(topic, 1, TYPES.types[STRING](data="x"))
    with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
        database.execute("UPDATE topics SET type = 'my_msgs/msg/Thing' WHERE name = '/one'")
    copied = cut_bag(tmp_path / "bag", tmp_path / "out", progress=False)
    assert copied == (1, {"/one": "neither the bag nor ROS 2 Jazzy defines my_msgs/msg/Thing"}, [])


def test_a_damaged_bag_becomes_a_whole_one(bag, tmp_path):
    data = bag.read_bytes()
    bag.write_bytes(data[: len(data) // 2])
    copied = cut_bag(bag, tmp_path / "out", progress=False)
    assert any("end is missing" in line for line in copied.problems)
    found, problems = read(tmp_path / "out")
    assert (found, problems) == (raw(MADE)[: copied.messages], [])
    assert copied.messages > 20


@pytest.mark.parametrize(("from_s", "to_s"), [(1, 2), (-1, None), (0.2, 0.1), (0.001, 0.002)])
def test_a_stretch_without_messages_leaves_nothing(bag, tmp_path, from_s, to_s):
    with pytest.raises(BagError, match="between those times"):
        cut_bag(bag, tmp_path / "out", from_s=from_s, to_s=to_s, progress=False)
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_nothing(bag, tmp_path, monkeypatch):
    written = []

    def write_raw(self, *record):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(record)

    monkeypatch.setattr(BagWriter, "write_raw", write_raw)
    with pytest.raises(KeyboardInterrupt):
        cut_bag(bag, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
