"""Charts of a report as SVG text: readable at half their size, with real text inside."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from csk_ros.evaluation.drawing import ROUTE_COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from csk_ros.modality import Route
    from csk_ros.replay.recording import Recording

_BINS = 30
_MARKERS = {"FUSED": "o", "IR_ONLY": "^", "EO_ONLY": "s"}


def latency_histogram(recording: Recording) -> str:
    """How often each stamp-to-mask latency occurred, by route."""
    latencies = _by_route(recording)
    figure, axes = _figure()
    values = [[ms for _, ms in points] for points in latencies.values()]
    edges = np.histogram_bin_edges(np.concatenate(values), _BINS)
    axes.hist(
        values,
        edges.tolist(),
        stacked=True,
        color=[ROUTE_COLORS[route] for route in latencies],
        label=[route.value for route in latencies],
    )
    axes.set(xlabel="stamp to mask received (ms)", ylabel="frames")
    axes.legend(frameon=False)
    return _svg(figure)


def latency_over_time(recording: Recording) -> str:
    """Latency of every frame over the drive; stretches without EO are shaded."""
    figure, axes = _figure()
    for start_s, end_s in recording.cuts:
        axes.axvspan(start_s, end_s, color="#d9d9d9", label="EO cut")
    for route, points in _by_route(recording).items():
        axes.plot(
            *zip(*points, strict=True),
            _MARKERS[route.value],
            color=ROUTE_COLORS[route],
            markersize=3.5,
            label=route.value,
        )
    axes.set(xlabel="time into the drive (s)", ylabel="stamp to mask received (ms)", ylim=(0, None))
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _svg(figure)


def _by_route(recording: Recording) -> dict[Route, list[tuple[float, float]]]:
    """(seconds, latency in ms) of every mask, by route."""
    points: dict[Route, list[tuple[float, float]]] = {}
    for mask, latency_ms in zip(recording.masks, recording.latencies_ms, strict=True):
        route = recording.route_of[mask.stamp_ns]
        points.setdefault(route, []).append((recording.seconds(mask.stamp_ns), latency_ms))
    return points


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 3.3), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e3e3")
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # Text stays text, and nothing in the file depends on the hour or on chance.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "csk_ros", "font.size": 10.5}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
