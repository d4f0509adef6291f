from __future__ import annotations

import sqlite3

import numpy as np
import pytest
import yaml
from rosbags import rosbag2
from rosbags.highlevel import AnyReader
from squares_samples import Squares

from csk_ros.messages import read_eo, read_ir, stamp_to_ns
from csk_ros.replay.bag import STRING, TYPES, BagError, BagReader, BagWriter
from csk_ros.replay.samples import IR_TOPIC, START_NS, write_samples


def _read(path):
    with BagReader(path) as bag:
        return list(bag.records()), bag.topics, bag.label_set


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compress", ["none", "zstd", "png"])
def test_what_is_written_lossless_is_read_back_in_order(tmp_path, squares, storage, compress):
    write_samples(tmp_path / "bag", squares, storage=storage, compress=compress, progress=False)
    records, topics, label_set = _read(tmp_path / "bag")
    assert label_set == squares.label_set
    assert {t.messages for t in topics.values()} == {len(squares)}
    assert [r.received_ns for r in records] == sorted(r.received_ns for r in records)
    for i, sample in enumerate(squares):
        eo, ir, labels = records[3 * i : 3 * i + 3]
        assert eo.topic.startswith("/eo/image")
        assert ir.topic.startswith("/ir/image")
        assert np.array_equal(read_eo(eo.message), sample.eo)
        assert np.array_equal(read_ir(ir.message), sample.ir)
        assert np.array_equal(read_ir(labels.message), sample.labels)
        assert stamp_to_ns(ir.message.header.stamp) == START_NS + sample.stamp_ns
        assert (eo.message.header.frame_id, ir.message.header.frame_id) == ("eo_camera", "ir_camera")


def test_raw_thermal_counts_survive_png(tmp_path):
    squares = Squares(frames=1, ir_dtype=np.uint16)
    write_samples(tmp_path / "bag", squares, compress="jpeg", progress=False)
    records, _, _ = _read(tmp_path / "bag")
    ir = next(r for r in records if r.topic == "/ir/image/compressed").message
    assert ir.format == "mono16; png compressed mono16"
    assert np.array_equal(read_ir(ir), squares[0].ir)


def test_jpeg_keeps_the_colours_in_their_channels(tmp_path):
    squares = Squares(frames=1)
    write_samples(tmp_path / "bag", squares, compress="jpeg", progress=False)
    records, _, _ = _read(tmp_path / "bag")
    eo = next(r for r in records if r.topic == "/eo/image/compressed").message
    error = np.abs(read_eo(eo).astype(int) - squares[0].eo).mean()
    assert error < 6


def test_metadata_is_what_jazzy_reads(tmp_path, squares):
    write_samples(tmp_path / "bag", squares, progress=False)
    info = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert (info["version"], info["storage_identifier"]) == (9, "mcap")
    assert info.keys() >= {
        *("version", "storage_identifier", "duration", "starting_time", "message_count"),
        *("topics_with_message_count", "compression_format", "compression_mode", "relative_file_paths"),
        *("files", "custom_data", "ros_distro"),
    }
    assert [file.keys() for file in info["files"]] == [
        {"path", "starting_time", "duration", "message_count"},
    ]
    assert all(isinstance(text, str) for text in info["custom_data"].values())
    for topic in info["topics_with_message_count"]:
        assert isinstance(topic["message_count"], int)
        assert topic["topic_metadata"].keys() == {
            *("name", "type", "serialization_format", "offered_qos_profiles", "type_description_hash"),
        }
        (qos,) = topic["topic_metadata"]["offered_qos_profiles"]
        assert qos.keys() == {
            *("history", "depth", "reliability", "durability", "deadline", "lifespan", "liveliness"),
            *("liveliness_lease_duration", "avoid_ros_namespace_conventions"),
        }
        assert (qos["reliability"], qos["history"], qos["durability"]) == (
            "reliable",
            "keep_last",
            "volatile",
        )
        assert topic["topic_metadata"]["type_description_hash"].startswith("RIHS01_")


def test_same_samples_make_the_same_bytes(tmp_path, squares):
    for name in ("a", "b"):
        write_samples(tmp_path / name / "bag", squares, progress=False)
    assert (tmp_path / "a/bag/bag.mcap").read_bytes() == (tmp_path / "b/bag/bag.mcap").read_bytes()


def test_samples_without_labels_leave_the_label_topic_empty(tmp_path):
    write_samples(tmp_path / "bag", Squares(with_labels=False), progress=False)
    _, topics, _ = _read(tmp_path / "bag")
    assert (topics["/labels/image"].messages, topics["/ir/image"].messages) == (0, 6)


@pytest.mark.parametrize("kind", ["bag", "file", "dangling link"])
def test_an_existing_path_is_left_alone(tmp_path, squares, kind):
    path = tmp_path / "bag"
    if kind == "bag":
        write_samples(path, Squares(frames=1), progress=False)
    elif kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(BagError, match="exists already and is left alone: remove it or give another path"):
        write_samples(path, squares, progress=False)
    if kind == "bag":
        assert len(_read(path)[0]) == 3


def test_an_interrupted_bag_is_removed(tmp_path):
    class Failing(Squares):
        def __getitem__(self, index):
            if index == 3:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    with pytest.raises(KeyboardInterrupt):
        write_samples(tmp_path / "bag", Failing(), progress=False)
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_an_interrupted_bag_may_be_kept_as_far_as_it_came(tmp_path, storage):
    def write():
        with BagWriter(tmp_path / "bag", storage=storage, keep_partial=True) as bag:
            bag.add_topic("/route", STRING)
            for i in range(100):
                bag.write("/route", i, TYPES.types[STRING](data="FUSED"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    with BagReader(tmp_path / "bag") as bag:
        assert len(list(bag.records())) == bag.message_count == 100
        assert bag.complete


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, squares, storage, monkeypatch):
    def write(*_):
        raise {"mcap": OSError(28, "No space left on device"), "sqlite3": sqlite3.OperationalError("full")}[
            storage
        ]

    monkeypatch.setattr(rosbag2.Writer, "write", write)
    with pytest.raises(BagError, match="cannot write the bag"):
        write_samples(tmp_path / "bag", squares, storage=storage, progress=False)
    assert not (tmp_path / "bag").exists()


def test_bad_requests_name_what_exists(tmp_path, squares):
    with pytest.raises(BagError, match="unknown compression 'gzip': use one of none, zstd, png, jpeg"):
        write_samples(tmp_path / "bag", squares, compress="gzip", progress=False)
    with pytest.raises(BagError, match="unknown storage 'db': use one of mcap, sqlite3"):
        write_samples(tmp_path / "bag", squares, storage="db", progress=False)
    with pytest.raises(BagError, match="the data set is empty"):
        write_samples(tmp_path / "bag", Squares(frames=0), progress=False)
    write_samples(tmp_path / "bag", squares, progress=False)
    with (
        BagReader(tmp_path / "bag") as bag,
        pytest.raises(BagError, match="no topic /lidar: it has /eo/image"),
    ):
        bag.raw_records(["/lidar"])


def test_another_rate_spaces_the_stamps(tmp_path, squares):
    write_samples(tmp_path / "slow", squares, rate_hz=4.0, start_ns=0, progress=False)
    with BagReader(tmp_path / "slow") as bag:
        stamps = [stamp_to_ns(record.message.header.stamp) for record in bag.records([IR_TOPIC])]
    assert stamps == [250_000_000 * i for i in range(len(squares))]
    with pytest.raises(BagError, match="must be above 0"):
        write_samples(tmp_path / "never", squares, rate_hz=0.0, progress=False)


def test_stamps_that_do_not_increase_are_refused(tmp_path):
    class Backwards(Squares):
        def __getitem__(self, index):
            return super().__getitem__(0)

    with pytest.raises(BagError, match="sample square-0: its stamp is not after"):
        write_samples(tmp_path / "bag", Backwards(), progress=False)


def test_missing_empty_and_foreign_bags_are_one_line(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "zero.mcap").write_bytes(b"")
    with BagWriter(tmp_path / "hollow") as bag:
        bag.add_topic("/route", STRING)
    reasons = {
        "nothing": "there is no bag at",
        "folder": "holds no metadata.yaml",
        "notes.txt": "cannot read the bag",
        "zero.mcap": "zero.mcap: it is empty",
        "hollow": "is empty: it holds no messages",
    }
    for name, reason in reasons.items():
        with pytest.raises(BagError, match=reason) as caught, BagReader(tmp_path / name):
            pass
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_custom_data_and_latched_topics(tmp_path):
    message = TYPES.types[STRING](data="FUSED")
    with BagWriter(tmp_path / "bag", custom_data={"origin": "here"}) as bag:
        bag.add_topic("/segment/route", STRING, "latched")
        bag.write("/segment/route", 5, message)
    with BagReader(tmp_path / "bag") as bag:
        assert bag.custom_data == {"origin": "here"}
        assert bag.label_set is None
        assert [(r.received_ns, r.message.data) for r in bag.records()] == [(5, "FUSED")]
        assert (bag.start_ns, bag.duration_ns, bag.message_count) == (5, 0, 1)
    with AnyReader([tmp_path / "bag"]) as reader:
        (qos,) = reader.connections[0].ext.offered_qos_profiles
    assert qos.durability.name == "TRANSIENT_LOCAL"
