"""Compiled models on disk, so that a node's next start need not make them again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csk_ros.modality import Modality

if TYPE_CHECKING:
    from collections.abc import Callable

    from csk_ros.network import Checkpoint

FOLDER = ".csk_ros_cache"
_MANIFEST = "manifest.json"
KEPT = 48
"""Models that a cache keeps, the latest used; one of the shipped network takes 8 to 16 MB."""


class ModelCache:
    """A folder of models, each in a folder named by all that it depends on.

    A model appears by one rename, and is checked when it is found. What cannot be written is not kept, and
    nobody fails for it.

    Args:
        folder: where; made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def beside(cls, checkpoint: Path) -> ModelCache:
        """The cache beside a checkpoint's file, or the user's own where nobody may write there."""
        if os.access(checkpoint.resolve().parent, os.W_OK):
            return cls(checkpoint.resolve().parent / FOLDER)
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(Path(base) / "csk_ros")

    def find(self, key: dict[str, Any]) -> Path | None:
        """The folder with the model of a key, or None; one that is not as it was written is forgotten."""
        folder = self._place(key)
        if not folder.is_dir():
            return None
        if not _is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            return None
        with contextlib.suppress(OSError):  # somebody else's cache, which may be read all the same
            os.utime(folder)
        return folder

    def put(self, key: dict[str, Any], write: Callable[[Path], None]) -> Path | None:
        """Keep a model.

        Args:
            key: all that the model depends on; JSON.
            write: writes the model's files into a folder.

        Returns:
            Its folder, or None if it could not be written.
        """
        target = self._place(key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
        except OSError:
            return None
        try:
            write(new)
            document = {"key": key, "files": _digests(new)}
            (new / _MANIFEST).write_text(json.dumps(document, indent=1, sort_keys=True))
            new.replace(target)
        except OSError:  # a full disk, or another process was first
            shutil.rmtree(new, ignore_errors=True)
            return self.find(key)
        self._forget_old()
        return target

    def discard(self, key: dict[str, Any]) -> None:
        """Forget a model, to keep another in its place."""
        shutil.rmtree(self._place(key), ignore_errors=True)

    def _place(self, key: dict[str, Any]) -> Path:
        return self.folder / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]

    def _forget_old(self) -> None:
        models = [path for path in self.folder.iterdir() if not path.name.startswith(".")]
        for path in sorted(models, key=_used, reverse=True)[KEPT:]:
            shutil.rmtree(path, ignore_errors=True)


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
