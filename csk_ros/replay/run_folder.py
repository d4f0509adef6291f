"""The folder of one replay: what it was asked for, how far it came, and its results."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csk_ros.replay.bag import BagError, BagReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FILE = "replay.json"
_MASKS, _PARTIAL, _EARLIER = "masks", "partial/masks", "earlier/masks"
_RUNNING, _INTERRUPTED = "running", "interrupted"


class RunFolderError(ValueError):
    """A folder that cannot take the results; the message is one line and says what to do."""


class RunFolder:
    """A folder that belongs to one replay; a replay that did not end goes on from what it left.

    Args:
        path: the folder; new, empty, or of the same replay, unfinished.
        asked: all that the results depend on, by name, ready for JSON.

    Raises:
        RunFolderError: if it holds anything else; nothing is touched then.
    """

    def __init__(self, path: str | Path, asked: Mapping[str, Any]) -> None:
        self.path = Path(path).expanduser().resolve()
        self._asked = json.loads(json.dumps(dict(asked)))
        self._check()
        self.path.mkdir(parents=True, exist_ok=True)
        self._set_aside()
        self.partial.parent.mkdir(exist_ok=True)
        self._note(_RUNNING)

    @property
    def masks(self) -> Path:
        """The bag of masks, once the replay has ended."""
        return self.path / _MASKS

    @property
    def partial(self) -> Path:
        """The bag of masks while it is written."""
        return self.path / _PARTIAL

    @property
    def earlier(self) -> Path | None:
        """The bag of masks of an unfinished replay, if there was one."""
        path = self.path / _EARLIER
        return path if path.exists() else None

    def finish(self, *, interrupted: bool) -> None:
        """Put the masks in place; what an earlier replay left is not needed any more."""
        self.partial.rename(self.masks)
        self._clear()
        self._note(_INTERRUPTED if interrupted else "finished")

    @contextmanager
    def going_back_without_masks(self) -> Iterator[None]:
        """What fails inside leaves its masks to go on from; without any, and after Ctrl-C, it goes back."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or not self._holds_masks():
                self.go_back()
            raise

    def _holds_masks(self) -> bool:
        try:
            with BagReader(self.partial) as bag:
                return bag.message_count > 0
        except BagError:
            return False

    def go_back(self) -> None:
        """Leave things as they were before this replay began."""
        if self.earlier:
            self.earlier.rename(self.masks)
            self._clear()
            self._note(_INTERRUPTED)
            return
        self._clear()
        (self.path / _FILE).unlink()
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _clear(self) -> None:
        for name in (_PARTIAL, _EARLIER):
            shutil.rmtree((self.path / name).parent, ignore_errors=True)

    def _check(self) -> None:
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        if not (self.path / _FILE).is_file():
            raise RunFolderError(f"{self.path} exists and holds no replay: give another --out")
        try:
            document = json.loads((self.path / _FILE).read_text(encoding="utf-8"))
            state, asked = document["state"], dict(document["asked"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunFolderError(f"{self.path / _FILE} is malformed: give another --out") from error
        if state not in (_RUNNING, _INTERRUPTED):
            raise RunFolderError(f"{self.path} holds a finished replay: give another --out")
        changed = sorted(
            key for key in asked.keys() | self._asked.keys() if asked.get(key) != self._asked.get(key)
        )
        if changed:
            raise RunFolderError(
                f"{self.path} holds an unfinished replay that was asked for otherwise "
                f"({', '.join(changed)}): ask for the same to go on, or give another --out"
            )

    def _set_aside(self) -> None:
        """Of what earlier replays left keep the bag that came furthest, which is the largest."""
        left = [path for name in (_MASKS, _PARTIAL, _EARLIER) if (path := self.path / name).exists()]
        furthest = max(left, key=_size, default=None)
        for path in left:
            if path != furthest:
                shutil.rmtree(path)
        if furthest:
            earlier = self.path / _EARLIER
            earlier.parent.mkdir(exist_ok=True)
            furthest.rename(earlier)

    def _note(self, state: str) -> None:
        text = json.dumps({"state": state, "asked": self._asked}, indent=2)
        fresh = self.path / f".{_FILE}"
        fresh.write_text(text + "\n", encoding="utf-8")
        fresh.rename(self.path / _FILE)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
