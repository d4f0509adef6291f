from __future__ import annotations

import shutil

import pytest
import yaml
import zstandard
from made_bags import messages, raw, read, write_mcap, write_ros1, write_rosbag2

from csk_ros.replay.bag import BagError, BagReader

MADE = messages()
NOT_WHOLE = "it is not whole; the files beside it are read in the order of their names"


@pytest.mark.parametrize(
    ("storage", "mode"),
    [
        ("mcap", "none"),
        ("mcap", "storage"),
        ("mcap", "message"),
        ("mcap", "file"),
        ("sqlite3", "none"),
        ("sqlite3", "message"),
        ("sqlite3", "file"),
    ],
)
def test_every_storage_and_compression(tmp_path, storage, mode):
    write_rosbag2(tmp_path / "bag", MADE, storage, mode)
    assert read(tmp_path / "bag") == (raw(MADE), [])
    with BagReader(tmp_path / "bag") as bag:
        shown = {"none": "", "storage": "zstd by chunk"}.get(mode, f"zstd by {mode}")
        assert (bag.storage, bag.compression) == (storage, shown)


def _split(folder, parts, write, suffix):
    """A bag in ``parts`` files, as a recorder with --max-bag-size leaves it, and its metadata."""
    folder.mkdir()
    names = []
    size = -(-len(MADE) // parts)
    for i in range(parts):
        part = folder / f"part{i}"
        write(part, MADE[i * size : (i + 1) * size])
        names.append(f"bag_{i}{suffix}")
        (file,) = (f for f in part.iterdir() if f.suffix != ".yaml")
        shutil.move(file, folder / names[-1])
        about = yaml.safe_load((part / "metadata.yaml").read_text())
        shutil.rmtree(part)
    info = about["rosbag2_bagfile_information"]
    info.update(relative_file_paths=names, message_count=len(MADE), custom_data={"origin": "here"})
    (folder / "metadata.yaml").write_text(yaml.safe_dump(about))
    return folder


@pytest.fixture(params=["mcap", "sqlite3"])
def split(tmp_path, request):
    storage = request.param

    def write(path, made):
        write_rosbag2(path, made, storage)

    return _split(tmp_path / "split", 12, write, ".mcap" if storage == "mcap" else ".db3")


def test_a_split_bag(split):
    assert read(split) == (raw(MADE), [])
    with BagReader(split) as bag:
        assert (bag.start_ns, bag.duration_ns, bag.message_count) == (MADE[0].received_ns, 590_000_000, 60)
        assert bag.custom_data == {"origin": "here"}


def test_without_metadata_the_files_are_read_in_the_order_of_their_numbers(split):
    (split / "metadata.yaml").unlink()
    assert read(split) == (raw(MADE), [])


@pytest.mark.parametrize("text", ["", "rosbag2_bagfile_information:\n  version: 9\n  stora", "[", "\0" * 100])
def test_metadata_that_are_not_whole_are_named(split, text):
    (split / "metadata.yaml").write_text(text)
    found, problems = read(split)
    assert found == raw(MADE)
    assert problems == [f"metadata.yaml: {NOT_WHOLE}"]


def test_a_missing_and_a_broken_file_are_named(split):
    missing, broken = (next(split.glob(f"bag_{i}.*")) for i in (3, 7))
    missing.unlink()
    broken.write_bytes(b"\0" * 5000)
    found, problems = read(split)
    assert found == [r for i, r in enumerate(raw(MADE)) if i // 5 not in {3, 7}]
    assert any(line == f"{missing.name}: it is missing" for line in problems)
    assert any(line.startswith(f"{broken.name}: ") for line in problems)
    assert "metadata.yaml: of 60 messages that it names, 50 were found" in problems


def test_files_that_overlap_in_time_are_merged(tmp_path):
    (tmp_path / "bag").mkdir()
    for i in range(3):
        write_mcap(tmp_path / "bag" / f"{i}.mcap", MADE[i::3])
    assert read(tmp_path / "bag") == (raw(MADE), [])


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_compressed_file_cut_short(tmp_path, storage):
    made = messages(count=300)
    write_rosbag2(tmp_path / "bag", made, storage, "file")
    (file,) = (tmp_path / "bag").glob("*.zstd")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    found, problems = read(tmp_path / "bag")
    assert 0 < len(found) < len(made)
    assert found == [r for r in raw(made) if r in found]
    assert problems


def test_a_message_that_unpacks_beyond_reason_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr("csk_ros.replay.bag_reader.LARGEST", 1 << 20)
    from rosbags import rosbag2  # noqa: PLC0415 (used here alone)

    from csk_ros.replay.bag import STRING, TYPES  # noqa: PLC0415

    with rosbag2.Writer(tmp_path / "bag", version=9) as writer:
        topic = writer.add_connection("/route", STRING, typestore=TYPES)
        writer.write(topic, 1, zstandard.compress(bytes(1 << 24)))
        writer.write(topic, 2, TYPES.serialize_cdr(TYPES.types[STRING](data="FUSED"), STRING))
    found, problems = read(tmp_path / "bag")
    assert [r[2] for r in found] == [2]
    assert problems == ["bag.db3: 1 message cannot be read: on /route, it has 1048576 bytes or more"]


def test_a_message_that_does_not_decode_is_left_out(tmp_path):
    made = list(MADE)
    write_rosbag2(tmp_path / "bag", made, "sqlite3")
    import sqlite3  # noqa: PLC0415 (used here alone)

    with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
        database.execute("UPDATE messages SET data = substr(data, 1, 50) WHERE id IN (4, 8)")
    with BagReader(tmp_path / "bag") as bag:
        assert len(list(bag.records())) == len(MADE) - 2
        assert sum(int(line.split()[1]) for line in bag.problems) == 2
        assert all("cannot be read: on /" in line for line in bag.problems)


def test_a_folder_of_bags_of_two_kinds_is_refused(tmp_path):
    write_mcap(tmp_path / "a.mcap", MADE)
    write_ros1(tmp_path / "b.bag", MADE)
    with pytest.raises(BagError, match="bags of several kinds: give one of them"):
        read(tmp_path)


def test_a_file_is_taken_for_what_it_is_and_not_for_its_name(tmp_path):
    write_mcap(tmp_path / "drive.bag", MADE)
    assert read(tmp_path / "drive.bag") == (raw(MADE), [])


def test_metadata_as_humble_writes_them(tmp_path):
    write_rosbag2(tmp_path / "bag", MADE, "sqlite3")
    path = tmp_path / "bag" / "metadata.yaml"
    info = yaml.safe_load(path.read_text())["rosbag2_bagfile_information"]
    topics = info["topics_with_message_count"]
    for topic in topics:
        del topic["topic_metadata"]["type_description_hash"]
        topic["topic_metadata"]["offered_qos_profiles"] = (
            "- history: 3\n  depth: 0\n  reliability: 1\n  durability: 1\n"
            "  deadline:\n    sec: 9223372036\n    nsec: 854775807\n"
            "  lifespan:\n    sec: 9223372036\n    nsec: 854775807\n"
            "  liveliness: 1\n  liveliness_lease_duration:\n    sec: 9223372036\n    nsec: 854775807\n"
            "  avoid_ros_namespace_conventions: false"
        )
    kept = (
        "storage_identifier",
        "duration",
        "starting_time",
        "message_count",
        "relative_file_paths",
        "files",
    )
    humble = {key: info[key] for key in kept}
    humble.update(version=5, topics_with_message_count=topics, compression_format="", compression_mode="")
    path.write_text(yaml.safe_dump({"rosbag2_bagfile_information": humble}))
    assert read(tmp_path / "bag") == (raw(MADE), [])
    with BagReader(tmp_path / "bag") as bag:
        assert bag.channels["/route"][0].qos[0].durability.name == "TRANSIENT_LOCAL"
