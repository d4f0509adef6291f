"""Data sets as separate optical, thermal and label files: their folder layouts, and one loader for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from csk_ros.data.images import SUFFIXES, read_eo, read_ids, read_ir
from csk_ros.data.sample import Sample, checked_index, frame_stamp_ns
from csk_ros.labels import UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from csk_ros.labels import LabelSet

ALL = "all"
FOREIGN = -1
"""What :attr:`Format.ids` gives for an id that the data set does not have."""

Role = Literal["eo", "ir", "labels"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Frame:
    """Where the files of one pair belong; they need not exist.

    Attributes:
        name: what its sample is called.
        files: by role; a data set that keeps two roles in one file names it twice.
    """

    name: str
    files: Mapping[Role, Path]

    def missing(self) -> list[Path]:
        """Its files that do not exist, each once."""
        return [path for path in dict.fromkeys(self.files.values()) if not path.is_file()]


@dataclass(frozen=True)
class Listing:
    """The frames of a data set.

    Attributes:
        splits: frames of each split, in order.
        unlisted: frames that no split names.
    """

    splits: Mapping[str, tuple[Frame, ...]]
    unlisted: tuple[Frame, ...] = ()

    def frames(self, split: str | None = None) -> tuple[Frame, ...]:
        """Those of one split, or each once, by name of its optical file."""
        if split is not None:
            return self.splits[split]
        every = [frame for frames in self.splits.values() for frame in frames]
        by_file = {frame.files["eo"]: frame for frame in (*every, *self.unlisted)}
        return tuple(by_file[path] for path in sorted(by_file))


@dataclass(frozen=True)
class Format:
    """What the files of a data set hold.

    Attributes:
        kind: how specifications call it, as in ``kind:ROOT``.
        title: its name.
        tree: its folders and files, one per line.
        label_set: the classes.
        splits: those that are published.
        first_id: the id that files hold for the first class; smaller ones are unlabelled.
        read: reads the file of each role.
    """

    kind: str
    title: str
    tree: str
    label_set: LabelSet
    splits: str
    first_id: int = 0
    read: Mapping[Role, Callable[[Path], NDArray[np.uint8] | NDArray[np.uint16]]] = field(
        default_factory=lambda: {"eo": read_eo, "ir": read_ir, "labels": read_ids}
    )

    def ids(self) -> NDArray[np.int16]:
        """The class of every id that a file may hold, shape (256,): 255 if unlabelled, else FOREIGN."""
        table = np.full(256, FOREIGN, dtype=np.int16)
        table[: self.first_id] = table[UNLABELLED] = UNLABELLED
        table[self.first_id : self.first_id + len(self.label_set)] = range(len(self.label_set))
        return table


class Layout(Protocol):
    """Finds the files of a data set under its root."""

    @property
    def format(self) -> Format:
        """What the files hold."""
        ...

    def matches(self, root: Path) -> bool:
        """Whether ``root`` looks like this data set."""
        ...

    def listing(self, root: Path) -> Listing:
        """All frames under ``root``, which matches."""
        ...


@dataclass(frozen=True)
class SplitFolders:
    """A layout ``<split>/<folder of the role>/NAME.png``; every folder with an optical one is a split.

    Attributes:
        format: what the files hold.
        folders: the folder of each role.
    """

    format: Format
    folders: Mapping[Role, str]

    def matches(self, root: Path) -> bool:
        """Whether a split holds the folders of all roles."""
        return any(
            all((split / name).is_dir() for name in self.folders.values()) for split in folders_in(root)
        )

    def listing(self, root: Path) -> Listing:
        """A frame per name that stands in any folder of a split."""
        splits = [split for split in folders_in(root) if (split / self.folders["eo"]).is_dir()]
        return Listing({split.name: self._frames(split) for split in splits})

    def _frames(self, split: Path) -> tuple[Frame, ...]:
        found = {role: images_in(split / folder) for role, folder in self.folders.items()}
        names = sorted(set().union(*found.values()))
        return tuple(
            Frame(
                name,
                {
                    role: found[role].get(name, split / folder / f"{name}.png")
                    for role, folder in self.folders.items()
                },
            )
            for name in names
        )


class PairedSamples:
    """Labelled pairs from separate files.

    Args:
        layout: where the files are and what they hold.
        root: the data set's folder.
        split: one of its splits, or "all".

    Raises:
        FileNotFoundError: if the folder has not this layout, or a file of a pair is missing.
        ValueError: if there is no such split, or it is empty.
    """

    rate_hz: float = 10.0
    """Nominal: none of these data sets states one."""

    def __init__(self, layout: Layout, root: str | Path, split: str = ALL) -> None:
        self._format = layout.format
        self._ids = layout.format.ids()
        self.label_set: LabelSet = layout.format.label_set
        self.split = split
        self._frames = chosen_frames(layout, Path(root).expanduser(), split)
        self._require_files()

    def __len__(self) -> int:
        """The number of pairs in the split."""
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        """The pair at ``index``; stamps are 0.1 s apart.

        Raises:
            IndexError: outside the split.
            ValueError: if a file is no image of the expected kind, size or ids.
        """
        index = checked_index(index, len(self))
        frame = self._frames[index]
        eo, ir, labels = (self._format.read[role](frame.files[role]) for role in ROLES)
        for path, image in ((frame.files["eo"], eo), (frame.files["ir"], ir)):
            if image.shape[:2] != labels.shape:
                raise ValueError(
                    f"{frame.files['labels']} is {size_text(labels)} but {path} is {size_text(image)}: "
                    "the files of a pair must have one size"
                )
        return Sample(
            eo=eo.astype(np.uint8, copy=False),
            ir=ir,
            labels=self._classes(labels, frame.files["labels"]),
            name=frame.name,
            stamp_ns=frame_stamp_ns(index, self.rate_hz),
        )

    def __iter__(self) -> Iterator[Sample]:
        """All pairs in order."""
        return (self[index] for index in range(len(self)))

    def _classes(self, stored: NDArray[np.uint8] | NDArray[np.uint16], path: Path) -> NDArray[np.uint8]:
        classes = self._ids[stored]
        if (classes == FOREIGN).any():
            foreign = np.unique(stored[classes == FOREIGN]).tolist()
            first, last = self._format.first_id, self._format.first_id + len(self.label_set) - 1
            raise ValueError(
                f"{path} holds the ids {foreign}: {self._format.title} has {first} to {last}, and "
                f"{UNLABELLED} for unlabelled"
            )
        return classes.astype(np.uint8)

    def _require_files(self) -> None:
        for frame in self._frames:
            for path in frame.missing():
                raise FileNotFoundError(
                    f"{path} is missing, but {frame.name} is in the split {self.split!r}: add the file or "
                    "take out the others of its pair (csk data check finds all such)"
                )


def chosen_frames(layout: Layout, root: Path, split: str) -> tuple[Frame, ...]:
    """The frames of ``split``, or each once for "all".

    Raises:
        FileNotFoundError: if ``root`` has not this layout.
        ValueError: if there is no such split, or it is empty.
    """
    require_layout(layout, root)
    listing = layout.listing(root)
    if split != ALL and split not in listing.splits:
        raise ValueError(f"unknown split {split!r} of {root}; there are {', '.join([*listing.splits, ALL])}")
    frames = listing.frames(None if split == ALL else split)
    if not frames:
        raise ValueError(f"the split {split!r} of {root} is empty: look whether the data set is complete")
    return frames


def require_layout(layout: Layout, root: Path) -> None:
    """Raise FileNotFoundError, with the layout, if ``root`` has not it."""
    if not layout.matches(root):
        tree = "; ".join(layout.format.tree.splitlines())
        raise FileNotFoundError(f"{root} is not the root of {layout.format.title}, which holds {tree}")


def images_in(folder: Path) -> dict[str, Path]:
    """The image files of ``folder`` by name without ending; none if it does not exist."""
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}


def read_list(path: Path) -> list[str] | None:
    """The entries of a list, one per line; None if the file is a text and no list."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    if any(len(line.split()) > 1 for line in lines):
        return None
    return [line for line in lines if line]


def size_text(image: NDArray[np.uint8] | NDArray[np.uint16]) -> str:
    """Width and height, as ``640x480``."""
    return f"{image.shape[1]}x{image.shape[0]}"


def folders_in(root: Path) -> list[Path]:
    """The folders in ``root`` by name; none if it does not exist."""
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
