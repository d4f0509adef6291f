"""The files of a bag: by its metadata, else by what lies in its folder."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
import zstandard

from csk_ros.replay.storage import mcap, ros1, sqlite
from csk_ros.replay.storage.parts import CUT_SHORT, Damage, one_line
from csk_ros.replay.storage.types import normal_msgtype, parse_qos

if TYPE_CHECKING:
    from collections.abc import Callable

    from rosbags.interfaces import Qos

    from csk_ros.replay.storage.parts import Problems, StorageFile

METADATA = "metadata.yaml"

_ZSTD = b"\x28\xb5\x2f\xfd"
_MAGICS: dict[bytes, Callable[[Path, Problems], StorageFile]] = {
    mcap.MAGIC: mcap.McapFile,
    sqlite.MAGIC: sqlite.SqliteFile,
    ros1.MAGIC: ros1.Ros1File,
}
_SUFFIXES: dict[str, Callable[[Path, Problems], StorageFile]] = {
    ".mcap": mcap.McapFile,
    ".db3": sqlite.SqliteFile,
    ".bag": ros1.Ros1File,
    ".active": ros1.Ros1File,
}
_SPARE_BYTES = 1 << 30  # of the disk, when a compressed file is unpacked


class Contents(NamedTuple):
    """What a bag consists of.

    Attributes:
        files: its files, in the order of time.
        custom: the custom data of its metadata, as it stands there.
        types: digest and QoS by topic and type, from the metadata.
        promised: messages, by the metadata.
        compression: mode by the metadata: ``file``, ``message`` or empty.
    """

    files: list[Path]
    custom: Any = None
    types: dict[tuple[str, str], tuple[str, tuple[Qos, ...]]] = {}  # noqa: RUF012 (never changed)
    promised: int = 0
    compression: str = ""


def find_contents(path: Path, problems: Problems) -> Contents:
    """The files of the bag at ``path``, a folder or a file.

    Raises:
        Damage: if its metadata mean harm, or there are no files of a bag.
        OSError: if it cannot be read.
    """
    if not path.is_dir():
        return Contents([path])
    if (path / METADATA).exists():
        try:
            return _by_metadata(path)
        except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            if isinstance(error, yaml.constructor.ConstructorError):
                raise Damage(f"its {METADATA} is not plain: {one_line(error)}") from error
            problems.say(
                METADATA, "it is not whole; the files beside it are read in the order of their names"
            )
    files = sorted((file for file in path.iterdir() if _suffix(file) in _SUFFIXES), key=_natural)
    if not files:
        raise Damage(f"it holds no {METADATA} and no file of a bag (.mcap, .db3, .bag)")
    if len({_SUFFIXES[_suffix(file)] for file in files}) > 1:
        raise Damage(f"it holds no {METADATA} and bags of several kinds: give one of them")
    return Contents(files)


def _by_metadata(path: Path) -> Contents:
    about = yaml.safe_load((path / METADATA).read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
    topics = [entry["topic_metadata"] for entry in about["topics_with_message_count"]]
    return Contents(
        files=[path / PurePath(name).name for name in about["relative_file_paths"]],
        custom=about.get("custom_data"),
        types={
            (topic["name"], normal_msgtype(topic["type"])): (
                str(topic.get("type_description_hash") or ""),
                parse_qos(topic.get("offered_qos_profiles") or ""),
            )
            for topic in topics
        },
        promised=int(about["message_count"]),
        compression=str(about.get("compression_mode") or "").lower().replace("none", ""),
    )


def open_file(path: Path, problems: Problems, scratch: Callable[[], Path]) -> StorageFile:
    """Open one file of a bag and index it, by what it is and not by its name.

    Args:
        path: the file.
        problems: takes what cannot be read of it.
        scratch: gives a folder to unpack it into, where that is needed.

    Raises:
        Damage: if it is no file of a bag, or nothing of it can be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
        if head.startswith(_ZSTD):
            path = _unpack(path, problems, scratch())
            with path.open("rb") as file:
                head = file.read(16)
        if not head:
            raise Damage("it is empty")
        if head.startswith(sqlite.MAGIC):
            path = _settle(path, problems, scratch)
        for magic, open_storage in _MAGICS.items():
            if head.startswith(magic):
                return open_storage(path, problems)
        if path.suffix not in _SUFFIXES:
            raise Damage("it is no mcap, sqlite3 or ROS 1 bag")
        return _SUFFIXES[path.suffix](path, problems)
    except FileNotFoundError as error:
        raise Damage("it is missing") from error
    except (OSError, sqlite3.Error) as error:
        raise Damage(one_line(error)) from error


def _unpack(path: Path, problems: Problems, scratch: Path) -> Path:
    out = scratch / path.name.removesuffix(".zstd").removesuffix(".zst")
    with path.open("rb") as packed, out.open("wb") as plain:
        stream = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        try:
            while piece := stream.read(1 << 22):
                if shutil.disk_usage(scratch).free < _SPARE_BYTES:
                    raise Damage(f"unpacking it fills the disk of {scratch}: set TMPDIR to another")
                plain.write(piece)
        except zstandard.ZstdError as error:
            problems.say(path.name, f"it cannot be unpacked to its end: {one_line(error)}")
    return out


def _settle(path: Path, problems: Problems, scratch: Callable[[], Path]) -> Path:
    """The database as a file that says it all: a copy, where a recorder was killed or the end is missing."""
    logs = [
        log for end in ("-wal", "-journal") if (log := Path(f"{path}{end}")).is_file() and log.stat().st_size
    ]
    ragged = path.stat().st_size % sqlite.page_size(path)
    if not (logs or ragged):
        return path
    out = scratch() / "whole" / path.name
    out.parent.mkdir(exist_ok=True)
    for file in (path, *logs):
        if shutil.disk_usage(out.parent).free < file.stat().st_size + _SPARE_BYTES:
            raise Damage(f"copying it fills the disk of {out.parent}: set TMPDIR to another")
        shutil.copyfile(file, out.parent / file.name)
    if ragged:  # sqlite would read zeros in place of what is missing
        problems.say(path.name, CUT_SHORT)
        os.truncate(out, path.stat().st_size - ragged)
    with closing(sqlite3.connect(out)) as database:
        try:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            problems.say(path.name, f"what its recorder wrote last cannot be taken in: {one_line(error)}")
    return out


def _suffix(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix in {".zstd", ".zst"} else path.suffix


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts bag_10 after bag_9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
