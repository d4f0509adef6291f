"""sqlite3 files of rosbag2, whole or malformed."""

from __future__ import annotations

import sqlite3
from array import array
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from csk_ros.replay.storage.parts import FOREVER, Channel, Damage, Message, one_line
from csk_ros.replay.storage.types import normal_msgtype, qos_if_whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from csk_ros.replay.storage.parts import Problems

MAGIC = b"SQLite format 3\0"

_FURTHEST = 1 << 40
_MOST_GAPS = 200


class SqliteFile:
    """One sqlite3 file; its messages are indexed by one pass over their times, 20 bytes of memory each.

    Args:
        path: the file, which is only read.
        problems: takes what cannot be read.

    Raises:
        Damage: if it is no database, or has not the tables of rosbag2.
    """

    storage = "sqlite3"
    compression = ""

    def __init__(self, path: Path, problems: Problems) -> None:
        self.path = path
        self._problems = problems
        with closing(self._connect()) as database:
            try:
                self.channels = _channels(database)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise Damage(one_line(error)) from error
            ids, topics, times = self._rows(database)
        order = np.argsort(times, kind="stable")
        self._ids, self._topics, self._times = ids[order], topics[order], times[order]
        known, counts = np.unique(topics, return_counts=True)
        self.counts = dict(zip(known.tolist(), counts.tolist(), strict=True))
        self.start_ns = int(self._times[0]) if len(times) else FOREVER
        self.end_ns = int(self._times[-1]) if len(times) else 0

    def messages(self, channels: Collection[int], start_ns: int, stop_ns: int) -> Iterator[Message]:
        """As :class:`~csk_ros.replay.storage.parts.StorageFile`."""
        first, last = np.searchsorted(self._times, (start_ns, stop_ns))
        with closing(self._connect()) as database:
            for index in range(first, last):
                channel, number = int(self._topics[index]), int(self._ids[index])
                if channel not in channels:
                    continue
                try:
                    (data,) = database.execute("SELECT data FROM messages WHERE id = ?", (number,)).fetchone()
                    data = bytes(memoryview(data))
                except (sqlite3.Error, TypeError) as error:
                    reason = one_line(error) if isinstance(error, sqlite3.Error) else "it holds no bytes"
                    self._problems.add(self.path.name, "message", reason, number)
                    continue
                yield Message(int(self._times[index]), self.channels[channel], data)

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(f"file:{quote(str(self.path.absolute()))}?immutable=1", uri=True)
        database.text_factory = lambda text: text.decode("utf-8", "replace")
        database.execute("PRAGMA trusted_schema=OFF")
        # A file that is shorter than it says is otherwise refused as a whole. Nothing is written: it is open
        # for reading only.
        database.execute("PRAGMA writable_schema=ON")
        return database

    def _rows(self, database: sqlite3.Connection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Number, topic and time of every message that can be found."""
        rows = array("q"), array("q"), array("q")
        after = 0
        for _ in range(_MOST_GAPS):
            beyond = self._read_rows(database, rows, after)
            if beyond is None:
                break
            after = beyond
        else:
            self._problems.say(self.path.name, "it is damaged in too many places to read on")
        ids, topics, times = (np.frombuffer(column, np.int64) for column in rows)
        return ids, topics.astype(np.int32), times

    def _read_rows(self, database: sqlite3.Connection, rows: tuple[array[int], ...], last: int) -> int | None:
        """Append the rows after ``last``; the number after which to go on beyond a damaged place, or None."""
        try:
            for row in database.execute(
                "SELECT id, topic_id, timestamp FROM messages WHERE id > ? ORDER BY id", (last,)
            ):
                if row[0] <= last:
                    raise sqlite3.DatabaseError("its rows are out of order")
                last = row[0]
                if row[1] in self.channels and isinstance(row[2], int):
                    for column, value in zip(rows, row, strict=True):
                        column.append(value)
                else:
                    self._problems.add(self.path.name, "message", "it has no topic or no time", last)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._problems.add(self.path.name, "part of the messages", one_line(error), last)
            return _beyond(database, last)
        return None


def page_size(path: Path) -> int:
    """Bytes of a page, by the file's header."""
    with path.open("rb") as file:
        header = file.read(18)
    stored = int.from_bytes(header[16:18], "big")
    return 1 << 16 if stored <= 1 else stored


def _beyond(database: sqlite3.Connection, last: int) -> int | None:
    """The smallest number after ``last``, about, from which on rows can be read again."""

    def reads(after: int) -> bool:
        try:
            database.execute("SELECT id FROM messages WHERE id > ? ORDER BY id LIMIT 1", (after,)).fetchone()
        except sqlite3.Error:
            return False
        return True

    step = 1
    while not reads(last + step):
        step *= 2
        if step > _FURTHEST:
            return None
    low, high = last + step // 2, last + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reads(middle) else (middle, high)
    return high


def _channels(database: sqlite3.Connection) -> dict[int, Channel]:
    # Views could make anything of the tables' names, without end.
    tables = (
        "SELECT count(*) FROM sqlite_master WHERE name IN ('messages', 'topics') AND sql LIKE 'CREATE TABLE%'"
    )
    if database.execute(tables).fetchone()[0] != 2:
        raise Damage("it has not the tables of rosbag2")
    definitions = _definitions(database)
    database.row_factory = sqlite3.Row
    rows = [dict(row) for row in database.execute("SELECT * FROM topics")]
    database.row_factory = None
    return {
        int(row["id"]): Channel(
            id=int(row["id"]),
            topic=str(row["name"]),
            msgtype=normal_msgtype(str(row["type"])),
            encoding=str(row["serialization_format"]),
            definition=definitions.get(row["type"], ""),
            digest=str(row.get("type_description_hash") or ""),
            qos=qos_if_whole(row.get("offered_qos_profiles") or ""),
        )
        for row in rows
    }


def _definitions(database: sqlite3.Connection) -> dict[str, str]:
    try:
        return dict(
            database.execute(
                "SELECT topic_type, encoded_message_definition FROM message_definitions"
            ).fetchall()
        )
    except sqlite3.Error:  # rosbag2 has this table from Iron on
        return {}
