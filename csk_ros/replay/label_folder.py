"""Label maps from a folder of PNGs that are named by stamp."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from csk_ros.data.images import read_ids
from csk_ros.data.stamps import stamp_from_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LabelFolderError(ValueError):
    """A folder of labels that cannot be used; the message is one line and names the file."""


class LabelFolder:
    """Finds the label map of a stamp.

    Files are named ``<nanoseconds>.png``, as ``csk bag extract`` does, or ``<seconds>.<nine digits>.png``.

    Args:
        folder: with the PNGs: class ids, 255 where unlabelled.

    Attributes:
        files: by stamp in nanoseconds.

    Raises:
        LabelFolderError: if it is no folder, holds no PNG, one that is not named by its stamp, or two of one
            stamp.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder).expanduser()
        if not folder.is_dir():
            raise LabelFolderError(f"there is no folder of labels at {folder}: check the path")
        self.files: dict[int, Path] = {}
        for file in sorted(folder.glob("*.png")):
            stamp = stamp_from_name(file.stem)
            if stamp is None:
                raise LabelFolderError(
                    f"{file} is not named by a stamp: write <nanoseconds>.png or <sec>.<nsec>.png"
                )
            if stamp in self.files:
                raise LabelFolderError(f"{file} and {self.files[stamp].name} are of the same stamp: keep one")
            self.files[stamp] = file
        if not self.files:
            raise LabelFolderError(f"{folder} holds no PNG")

    def labels_at(self, stamp_ns: int) -> NDArray[np.uint8] | None:
        """The labels of a stamp, (H, W) uint8 ids; None if there is no file.

        Raises:
            ImageFileError, PixelFormatError: if the file is no label map.
        """
        path = self.files.get(stamp_ns)
        return None if path is None else read_ids(path)
