from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bags import cut, hit, messages, raw, read, read_or_refusal, write_rosbag2

from csk_ros.replay.bag import BagError, BagReader

MADE = messages()


@pytest.fixture
def file(tmp_path):
    write_rosbag2(tmp_path / "bag", MADE, "sqlite3")
    return tmp_path / "bag" / "bag.db3"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "bag"
    write_rosbag2(path, MADE, "sqlite3")
    return path / "bag.db3"


def test_a_file_without_its_folder(file):
    assert read(file) == (raw(MADE), [])
    with BagReader(file) as bag:
        assert (bag.start_ns, bag.duration_ns, bag.message_count) == (MADE[0].received_ns, 590_000_000, 60)
        assert bag.storage == "sqlite3"


def test_messages_come_by_receive_time_whatever_the_order_of_storage(tmp_path):
    write_rosbag2(tmp_path / "bag", MADE[::-1], "sqlite3")
    assert read(tmp_path / "bag") == (raw(MADE), [])


def test_the_tables_of_rosbag2_before_its_schema_had_a_version(file):
    with sqlite3.connect(file) as database:
        for statement in (
            "DROP TABLE schema",
            "DROP TABLE message_definitions",
            "ALTER TABLE topics DROP COLUMN type_description_hash",
            "ALTER TABLE topics DROP COLUMN offered_qos_profiles",
        ):
            database.execute(statement)
    assert read(file) == (raw(MADE), [])


@settings(max_examples=40)
@given(keep=st.floats(0, 1, exclude_max=True))
def test_of_a_bag_cut_short_the_beginning_is_read(whole, tmp_path_factory, keep):
    path = tmp_path_factory.mktemp("cut") / "bag.db3"
    cut(whole, path, keep)
    if (result := read_or_refusal(path)) is None:
        assert keep < 0.4
        return
    found, problems = result
    kept = [r for r in raw(MADE) if r in found]  # rows lie about in the order of their times
    assert found == kept
    assert problems or len(found) == len(MADE)
    assert len(found) >= len(MADE) * (keep - 0.4)


def test_names_of_columns_that_are_no_text_are_damage(whole, tmp_path):
    damaged = whole.read_bytes().replace(b"serialization_format TEXT", b"\x80erialization_format TEXT")
    assert damaged != whole.read_bytes()
    (tmp_path / "bag.db3").write_bytes(damaged)
    with pytest.raises(BagError, match=r"bag\.db3"):
        read(tmp_path / "bag.db3")


@settings(max_examples=60)
@given(at=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=3000))
def test_damage_anywhere_is_a_problem_or_an_error(whole, tmp_path_factory, at, junk):
    path = tmp_path_factory.mktemp("hit") / "bag.db3"
    hit(whole, path, at, junk)
    if (result := read_or_refusal(path)) is None:
        return
    found, _ = result
    assert [r[2] for r in found] == sorted(r[2] for r in found)


def test_beyond_a_damaged_page_reading_goes_on(tmp_path, whole):
    data = bytearray(whole.read_bytes())
    page = len(data) // 2 // 4096 * 4096
    data[page : page + 4096] = b"\xff" * 4096
    (tmp_path / "bag.db3").write_bytes(data)
    found, problems = read(tmp_path / "bag.db3")
    lost = [i for i, r in enumerate(raw(MADE)) if r not in found]
    assert 0 < len(lost) <= 3
    assert all(line.startswith("bag.db3: ") for line in problems)
    assert problems


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DROP TABLE topics", "has not the tables of rosbag2"),
        ("ALTER TABLE messages RENAME TO other", "has not the tables of rosbag2"),
        ("DELETE FROM messages", "is empty"),
    ],
)
def test_a_database_that_is_no_bag(file, statement, reason):
    with sqlite3.connect(file) as database:
        database.execute(statement)
    with pytest.raises(BagError, match=reason):
        read(file)


def test_a_view_without_end_is_not_read(file):
    with sqlite3.connect(file) as database:
        database.execute("DROP TABLE messages")
        database.execute(
            "CREATE VIEW messages AS WITH RECURSIVE c(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM c) "
            "SELECT id, 1 AS topic_id, 1 AS timestamp, x'00010000' AS data FROM c"
        )
    with pytest.raises(BagError, match="has not the tables of rosbag2"):
        read(file)


def test_rows_of_other_types_are_problems(file):
    with sqlite3.connect(file) as database:
        database.execute("UPDATE messages SET data = 'text' WHERE id = 5")
        database.execute("UPDATE messages SET timestamp = 'noon' WHERE id = 7")
        database.execute("UPDATE messages SET topic_id = 99 WHERE id = 9")
    found, problems = read(file)
    assert found == [r for i, r in enumerate(raw(MADE)) if i not in {4, 6, 8}]
    assert problems == [
        "bag.db3: 2 messages cannot be read: it has no topic or no time",
        "bag.db3: 1 message cannot be read: it holds no bytes",
    ]


def test_what_a_killed_recorder_left_in_its_log_is_read(file):
    """As of a recorder with the storage profile resilient."""
    code = (
        "import sqlite3, os, sys\n"
        "database = sqlite3.connect(sys.argv[1])\n"
        "database.execute('PRAGMA journal_mode=WAL')\n"
        "database.execute('INSERT INTO messages (topic_id, timestamp, data) '\n"
        "                 'SELECT topic_id, timestamp + 1, data FROM messages')\n"
        "database.commit()\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=False)
    held = sorted((path.name, path.read_bytes()) for path in file.parent.iterdir())
    assert any(name.endswith("-wal") for name, _ in held)
    found, problems = read(file.parent)
    assert (len(found), problems) == (2 * len(MADE), [])
    assert sorted((path.name, path.read_bytes()) for path in file.parent.iterdir()) == held
