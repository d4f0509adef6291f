"""Which frames of a replay are worth a look: those around each switch of the route, and the worst ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np

from csk_ros.perception.frames import DropCause, Reason

if TYPE_CHECKING:
    from csk_ros.replay.result import FrameRow, ReplayResult

LOST = "LOST"
"""The cause of a frame that a live run lost on the way."""

NO_MASK = "NO_MASK"
"""No mask, for a cause that the node's counts do not tell."""

UNKNOWN = "UNKNOWN"
"""A route for a reason that the node's diagnostics do not tell."""

_MOST_SWITCHES = 12
_MOST_WITH_MIDDLE = 4  # switches up to which a frame between each and the next is shown too
_MOST_WORST = 6
_WORST_APART_S = 1.0  # neighbours fail alike: one of them is enough
_WORDS: dict[str, str] = {one.name: one.value for kind in (Reason, DropCause) for one in kind} | {
    LOST: "lost on the way to or from the node",
    NO_MASK: "no mask, and the node's counts do not tell why",
    UNKNOWN: "the diagnostics do not tell why",
}


@dataclass(frozen=True)
class Moment:
    """A frame to look at, and what there is to see."""

    row: FrameRow
    caption: str


@dataclass(frozen=True)
class Moments:
    """Frames to look at.

    Attributes:
        switches: around changes of the route, in order of time; the ends of a replay without any.
        switch_count: how many changes there were.
        shown: how many of them are shown, spread evenly.
        worst: frames with the lowest mIoU, the worst first; empty without labels.
    """

    switches: tuple[Moment, ...]
    switch_count: int
    shown: int
    worst: tuple[Moment, ...]


def cause_words(cause: str) -> str:
    """A cause in the words of the node's diagnostics."""
    return _WORDS.get(cause, cause)


def find_moments(result: ReplayResult) -> Moments:
    """The moments of a replay."""
    runs = [list(run) for _, run in groupby(result.answered, key=lambda row: row.route)]
    changes = list(pairwise(runs))
    chosen = [changes[i] for i in _spread(len(changes))]
    moments: dict[FrameRow, Moment] = {}
    for before, after in chosen:
        _note(moments, before[-1], "last before the switch")
        _note(moments, after[0], f"first after the switch ({cause_words(after[0].cause)})")
        if len(chosen) <= _MOST_WITH_MIDDLE:
            _note(moments, after[len(after) // 2], "in between")
    if runs:
        _note(moments, runs[0][0], "first mask")
        _note(moments, runs[-1][-1], "last mask")
    in_time = sorted(moments.values(), key=lambda moment: moment.row.seconds)
    return Moments(tuple(in_time), len(changes), len(chosen), _worst(result))


def _note(moments: dict[FrameRow, Moment], row: FrameRow, caption: str) -> None:
    moments.setdefault(row, Moment(row, caption))


def _spread(count: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, _MOST_SWITCHES))})


def _worst(result: ReplayResult) -> tuple[Moment, ...]:
    scored = ((row.miou, row) for row in result.answered if row.miou is not None)
    chosen: list[Moment] = []
    for miou, row in sorted(scored, key=lambda pair: (pair[0], pair[1].seconds)):
        if all(abs(row.seconds - other.row.seconds) >= _WORST_APART_S for other in chosen):
            chosen.append(Moment(row, f"mIoU {100 * miou:.1f} %"))
        if len(chosen) == _MOST_WORST:
            break
    return tuple(chosen)
