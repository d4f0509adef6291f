"""The timeline of a replay as bars: routes, the state of each stream, and what was injected."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from csk_ros.replay.report_schema import Report
    from csk_ros.replay.result import ReplayResult

_MOST_BARS = 300
_MOST_READ_OUT = 20
_LEAST_GAP_S = 0.5
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True)
class Bar:
    """A stretch of a track.

    Attributes:
        name: what holds in it, such as a route or a state.
        text: the same for people.
        start_s, end_s: since the start of the bag.
    """

    name: str
    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Track:
    """A row of the timeline.

    Attributes:
        name: for people.
        bars: in order of time, not overlapping.
        shades: what was injected, over the bars.
        coarse: whether bars were too many to show each.
    """

    name: str
    bars: tuple[Bar, ...]
    shades: tuple[Bar, ...] = ()
    coarse: bool = False

    @property
    def read_out(self) -> str:
        """The track as text."""
        parts = [f"{bar.text} from {bar.start_s:.1f} to {bar.end_s:.1f} s" for bar in self.bars]
        more = [f"and {len(parts) - _MOST_READ_OUT} more"] if len(parts) > _MOST_READ_OUT else []
        return f"{self.name}: " + (", ".join(parts[:_MOST_READ_OUT] + more) or "nothing")


_MIXED = Bar("changing", "changing", 0.0, 0.0)
_RARE = 0.2  # of the track; what is more common does not stand for a whole moment


def make_tracks(report: Report, result: ReplayResult) -> list[Track]:
    """Routes, then the streams that the replay has samples of."""
    tracks = [_track("Route", route_bars(result))]
    for modality, stream in report.streams.items():
        bars = [
            Bar(span.state, span.fault or span.state.lower(), span.start_s, span.end_s)
            for span in stream.states
        ]
        shades = [
            Bar(one.kind, one.text, start_s, end_s)
            for one in report.injections
            if one.modality == modality
            for start_s, end_s in one.spans_s
        ]
        if bars or shades:
            tracks.append(_track(f"{modality.upper()} stream", bars, shades))
    return tracks


def route_bars(result: ReplayResult) -> list[Bar]:
    """Stretches of one route each; none where no masks came for several periods."""
    rows = result.answered
    if not rows:
        return []
    period_s = float(np.median(np.diff([row.seconds for row in rows]))) if len(rows) > 1 else 0.1
    longest_s = max(4 * period_s, _LEAST_GAP_S)
    ends = [
        b.seconds if b.seconds - a.seconds <= longest_s else a.seconds + period_s for a, b in pairwise(rows)
    ]
    last_s = min(rows[-1].seconds + period_s, max(result.start_s + result.length_s, rows[-1].seconds))
    bars: list[Bar] = []
    for row, end_s in zip(rows, [*ends, last_s], strict=True):
        name = row.route.value if row.route else ""
        if bars and bars[-1].name == name and bars[-1].end_s == row.seconds:
            bars[-1] = Bar(name, name, bars[-1].start_s, end_s)
        else:
            bars.append(Bar(name, name, row.seconds, end_s))
    return bars


def ticks(start_s: float, end_s: float) -> list[float]:
    """At most seven round seconds from start to end."""
    length_s = end_s - start_s
    step = next((step for step in _STEPS if length_s / step <= 6), max(length_s, 1.0))
    first = int(np.ceil(start_s / step - 1e-9))
    return [round(i * step, 3) for i in range(first, int(end_s / step + 1e-9) + 1)]


def _track(name: str, bars: Sequence[Bar], shades: Iterable[Bar] = ()) -> Track:
    coarse = len(bars) > _MOST_BARS
    return Track(name, tuple(_coarsen(bars) if coarse else bars), tuple(shades)[:_MOST_BARS], coarse)


def _coarsen(bars: Sequence[Bar]) -> list[Bar]:
    """As many bars as can be told apart, so that short faults stay visible.

    A moment shows what is rare on the track, and where nothing of several is, that it changed.
    """
    seconds: Counter[str] = Counter()
    for bar in bars:
        seconds[bar.text] += round(1e6 * (bar.end_s - bar.start_s))
    edges = np.linspace(bars[0].start_s, bars[-1].end_s, _MOST_BARS + 1)
    starts = np.array([bar.start_s for bar in bars])
    shown = []
    for left, right in pairwise(edges):
        first = max(int(np.searchsorted(starts, left, "right")) - 1, 0)
        inside = [bar for bar in bars[first : int(np.searchsorted(starts, right))] if bar.end_s > left]
        if inside:
            one = min(inside, key=lambda bar: seconds[bar.text])
            mixed = len({bar.text for bar in inside}) > 1 and seconds[one.text] > _RARE * seconds.total()
            one = _MIXED if mixed else one
            shown.append(Bar(one.name, one.text, float(left), float(right)))
    runs = (list(run) for _, run in groupby(shown, key=lambda bar: (bar.name, bar.text)))
    return [Bar(run[0].name, run[0].text, run[0].start_s, run[-1].end_s) for run in runs]
