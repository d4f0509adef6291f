"""Compiled models on disk, so that a node's next start need not make them again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csk_ros.modality import Modality

if TYPE_CHECKING:
    from collections.abc import Callable

    from csk_ros.network import Checkpoint

FOLDER = ".csk_ros_cache"
_MANIFEST = "manifest.json"
_NEW = ".new-"
_LONGEST_WRITE_S = 3600.0
KEPT = 64
"""Models that a cache keeps, the latest used; one of the shipped network takes 3 to 17 MB."""


class ModelCache:
    """Models on disk, each in a folder named by all that it depends on.

    A model appears by one rename, and is checked when it is found. What cannot be written is not kept, and
    nobody fails for it.

    Args:
        folders: where models are looked for, in this order; the first that can be written keeps new ones.
    """

    def __init__(self, *folders: Path) -> None:
        self.folders = folders

    @classmethod
    def beside(cls, checkpoint: Path) -> ModelCache:
        """The folder beside a checkpoint's file, and the user's own for where nobody may write there."""
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(checkpoint.resolve().parent / FOLDER, Path(base) / "csk_ros")

    def find(self, key: dict[str, Any]) -> Path | None:
        """The folder with the model of a key, or None; one that is not as it was written is forgotten."""
        for place in self._places(key):
            if not place.is_dir():
                continue
            if _is_whole(place):
                with contextlib.suppress(OSError):  # somebody else's, which may be read all the same
                    os.utime(place)
                return place
            shutil.rmtree(place, ignore_errors=True)
        return None

    def put(self, key: dict[str, Any], write: Callable[[Path], None]) -> Path | None:
        """Keep a model.

        Args:
            key: all that the model depends on; JSON.
            write: writes the model's files into a folder.

        Returns:
            Its folder, or None if it could not be written.
        """
        for place in self._places(key):
            try:
                _write(place, key, write)
            except OSError:  # read-only, full, or another process was first
                if found := self.find(key):
                    return found
                continue
            _forget_old(place.parent)
            return place
        return None

    def discard(self, key: dict[str, Any]) -> None:
        """Forget a model, to keep another in its place."""
        for place in self._places(key):
            shutil.rmtree(place, ignore_errors=True)

    def _places(self, key: dict[str, Any]) -> list[Path]:
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
        return [folder / name for folder in self.folders]


def _write(place: Path, key: dict[str, Any], write: Callable[[Path], None]) -> None:
    """Write a model so that it is there at once; leaves nothing behind if that fails."""
    if place.is_dir():
        raise FileExistsError(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=_NEW, dir=place.parent))
    try:
        write(new)
        document = {"key": key, "files": _digests(new)}
        (new / _MANIFEST).write_text(json.dumps(document, indent=1, sort_keys=True))
        new.chmod(0o755)  # whoever may read the checkpoint may read its models
        new.replace(place)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _forget_old(folder: Path) -> None:
    places = sorted(folder.iterdir(), key=_used, reverse=True)
    models = [place for place in places if not place.name.startswith(".")]
    halves = [place for place in places if place.name.startswith(_NEW)]
    # a process that was killed while it wrote does not come back for its half
    dead = [half for half in halves if _used(half) < time.time() - _LONGEST_WRITE_S]
    for place in [*models[KEPT:], *dead]:
        shutil.rmtree(place, ignore_errors=True)


def fingerprint(checkpoint: Checkpoint) -> str:
    """Of architecture, weights and normalisation: equal for checkpoints that answer alike."""
    feeding = {m.value: [checkpoint.normalisation[m].mean, checkpoint.normalisation[m].std] for m in Modality}
    document = json.dumps([checkpoint.network.architecture, feeding], sort_keys=True)
    digest = hashlib.sha256(document.encode())
    for name, tensor in checkpoint.network.state_dict().items():
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.iterdir() if path.name != _MANIFEST)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _is_whole(folder: Path) -> bool:
    """Whether a model is as it was written: a power cut leaves halves."""
    try:
        return bool(json.loads((folder / _MANIFEST).read_text())["files"] == _digests(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process forgot it
        return 0.0
