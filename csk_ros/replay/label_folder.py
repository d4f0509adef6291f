"""Label maps from a folder of PNGs that are named by stamp."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXTRACT_FILE = "extract.json"
"""What ``csk bag extract`` leaves beside its images; tells the stamps of its names."""

_SECOND = 1_000_000_000
_STAMP = re.compile(r"(\d+)(?:[._](\d{1,9}))?")


class LabelFolderError(ValueError):
    """A folder of labels that cannot be used; the message is one line and names the file."""


class LabelFolder:
    """Finds the label map of a stamp.

    Files are named ``<nanoseconds>.png``, ``<seconds>.<fraction>.png`` (``_`` for ``.`` will do), or as
    ``csk bag extract`` named them, whose ``extract.json`` then lies in the folder or above it.

    Args:
        folder: with the PNGs: class ids in one channel of 8 bits, 255 where unlabelled.

    Raises:
        LabelFolderError: if it is no folder or holds no file with such a name.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise LabelFolderError(f"there is no folder of labels at {self.folder}: check the path")
        names = _extracted(self.folder)
        stamped = (
            (names.get(path.stem, stamp_of(path.stem)), path) for path in sorted(self.folder.glob("*.png"))
        )
        self.files: dict[int, Path] = {stamp: path for stamp, path in stamped if stamp is not None}
        if not self.files:
            raise LabelFolderError(
                f"{self.folder} holds no PNG that is named by its stamp, such as 1700000000123456789.png or "
                "1700000000.123456789.png"
            )

    def labels_at(self, stamp_ns: int) -> NDArray[np.uint8] | None:
        """The labels of a stamp, (H, W) uint8 ids; None if there is no file.

        Raises:
            LabelFolderError: if the file is no PNG with one channel of 8 bits.
        """
        path = self.files.get(stamp_ns)
        return None if path is None else read_label_file(path)


def stamp_of(stem: str) -> int | None:
    """The stamp in nanoseconds that a file name tells; None if it tells none."""
    found = _STAMP.fullmatch(stem)
    if not found:
        return None
    if found[2] is None:
        return int(found[1])
    return int(found[1]) * _SECOND + int(found[2].ljust(9, "0"))


def read_label_file(path: Path) -> NDArray[np.uint8]:
    """A label map, (H, W) uint8 ids.

    Raises:
        LabelFolderError: as :meth:`LabelFolder.labels_at`.
    """
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None:
        raise LabelFolderError(f"{path} cannot be read as a PNG")
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise LabelFolderError(
            f"{path} is {labels.dtype} of shape {labels.shape}: labels are class ids in one channel of 8 bits"
        )
    return labels.astype(np.uint8, copy=False)


def _extracted(folder: Path) -> dict[str, int]:
    """Stamps by file stem, as ``csk bag extract`` noted them; empty where it did not make the folder."""
    for place in (folder, folder.parent):
        path = place / EXTRACT_FILE
        if path.is_file():
            try:
                stamps = json.loads(path.read_text(encoding="utf-8"))["stamps"]
                return {str(name): int(stamp) for name, stamp in stamps.items()}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise LabelFolderError(f"{path} is malformed: {error!r}") from error
    return {}
