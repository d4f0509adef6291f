"""Charts of a report as SVG text: readable at half their size, with real text inside, of bounded size."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from csk_ros.evaluation.drawing import ROUTE_COLORS
from csk_ros.modality import Modality, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from csk_ros.replay.result import FrameRow, ReplayResult

    Values = NDArray[np.float64]

_BINS = 30
_MOST_POINTS = 1500  # up to which every frame is a mark of its own
_MOST_STEPS = 400  # bins of time where there are more
_MARKERS = {Route.FUSED: "o", Route.IR_ONLY: "^", Route.EO_ONLY: "s"}
_STREAM_COLORS = {Modality.EO: "#7a4fa3", Modality.IR: "#b8860b"}
_SHADE = {Modality.EO: "#e6dff0", Modality.IR: "#f2e7c9"}
_WIDE = (10.6, 2.9)
_TIME = "time in the bag (s)"
_RESOURCES = {
    "cpu_percent": "CPU (% of a core)",
    "memory_mib": "memory (MiB)",
    "gpu_percent": "GPU (%)",
    "gpu_memory_mib": "GPU memory (MiB)",
}


def frame_ms(result: ReplayResult, row: FrameRow) -> float | None:
    """What is drawn of a frame: live its latency, offline the Segmenter's time."""
    return row.latency_ms if result.kind == "live" else row.compute_ms


def ms_label(result: ReplayResult) -> str:
    """What :func:`frame_ms` is, with its unit."""
    return "stamp to mask received (ms)" if result.kind == "live" else "Segmenter time (ms)"


def histogram(result: ReplayResult) -> str:
    """How often each time of a frame occurred, by route; the slowest percent shares the last bin.

    Raises:
        ValueError: if no frame has a time.
    """
    by_route = _by_route(result)
    values = [ms for _, ms in by_route.values()]
    together = np.concatenate(values)
    low, high = float(together.min()), float(np.percentile(together, 99))
    edges = np.linspace(low, max(high, low + 1e-3), _BINS + 1)
    figure, axes = _figure()
    axes.hist(
        [np.clip(ms, None, edges[-1]) for ms in values],
        edges.tolist(),
        stacked=True,
        color=[ROUTE_COLORS[route] for route in by_route],
        label=[route.value for route in by_route],
    )
    axes.set(xlabel=ms_label(result), ylabel="frames")
    _legend(axes)
    return _svg(figure)


def over_time(result: ReplayResult) -> str:
    """The time of every frame over the bag, by route; of many frames a band and the greatest.

    Raises:
        ValueError: if no frame has a time.
    """
    by_route = _by_route(result)
    figure, axes = _figure()
    _shade(axes, result)
    many = sum(len(ms) for _, ms in by_route.values()) > _MOST_POINTS
    for route, (seconds, ms) in by_route.items():
        color = ROUTE_COLORS[route]
        if not many:
            axes.plot(seconds, ms, _MARKERS[route], color=color, markersize=3.5, label=route.value)
            continue
        at, (low, middle, high, top) = _binned(seconds, ms, result, (5, 50, 95, 100))
        axes.fill_between(at, low, high, color=color, alpha=0.25, linewidth=0)
        axes.plot(at, middle, color=color, linewidth=1.4, label=route.value)
        axes.plot(at, top, ".", color=color, markersize=2)
    axes.set(xlabel=_TIME, ylabel=ms_label(result), ylim=(0, None))
    _span(axes, result)
    _legend(axes)
    return _svg(figure)


def rates(result: ReplayResult) -> str:
    """Rate of each stream and of the masks over the bag."""
    figure, axes = _figure(wide=True)
    _shade(axes, result)
    for modality, samples in result.streams.items():
        points = [(sample.seconds, sample.rate_hz) for sample in samples]
        _line(axes, points, result, _STREAM_COLORS[modality], f"{modality.value.upper()} images")
    at, masks = _mask_rate(result)
    axes.step(at, masks, where="post", color="#333333", linewidth=1, linestyle="--", label="masks")
    axes.set(xlabel=_TIME, ylabel="per second (Hz)", ylim=(0, None))
    _span(axes, result)
    _legend(axes, 6)
    return _svg(figure)


def resources(result: ReplayResult) -> str:
    """What the node's process used over the bag, a panel for each resource that was measured."""
    names = [n for n in _RESOURCES if any(getattr(s, n) is not None for s in result.resources)]
    figure = Figure(figsize=(_WIDE[0], 1.7 * len(names) + 0.4), layout="constrained")
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        points = [(s.seconds, v) for s in result.resources if (v := getattr(s, name)) is not None]
        _tidy(axes)
        _line(axes, points, result, "#47515c")
        axes.set(ylim=(0, 1.15 * max(value for _, value in points) or 1))
        axes.set_title(_RESOURCES[name], loc="left", fontsize=10.5)
    panels[-1].set_xlabel(_TIME)
    _span(panels[-1], result)
    return _svg(figure)


def _by_route(result: ReplayResult) -> dict[Route, tuple[Values, Values]]:
    """Seconds and milliseconds of the frames that have a time, by route in its fixed order."""
    found: dict[Route, tuple[Values, Values]] = {}
    for route in Route:
        rows = [row for row in result.rows if row.route is route]
        points = [(row.seconds, ms) for row in rows if (ms := frame_ms(result, row)) is not None]
        if points:
            seconds, times = np.array(points).T
            found[route] = seconds, times
    return found


def _line(
    axes: Axes, points: Sequence[tuple[float, float]], result: ReplayResult, color: str, label: str = ""
) -> None:
    """Values that hold until the next one; of very many the median, from least to greatest as a band."""
    if not points:
        return
    seconds, values = np.array(points, float).T
    if len(values) <= _MOST_POINTS:
        axes.step(seconds, values, where="post", color=color, label=label)
        return
    at, (low, middle, high) = _binned(seconds, values, result, (0, 50, 100))
    axes.fill_between(at, low, high, color=color, alpha=0.25, linewidth=0)
    axes.plot(at, middle, color=color, label=label)


def _mask_rate(result: ReplayResult) -> tuple[Values, Values]:
    """Masks per second, in bins of whole seconds, so that a steady rate is a straight line."""
    width_s = max(int(np.ceil(result.length_s / _MOST_STEPS)), 1)
    edges = result.start_s + width_s * np.arange(int(result.length_s // width_s) + 1.0)
    counts, _ = np.histogram([row.seconds for row in result.answered], edges - 1e-6)
    return edges, np.append(counts, counts[-1:] if len(counts) else np.nan) / width_s


def _binned(
    seconds: Values, values: Values, result: ReplayResult, percents: tuple[float, ...]
) -> tuple[Values, Values]:
    """The middles of bins of time, and percentiles, shape (percents, bins); NaN where a bin is empty."""
    edges = _edges(result)
    bins = np.clip(np.searchsorted(edges, seconds, "right") - 1, 0, _MOST_STEPS - 1)
    order = np.argsort(bins, kind="stable")
    cuts = np.searchsorted(bins[order], np.arange(1, _MOST_STEPS))
    groups = np.split(values[order], cuts)
    nothing = np.full(len(percents), np.nan)
    found = [np.percentile(group, percents) if group.size else nothing for group in groups]
    return (edges[:-1] + edges[1:]) / 2, np.array(found).T


def _edges(result: ReplayResult) -> Values:
    return np.linspace(result.start_s, result.start_s + max(result.length_s, 1e-3), _MOST_STEPS + 1)


def _shade(axes: Axes, result: ReplayResult) -> None:
    """Stretches with injections, behind everything."""
    end_s = result.start_s + result.length_s
    labelled: set[Modality] = set()
    for one in result.injections:
        for start_s, stop_s in one.stretches.within(end_s)[:_MOST_STEPS]:
            label = f"{one.modality.value.upper()} injected" if one.modality not in labelled else None
            labelled.add(one.modality)
            axes.axvspan(start_s, stop_s, color=_SHADE[one.modality], label=label)


def _span(axes: Axes, result: ReplayResult) -> None:
    axes.set_xlim(result.start_s, result.start_s + max(result.length_s, 1e-3))


def _figure(*, wide: bool = False) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_WIDE if wide else (5.2, 3.3), layout="constrained")
    axes = figure.subplots()
    _tidy(axes)
    return figure, axes


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e3e3")
    axes.set_axisbelow(True)


def _legend(axes: Axes, columns: int = 3) -> None:
    """Above the axes, where it covers nothing."""
    axes.legend(
        frameon=False,
        ncols=columns,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        borderaxespad=0.2,
        handlelength=1.4,
        columnspacing=1.4,
    )


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # Text stays text, and nothing in the file depends on the hour or on chance.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "csk_ros", "font.size": 10.5}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
