"""rosbag2 out, through ``rosbags``: no ROS needed, metadata that ROS 2 Jazzy reads (version 9)."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from csk_ros.replay.bag_types import LABEL_SET_KEY, TYPES, BagError, Storage, refuse_existing
from csk_ros.replay.storage.parts import one_line
from csk_ros.replay.storage.types import qos_profile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rosbags.interfaces import Connection, Qos
    from typing_extensions import Self

    from csk_ros.labels import LabelSet


_FAILED = (OSError, sqlite3.Error)  # as on a full disk


class BagWriter:
    """Writes one new bag; a context manager. Left by an exception, it removes what it has written.

    Messages are kept in the order in which they are given.

    Args:
        path: the bag's folder, which must not exist.
        storage: storage plugin of the bag.
        zstd: compress the messages (mcap: its chunks; sqlite3: each message).
        label_set: classes of the masks and labels in the bag, to keep in its metadata.
        custom_data: texts to keep in the bag's metadata.
        keep_partial: left by an exception, such as Ctrl-C, close the bag in order with what it holds so far;
            if even that fails, leave what there is, which :class:`BagReader` reads as far as it goes.

    Raises:
        BagError: if ``path`` exists, or it cannot be written, also later, as when the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        storage: Storage = "mcap",
        zstd: bool = False,
        label_set: LabelSet | None = None,
        custom_data: dict[str, str] | None = None,
        keep_partial: bool = False,
    ) -> None:
        self.path = Path(path)
        self._keep_partial = keep_partial
        if storage not in get_args(Storage):
            raise BagError(f"unknown storage '{storage}': use one of {', '.join(get_args(Storage))}")
        refuse_existing(self.path)
        self._writer = Writer(self.path, version=9, storage_plugin=StoragePlugin[storage.upper()])
        if zstd:
            mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
            self._writer.set_compression(mode, CompressionFormat.ZSTD)
        texts = dict(custom_data or {})
        if label_set is not None:
            texts[LABEL_SET_KEY] = json.dumps(label_set.to_dict())
        for key, text in texts.items():
            self._writer.set_custom_data(key, text)
        self._topics: dict[str, Connection] = {}

    def __enter__(self) -> Self:
        """Create the bag's folder."""
        try:
            self._writer.open()
        except OSError as error:
            raise BagError(f"cannot write the bag {self.path}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write index and metadata, or remove the unfinished bag."""
        if kind is None or self._keep_partial:
            try:
                self._writer.close()
            except BaseException as failure:
                if not self._keep_partial:
                    self._remove()
                if isinstance(failure, _FAILED):
                    raise BagError(f"cannot write the bag {self.path}: {one_line(failure)}") from failure
                raise
        else:
            self._remove()

    def _remove(self) -> None:
        self._writer.abort()
        shutil.rmtree(self.path)

    def add_topic(self, topic: str, msgtype: str, qos: Literal["stream", "latched"] = "stream") -> None:
        """Declare a topic before its first message."""
        self._topics[topic] = self._writer.add_connection(
            topic, msgtype, typestore=TYPES, offered_qos_profiles=[qos_profile(qos)]
        )

    def add_foreign_topic(
        self, topic: str, msgtype: str, *, definition: str, digest: str, qos: Sequence[Qos]
    ) -> None:
        """Declare a topic of any type, by the text of its definition; no code is made of it.

        Args:
            topic: its name.
            msgtype: its type.
            definition: the type's definition as bags hold it, with those of its parts.
            digest: the type's RIHS01 hash.
            qos: what the topic was offered with.
        """
        self._topics[topic] = self._writer.add_connection(
            topic, msgtype, msgdef=definition, rihs01=digest, offered_qos_profiles=qos
        )

    def note(self, key: str, text: str) -> None:
        """Keep a text in the bag's metadata, at any time before it is closed."""
        self._writer.set_custom_data(key, text)

    def write(self, topic: str, received_ns: int, message: Any) -> None:
        """Append a message built from :data:`TYPES`."""
        self.write_raw(topic, received_ns, TYPES.serialize_cdr(message, self._topics[topic].msgtype))

    def write_raw(self, topic: str, received_ns: int, data: bytes | memoryview) -> None:
        """Append a message given as its CDR bytes."""
        try:
            self._writer.write(self._topics[topic], received_ns, data)
        except _FAILED as error:
            raise BagError(f"cannot write the bag {self.path}: {one_line(error)}") from error
