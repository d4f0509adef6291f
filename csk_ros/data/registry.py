"""Opens a data set from one line of text, as the command line and the recipes write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csk_ros.data.fmb import FMB_LAYOUT
from csk_ros.data.mfnet import MFNET_LAYOUT, MFNetSamples
from csk_ros.data.msrs import MSRS_LAYOUT
from csk_ros.data.mvseg import MVSEG_LAYOUT
from csk_ros.data.paired import ALL, PairedSamples
from csk_ros.data.pst900 import PST900_LAYOUT
from csk_ros.data.synthetic import SceneDrive, SceneDrives

if TYPE_CHECKING:
    from collections.abc import Callable

    from csk_ros.data.paired import Layout
    from csk_ros.data.sample import SampleSet


def open_samples(spec: str, split: str | None = None) -> SampleSet:
    """The data set that ``spec`` names.

    Args:
        spec: ``mfnet:ROOT``, ``msrs:ROOT``, ``fmb:ROOT``, ``mvseg:ROOT``, ``pst900:ROOT``, or
            ``scenes:KEY=VALUE,...`` with the keys seed, drives, frames, height, width, rate, light, fog,
            ir_bits (see :class:`~csk_ros.data.synthetic.SceneDrive`;
            ``drives=N`` puts N drives of ``frames`` each behind one another, from ``seed`` on).
        split: part of the data set; None is all of it. Scenes have no splits: take other seeds.

    Raises:
        ValueError: unknown kind, key or split, or a value that does not parse; says which exist.
        FileNotFoundError: the data set, or a file of it, is missing.
    """
    kind, _, rest = spec.partition(":")
    if kind in _PAIRED:
        return PairedSamples(_PAIRED[kind], _required(kind, rest), split or ALL)
    if kind not in _KINDS:
        usage = (*(f"{folders}:ROOT" for folders in LAYOUTS), SCENES_USAGE)
        raise ValueError(f"unknown data {spec!r}: write one of {', '.join(usage)}")
    return _KINDS[kind](rest, split)


def _open_mfnet(root: str, split: str | None) -> SampleSet:
    return MFNetSamples(_required("mfnet", root), split or ALL)


def _required(kind: str, root: str) -> str:
    if not root:
        raise ValueError(f"{kind}: needs a folder: write {kind}:ROOT")
    return root


def _open_scenes(text: str, split: str | None) -> SampleSet:
    if split is not None:
        raise ValueError(f"scenes have no split {split!r}: leave it out, and take other seeds per split")
    arguments = _parse_arguments(text)
    drives = arguments.pop("drives", None)
    return SceneDrive(**arguments) if drives is None else SceneDrives(drives=drives, **arguments)


def _parse_arguments(text: str) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for item in filter(None, text.split(",")):
        key, _, value = item.partition("=")
        if key not in _SCENE_KEYS:
            raise ValueError(f"unknown scene setting {item!r}: write KEY=VALUE with {', '.join(_SCENE_KEYS)}")
        name, parse = _SCENE_KEYS[key]
        try:
            arguments[name] = parse(value)
        except ValueError as error:
            raise ValueError(f"scene setting {key}: cannot read {value!r} as {parse.__name__}") from error
    return arguments


_SCENE_KEYS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "seed": ("seed", int),
    "drives": ("drives", int),
    "frames": ("frames", int),
    "height": ("height", int),
    "width": ("width", int),
    "rate": ("rate_hz", float),
    "light": ("light", str),
    "fog": ("fog", float),
    "ir_bits": ("ir_bits", int),
}
_KINDS: dict[str, Callable[[str, str | None], SampleSet]] = {"mfnet": _open_mfnet, "scenes": _open_scenes}
_PAIRED: dict[str, Layout] = {
    layout.format.kind: layout for layout in (MSRS_LAYOUT, FMB_LAYOUT, MVSEG_LAYOUT, PST900_LAYOUT)
}
LAYOUTS: dict[str, Layout] = {"mfnet": MFNET_LAYOUT, **_PAIRED}
"""The data sets that are folders of files, by kind."""

SCENES_USAGE = "scenes:seed=3,frames=200,light=night-to-day,rate=10"
"""An example of scenes."""
