"""Opens a data set from one line of text, as the command line and the recipes write it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csk_ros.data.mfnet import MFNetSamples

if TYPE_CHECKING:
    from collections.abc import Callable

    from csk_ros.data.sample import SampleSet


def open_samples(spec: str, split: str | None = None) -> SampleSet:
    """The data set that ``spec`` names.

    Args:
        spec: ``mfnet:ROOT``.
        split: part of the data set; None is all of it.

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


_KINDS: dict[str, Callable[[str, str | None], SampleSet]] = {"mfnet": _open_mfnet}
_USAGE = ("mfnet:ROOT",)
