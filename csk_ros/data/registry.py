"""Opens a data set from one line of text, as the command line and the recipes write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csk_ros.data.mfnet import MFNetSamples
from csk_ros.data.synthetic import SceneDrive, SceneDrives

if TYPE_CHECKING:
    from collections.abc import Callable

    from csk_ros.data.sample import SampleSet


def open_samples(spec: str, split: str | None = None) -> SampleSet:
    """The data set that ``spec`` names.

    Args:
        spec: ``mfnet:ROOT``, or ``scenes:KEY=VALUE,...`` with the keys seed, drives, frames, height,
            width, rate, light, fog, ir_bits (see :class:`~csk_ros.data.synthetic.SceneDrive`;
            ``drives=N`` puts N drives of ``frames`` each behind one another, from ``seed`` on).
        split: part of the data set; None is all of it. Scenes have no splits: take other seeds.

    Raises:
        ValueError: unknown kind, key or split, or a value that does not parse; says which exist.
        FileNotFoundError: the data set, or a file of it, is missing.
    """
    kind, _, rest = spec.partition(":")
    if kind not in _KINDS:
        raise ValueError(f"unknown data {spec!r}: write one of {', '.join(_USAGE)}")
    return _KINDS[kind](rest, split)


def _open_mfnet(root: str, split: str | None) -> SampleSet:
    if not root:
        raise ValueError("mfnet: needs a folder: write mfnet:ROOT")
    return MFNetSamples(root, split or "all")


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
_USAGE = ("mfnet:ROOT", "scenes:seed=3,frames=200,light=night-to-day,rate=10")
