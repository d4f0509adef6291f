"""What the names of frames tell: which follow one another, and the light that they were taken in."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")
_DAY_OR_NIGHT = re.compile(r".*\d([DN])")
_SCENE = re.compile(r"scene-\d+-(day|dusk|night)-\d+")
LIGHTS = ("day", "dusk", "night")


def runs(names: Sequence[str]) -> list[range]:
    """Stretches of frames whose last numbers count up by one, everything else in their names alike.

    Args:
        names: of all frames in order, such as ``00101D``.

    Returns:
        Ranges of indices that cover all frames; a frame that nothing follows is a run of its own.
    """
    starts = [i for i in range(len(names)) if i == 0 or not _follows(names[i - 1], names[i])]
    return [range(a, b) for a, b in pairwise([*starts, len(names)])]


def light_of(name: str) -> str | None:
    """One of :data:`LIGHTS`, or None where the name does not tell.

    MFNet and MSRS end their ids with D or N; synthetic scenes name their light.
    """
    if scene := _SCENE.fullmatch(name):
        return scene[1]
    if letter := _DAY_OR_NIGHT.fullmatch(name):
        return {"D": "day", "N": "night"}[letter[1]]
    return None


def _follows(before: str, after: str) -> bool:
    one, two = _NUMBERED.fullmatch(before), _NUMBERED.fullmatch(after)
    if one is None or two is None or (one[1], one[3]) != (two[1], two[3]):
        return False
    return int(two[2]) == int(one[2]) + 1
