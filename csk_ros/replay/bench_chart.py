"""What ``csk bench`` measured as one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from csk_ros.evaluation.drawing import ROUTE_COLORS
from csk_ros.evaluation.variants import REFERENCE
from csk_ros.modality import Route

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    Row = Mapping[str, Any]

_GREY = "#8a939c"
_OURS = "#1d5fa8"
_ROW_INCHES = 0.32
_DPI = 110


def draw_bench(document: Row, path: Path) -> None:
    """Draw a panel for each part that has rows.

    Args:
        document: what :func:`csk_ros.replay.bench.run_bench` gives.
        path: where to, ``.svg`` or ``.png``.
    """
    draw = {"segmenter": _draw_speed, "end_to_end": _draw_latency}
    parts = [name for name in draw if document.get(name)]
    heights = [_ROW_INCHES * len(document[name]) + 1 for name in parts]
    # Text stays text, and nothing in the file depends on the hour or on chance.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "csk_ros", "font.size": 9.5}):
        figure = Figure(figsize=(9, sum(heights)), layout="constrained")
        panels = figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, name in zip(panels, parts, strict=True):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="x", color="#e3e3e3")
            axes.set_axisbelow(True)
            draw[name](axes, document[name])
            axes.invert_yaxis()
        figure.savefig(path, dpi=_DPI, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


def _draw_speed(axes: Axes, rows: Sequence[Row]) -> None:
    names = [f"{r['height']}x{r['width']} {r['route']} {r['engine']} {r['precision']}" for r in rows]
    for at, row in enumerate(rows):
        plain = row["precision"] == REFERENCE
        axes.barh(at, row["median_ms"], color=_GREY if plain else ROUTE_COLORS[Route(row["route"])])
        axes.plot(row["p95_ms"], at, "|", color="#222222", label="p95" if at == 0 else None)
        if not plain:
            end = max(row["median_ms"], row["p95_ms"])
            axes.annotate(f"{row['ratio']:.2f}x", (end, at), (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), names)
    axes.set(
        xlabel="camera images to ids: median (ms), and how often faster than the grey one", xlim=(0, None)
    )
    _legend(axes)


def _draw_latency(axes: Axes, rows: Sequence[Row]) -> None:
    labelled = False
    for at, row in enumerate(rows):
        color = _GREY if row["node"] == "usual" else _OURS
        if row["p50_ms"] is None:
            axes.annotate("no mask", (0, at), (6, 0), textcoords="offset points", va="center", color=color)
            continue
        axes.plot([row["p50_ms"], row["p99_ms"]], [at, at], color=color, linewidth=3)
        for name, marker in (("p50_ms", "o"), ("p95_ms", "D"), ("p99_ms", "|")):
            label = None if labelled else name.removesuffix("_ms")
            axes.plot(row[name], at, marker, color=color, markersize=9 if marker == "|" else 6, label=label)
        labelled = True
    axes.set_yticks(range(len(rows)), [f"{row['rate_hz']:g} Hz {row['node']}" for row in rows])
    axes.set(xlabel="stamp to mask received (ms)", xlim=(0, None))
    axes.set_ylim(-0.5, len(rows) - 0.5)
    if labelled:
        _legend(axes)


def _legend(axes: Axes) -> None:
    """Above the axes, where it covers nothing."""
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2)
