"""MVSeg, also called MVSS (Ji et al., CVPR 2023): videos of which some frames are labelled.

Layout, file names and classes are those that the authors' loader reads (jiwei0921/MVSS-Baseline): the videos
of a split stand in ``<split>.txt``; the frame ``00237`` of a video is ``00237v``, ``00237i``, ``00237l``.
Frames without labels are left out. 0 is one of the 26 classes, as in that loader, which also turns 255 into
the last class; here 255 is unlabelled, as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from csk_ros.data.paired import Format, Frame, Listing, folders_in, images_in, read_list
from csk_ros.labels import MVSEG

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from csk_ros.data.paired import Role

_FOLDERS: Mapping[Role, str] = {"eo": "visible", "ir": "infrared", "labels": "label"}
_ENDINGS: Mapping[Role, str] = {"eo": "v", "ir": "i", "labels": "l"}  # last letter of a name


@dataclass(frozen=True)
class VideoFolders:
    """A layout ``data/<video>/<folder of the role>/``, with the videos of each split in ``<split>.txt``.

    Attributes:
        format: what the files hold.
    """

    format: Format

    def matches(self, root: Path) -> bool:
        """Whether a video holds the folders of all roles."""
        videos = folders_in(root / "data")
        return any(all((video / name).is_dir() for name in _FOLDERS.values()) for video in videos)

    def listing(self, root: Path) -> Listing:
        """The labelled frames of each split's videos; a video without any is one frame without files."""
        videos = {path.name: _frames(path) for path in folders_in(root / "data")}
        lists = {path.stem: read_list(path) for path in sorted(root.glob("*.txt"))}
        splits = {
            split: tuple(
                frame for name in names for frame in videos.get(name) or _nothing(root / "data" / name)
            )
            for split, names in lists.items()
            if names is not None
        }
        listed = {name for names in lists.values() for name in names or ()}
        return Listing(splits, tuple(f for name in videos if name not in listed for f in videos[name]))


def _frames(video: Path) -> tuple[Frame, ...]:
    found = {role: images_in(video / folder) for role, folder in _FOLDERS.items()}
    return tuple(_frame(video, name[:-1], found) for name in found["labels"])


def _nothing(video: Path) -> tuple[Frame, ...]:
    """What stands for a listed video without labelled frames: its folders, which are no files."""
    return (Frame(video.name, {role: video / folder for role, folder in _FOLDERS.items()}),)


def _frame(video: Path, number: str, found: Mapping[Role, Mapping[str, Path]]) -> Frame:
    files = {}
    for role, folder in _FOLDERS.items():
        name = number + _ENDINGS[role]
        files[role] = found[role].get(name, video / folder / f"{name}.png")
    return Frame(f"{video.name}/{number}", files)


MVSEG_LAYOUT = VideoFolders(
    Format(
        kind="mvseg",
        title="MVSeg",
        tree=(
            "<split>.txt (one video per line)\n"
            "data/VIDEO/visible/NUMBERv.(jpg|png)\n"
            "data/VIDEO/infrared/NUMBERi.(jpg|png)\n"
            "data/VIDEO/label/NUMBERl.png"
        ),
        label_set=MVSEG,
        splits="train 2241, val 378, test 926 labelled frames; lists of its own, such as test_night",
    )
)
