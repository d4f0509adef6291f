"""Looks at every file of a data set and tells what would disturb a training, all of it in one go."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from csk_ros.data.images import ImageFileError, PixelFormatError
from csk_ros.data.paired import FOREIGN, ROLES, require_layout, size_text
from csk_ros.data.registry import LAYOUTS
from csk_ros.labels import UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from csk_ros.data.paired import Format, Frame, Layout, Listing, Role

ERRORS = {
    "missing file": "a pair lacks this file; the loader refuses the split",
    "listed without files": "a split names it, and there is nothing",
    "empty split": "a split without frames",
    "unreadable file": "empty, cut short or no image",
    "wrong format": "other channels or another type than its place asks for",
    "sizes differ": "the files of a pair must have one size",
    "foreign ids": "labels that the data set's classes do not have",
}
"""What makes a training fail, with what it means."""

WARNINGS = {
    "nothing labelled": "a label map without one labelled pixel teaches nothing",
    "black optical image": "every pixel is 0",
    "constant thermal image": "every pixel has one value",
    "in no split": "files that no list names",
    "in two splits": "scores of the one flatter if the other is trained on",
    "same images in two splits": "the same optical and thermal pixels under other names; scores flatter",
}
"""What a training survives, with what it means."""


class DataError(ValueError):
    """A data set has errors that make a training fail."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: a key of :data:`ERRORS` or :data:`WARNINGS`.
        where: the file, or the frame's name.
        detail: more about it, or empty.
    """

    kind: str
    where: str
    detail: str = ""

    @property
    def is_error(self) -> bool:
        """Whether a training fails on it."""
        return self.kind in ERRORS


@dataclass(frozen=True)
class SplitCounts:
    """What the readable frames of a split hold.

    Attributes:
        frames: number of frames, also those that cannot be read.
        pixels: labelled pixels of each class, int64, shape (classes,).
        holding: frames that hold each class, int64, shape (classes,).
        unlabelled: pixels without a label.
    """

    frames: int
    pixels: NDArray[np.int64]
    holding: NDArray[np.int64]
    unlabelled: int

    def frequencies(self) -> NDArray[np.float64]:
        """Share of each class among the labelled pixels; zeros if there are none."""
        share: NDArray[np.float64] = self.pixels / max(1, int(self.pixels.sum()))
        return share


@dataclass(frozen=True)
class Report:
    """All that was found.

    Attributes:
        format: of the data set.
        root: its folder.
        findings: everything wrong, errors first, in the order of :data:`ERRORS` and :data:`WARNINGS`.
        sizes: frames of each size, as ``640x480``.
        splits: what each split holds; the frames of none under "in no split".
    """

    format: Format
    root: Path
    findings: tuple[Finding, ...]
    sizes: dict[str, int]
    splits: dict[str, SplitCounts]

    @property
    def errors(self) -> int:
        """The number of findings that make a training fail."""
        return sum(finding.is_error for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form."""
        names = self.format.label_set.names
        return {
            "kind": self.format.kind,
            "root": str(self.root),
            "errors": self.errors,
            "warnings": len(self.findings) - self.errors,
            "findings": [
                {"kind": f.kind, "error": f.is_error, "where": f.where, "detail": f.detail}
                for f in self.findings
            ],
            "sizes": self.sizes,
            "splits": {
                split: {
                    "frames": counts.frames,
                    "unlabelled_pixels": counts.unlabelled,
                    "pixels": dict(zip(names, counts.pixels.tolist(), strict=True)),
                    "frequencies": dict(zip(names, counts.frequencies().tolist(), strict=True)),
                    "frames_with_class": dict(zip(names, counts.holding.tolist(), strict=True)),
                }
                for split, counts in self.splits.items()
            },
        }


@dataclass(frozen=True)
class _Facts:
    """What one frame holds, as far as it could be read."""

    size: str | None = None
    fingerprint: bytes | None = None
    pixels: NDArray[np.int64] | None = None  # by class id, 255 for unlabelled


def check_data(spec: str, split: str | None = None, *, progress: bool = False) -> Report:
    """Read all files of a data set.

    Args:
        spec: ``KIND:ROOT``, or a folder whose kind is recognised.
        split: look at these frames only.
        progress: show a bar.

    Raises:
        ValueError: unknown kind or split, or a folder that looks like no data set or like several.
        FileNotFoundError: the folder has not the layout of its kind.
    """
    layout, root = find_layout(spec)
    listing = layout.listing(root)
    if split is not None and split not in listing.splits:
        raise ValueError(f"unknown split {split!r} of {root}; there are {', '.join(listing.splits)}")
    splits = dict(listing.splits) if split is None else {split: listing.splits[split]}
    frames = listing.frames(split)
    found = _list_findings(splits, listing if split is None else None)
    facts: dict[Path, _Facts] = {}
    for frame in tqdm(frames, disable=not progress, unit="frame", desc=layout.format.title, leave=False):
        facts[frame.files["eo"]], of_frame = _check_frame(layout.format, frame)
        found += of_frame
    found += _duplicates(splits, facts)
    parts = splits if split or not listing.unlisted else {**splits, "in no split": listing.unlisted}
    order = [*ERRORS, *WARNINGS]
    return Report(
        format=layout.format,
        root=root,
        findings=tuple(sorted(dict.fromkeys(found), key=lambda f: (order.index(f.kind), f.where, f.detail))),
        sizes=dict(Counter(f.size for f in facts.values() if f.size).most_common()),
        splits={
            name: _count([facts[f.files["eo"]] for f in part], len(layout.format.label_set))
            for name, part in parts.items()
        },
    )


def find_layout(spec: str) -> tuple[Layout, Path]:
    """The layout and folder of ``KIND:ROOT``, or of a folder by what stands in it.

    Raises:
        ValueError: a folder that looks like no known data set or like several, or data without files.
        FileNotFoundError: there is no such folder, or it has not the layout of its kind.
    """
    kind, colon, rest = spec.partition(":")
    if kind == "scenes" and colon:
        raise ValueError("scenes are made when they are opened: there are no files to check")
    if kind in LAYOUTS and colon:
        root = Path(rest).expanduser()
        require_layout(LAYOUTS[kind], root)
        return LAYOUTS[kind], root
    root = Path(spec).expanduser()
    if not root.is_dir():
        kinds = ", ".join(f"{kind}:ROOT" for kind in LAYOUTS)
        raise FileNotFoundError(f"{spec} is not a folder: give the root of a data set, or one of {kinds}")
    matching = [layout for layout in LAYOUTS.values() if layout.matches(root)]
    if len(matching) != 1:
        like = ", ".join(layout.format.kind for layout in matching) or "no known data set"
        raise ValueError(
            f"{root} looks like {like}: write KIND:ROOT with KIND one of {', '.join(LAYOUTS)} "
            "(csk data list shows their layouts)"
        )
    return matching[0], root


def _list_findings(splits: dict[str, tuple[Frame, ...]], whole: Listing | None) -> list[Finding]:
    """What lists alone tell; of all splits if ``whole`` is given."""
    found = [Finding("empty split", name) for name, frames in splits.items() if not frames]
    if whole is None:
        return found
    found += [Finding("in no split", frame.name) for frame in whole.unlisted]
    names = {split: {frame.name for frame in frames} for split, frames in splits.items()}
    for one, other in _unrelated(splits):
        found += [Finding("in two splits", name, f"{one}, {other}") for name in names[one] & names[other]]
    return found


def _unrelated(splits: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of splits that must not overlap: test_day is a part of test, val_test is both."""
    pairs = combinations(splits, 2)
    return [(a, b) for a, b in pairs if not set(a.split("_")) & set(b.split("_"))]


def _check_frame(form: Format, frame: Frame) -> tuple[_Facts, list[Finding]]:
    missing = frame.missing()
    if len(missing) == len(set(frame.files.values())):
        return _Facts(), [Finding("listed without files", frame.name)]
    found = [Finding("missing file", str(path)) for path in missing]
    images: dict[Role, NDArray[Any]] = {}
    for role in ROLES:
        path = frame.files[role]
        if path in missing:
            continue
        try:
            images[role] = form.read[role](path)
        except PixelFormatError as error:
            found.append(Finding("wrong format", str(path), _without_path(error, path)))
        except (ImageFileError, OSError) as error:
            found.append(Finding("unreadable file", str(path), _without_path(error, path)))
    return _look(form, frame, images, found), found


def _look(form: Format, frame: Frame, images: dict[Role, NDArray[Any]], found: list[Finding]) -> _Facts:
    """What the images that could be read hold; adds what is wrong with them to ``found``."""
    sizes = {role: size_text(image) for role, image in images.items()}
    if len(set(sizes.values())) > 1:
        detail = ", ".join(f"{role} {size}" for role, size in sizes.items())
        found.append(Finding("sizes differ", str(frame.files["labels"]), detail))
    if "eo" in images and not images["eo"].any():
        found.append(Finding("black optical image", str(frame.files["eo"])))
    if "ir" in images and not np.ptp(images["ir"]):
        found.append(Finding("constant thermal image", str(frame.files["ir"]), f"{images['ir'].flat[0]}"))
    fingerprint = None
    if "eo" in images and "ir" in images:
        fingerprint = _fingerprint(images["eo"], images["ir"])
    pixels = _class_pixels(form, frame, images["labels"], found) if "labels" in images else None
    return _Facts(next(iter(sizes.values()), None), fingerprint, pixels)


def _class_pixels(
    form: Format, frame: Frame, stored: NDArray[np.uint8], found: list[Finding]
) -> NDArray[np.int64]:
    counts = np.bincount(stored.ravel(), minlength=256)
    table = form.ids()
    foreign = np.flatnonzero((table == FOREIGN) & (counts > 0)).tolist()
    if foreign:
        found.append(Finding("foreign ids", str(frame.files["labels"]), ", ".join(map(str, foreign))))
    known = table != FOREIGN
    pixels = np.zeros(256, np.int64)
    np.add.at(pixels, table[known], counts[known])
    if not pixels[:UNLABELLED].any() and not foreign:
        found.append(Finding("nothing labelled", str(frame.files["labels"])))
    return pixels


def _fingerprint(*images: NDArray[Any]) -> bytes:
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.shape}{image.dtype}".encode())
        digest.update(image.tobytes())
    return digest.digest()


def _duplicates(splits: dict[str, tuple[Frame, ...]], facts: dict[Path, _Facts]) -> list[Finding]:
    """Frames of two splits with the same images in different files."""
    by_split: dict[str, dict[bytes, Frame]] = {}
    for split, frames in splits.items():
        prints = ((facts[frame.files["eo"]].fingerprint, frame) for frame in frames)
        by_split[split] = {fingerprint: frame for fingerprint, frame in prints if fingerprint}
    found = []
    for one, other in _unrelated(splits):
        for fingerprint in by_split[one].keys() & by_split[other].keys():
            a, b = by_split[one][fingerprint], by_split[other][fingerprint]
            if a.files["eo"] != b.files["eo"]:
                detail = f"of {one} is {b.name} of {other}"
                found.append(Finding("same images in two splits", a.name, detail))
    return found


def _count(facts: list[_Facts], classes: int) -> SplitCounts:
    maps = [fact.pixels for fact in facts if fact.pixels is not None]
    table = np.array(maps, np.int64).reshape(-1, 256)
    return SplitCounts(
        frames=len(facts),
        pixels=table[:, :classes].sum(axis=0),
        holding=(table[:, :classes] > 0).sum(axis=0),
        unlabelled=int(table[:, UNLABELLED].sum()),
    )


def _without_path(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path} ")
