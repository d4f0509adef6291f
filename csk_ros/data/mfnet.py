"""Loader of the MFNet layout (Ha et al., IROS 2017): RGB and thermal in one four-channel PNG."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from csk_ros.data.images import read_ids, read_rgbt
from csk_ros.data.paired import Format, Frame, Listing, images_in, read_list
from csk_ros.data.sample import Sample, checked_index, frame_stamp_ns
from csk_ros.labels import MFNET, UNLABELLED, LabelSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_TREE = (
    "<split>.txt (one NAME per line)\n"
    "images/NAME.png (channels R, G, B, thermal; NAME ends in D or N)\n"
    "labels/NAME.png"
)
_ID = re.compile(r"\d+[DN]")
_SHOWN = 8  # ranges of ids in a message
_RANGES = re.compile(r"\d+[DN]-\d+[DN](\+\d+[DN]-\d+[DN])*")


class MFNetSamples:
    """Labelled pairs from ``images/<id>.png`` (R, G, B, thermal) and ``labels/<id>.png``.

    Args:
        root: folder that holds ``images``, ``labels`` and one ``<split>.txt`` of ids per split.
        split: name of such a list; "all": every image, in the order of their names; or ranges of ids joined
            by ``+``, as ``00101D-00150D+01200N-01209N`` (both ends included, day or night as the ends say).

    Raises:
        FileNotFoundError: if the folder, or the image or labels of a listed id, is missing.
        ValueError: if there is no such split, or it lists nothing.
    """

    label_set: LabelSet = MFNET
    rate_hz: float = 10.0

    def __init__(self, root: str | Path, split: str = "all") -> None:
        self._root = Path(root).expanduser()
        self.split = split
        self._require_layout()
        self._names = self._read_split(split)
        self._require_pairs()

    def __len__(self) -> int:
        """The number of pairs in the split."""
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        """The pair at ``index``; stamps are 0.1 s apart.

        Raises:
            IndexError: outside the split.
            ValueError: if a file is no image of the expected kind.
        """
        index = checked_index(index, len(self))
        name = self._names[index]
        image = read_rgbt(self._image_path(name))
        labels = read_ids(self._labels_path(name))
        if labels.shape != image.shape[:2]:
            raise ValueError(
                f"{self._labels_path(name)} is {labels.shape[1]}x{labels.shape[0]} but its image is "
                f"{image.shape[1]}x{image.shape[0]}: labels must have the size of their image"
            )
        self._require_known_ids(labels, name)
        return Sample(
            eo=_optical(image),
            ir=_thermal(image),
            labels=labels,
            name=name,
            stamp_ns=frame_stamp_ns(index, self.rate_hz),
        )

    def __iter__(self) -> Iterator[Sample]:
        """All pairs in order."""
        return (self[index] for index in range(len(self)))

    def _image_path(self, name: str) -> Path:
        return self._root / "images" / f"{name}.png"

    def _labels_path(self, name: str) -> Path:
        return self._root / "labels" / f"{name}.png"

    def _require_layout(self) -> None:
        for folder in (self._root, self._root / "images", self._root / "labels"):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"{folder} is not a folder: give the root of an MFNet data set, "
                    "which holds images/, labels/ and <split>.txt"
                )

    def _read_split(self, split: str) -> tuple[str, ...]:
        if split == "all":
            names = tuple(sorted(path.stem for path in (self._root / "images").glob("*.png")))
            source = self._root / "images"
        elif _RANGES.fullmatch(split):
            parts = (self._in_range(*part.split("-")) for part in split.split("+"))
            names = tuple(dict.fromkeys(name for part in parts for name in part))  # ranges may overlap
            source = self._root / "images"
        else:
            source = self._root / f"{split}.txt"
            if not source.is_file():
                known = ", ".join([*sorted(path.stem for path in self._root.glob("*.txt")), "all"])
                raise ValueError(
                    f"unknown split {split!r}: {source} does not exist; there are {known}, "
                    "and ranges of ids such as 00101D-00150D+01200N-01209N"
                )
            names = tuple(source.read_text(encoding="utf-8").split())
        if not names:
            raise ValueError(f"{source} lists no images: the split {split!r} is empty")
        return names

    def _in_range(self, first: str, last: str) -> list[str]:
        """The ids from ``first`` to ``last`` that have an image.

        Raises:
            ValueError: there are none.
        """
        images = self._root / "images"
        names = sorted(path.stem for path in images.glob(f"*{first[-1]}.png") if _ID.fullmatch(path.stem))
        chosen = [name for name in names if first <= name <= last]
        if first[-1] != last[-1]:
            raise ValueError(
                f"the range {first}-{last} goes from {first[-1]} to {last[-1]}: write one of each"
            )
        if not chosen:
            raise ValueError(f"the range {first}-{last} holds no image: {images} has {_runs(names)}")
        return chosen

    def _require_pairs(self) -> None:
        for name in self._names:
            for path in (self._image_path(name), self._labels_path(name)):
                if not path.is_file():
                    raise FileNotFoundError(
                        f"{path} is missing, but the split {self.split!r} names {name}: "
                        "add the file or take the id out of the split"
                    )

    def _require_known_ids(self, labels: NDArray[np.uint8], name: str) -> None:
        held = np.flatnonzero(np.bincount(labels.ravel())).tolist()
        foreign = [i for i in held if len(self.label_set) <= i != UNLABELLED]
        if foreign:
            raise ValueError(
                f"{self._labels_path(name)} holds the ids {foreign}: MFNet has 0 to "
                f"{len(self.label_set) - 1}, and {UNLABELLED} for unlabelled"
            )


def _optical(rgbt: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(rgbt, cv2.COLOR_RGBA2RGB), np.uint8)


def _thermal(rgbt: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.extractChannel(rgbt, 3), np.uint8)


def _runs(names: list[str]) -> str:
    """Consecutive ids as ranges, the first few of them; ``names`` are sorted."""
    parts = groupby(enumerate(names), lambda item: int(item[1][:-1]) - item[0])
    runs = [[name for _, name in part] for _, part in parts]
    shown = [f"{run[0]}-{run[-1]}" for run in runs[:_SHOWN]]
    return ", ".join([*shown, "..."] if len(runs) > _SHOWN else shown) or "no such ids"


@dataclass(frozen=True)
class MFNetFolders:
    """The layout of MFNet, for those who look at files: an optical and a thermal image in one file.

    Attributes:
        format: what the files hold.
    """

    format: Format

    def matches(self, root: Path) -> bool:
        """Whether both folders are there."""
        return (root / "images").is_dir() and (root / "labels").is_dir()

    def listing(self, root: Path) -> Listing:
        """A frame for every name that stands in a folder or a list."""
        lists = {path.stem: read_list(path) for path in sorted(root.glob("*.txt"))}
        splits = {
            split: tuple(_frame(root, name) for name in names)
            for split, names in lists.items()
            if names is not None
        }
        listed = {frame.name for frames in splits.values() for frame in frames}
        names = sorted({*images_in(root / "images"), *images_in(root / "labels")} - listed)
        return Listing(splits, tuple(_frame(root, name) for name in names))


def _frame(root: Path, name: str) -> Frame:
    image = root / "images" / f"{name}.png"
    return Frame(name, {"eo": image, "ir": image, "labels": root / "labels" / f"{name}.png"})


MFNET_LAYOUT = MFNetFolders(
    Format(
        kind="mfnet",
        title="MFNet",
        tree=_TREE,
        label_set=MFNET,
        splits="train, val, test, their day and night parts, and ranges of ids",
        read={
            "eo": lambda path: _optical(read_rgbt(path)),
            "ir": lambda path: _thermal(read_rgbt(path)),
            "labels": read_ids,
        },
    )
)
