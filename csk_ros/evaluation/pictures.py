"""Pictures of an evaluation, as PNG: confusion matrices, bars by class, curves, frames worth a look."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from csk_ros.evaluation.conditions import LOSS_KINDS
from csk_ros.evaluation.drawing import ROUTE_COLORS
from csk_ros.evaluation.report import ROWS, TOLERANCE
from csk_ros.inference.overlay import draw_overlay, grey8
from csk_ros.modality import Route

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from csk_ros.evaluation.examples import Example
    from csk_ros.evaluation.metrics import Scores
    from csk_ros.evaluation.run import Evaluation
    from csk_ros.labels import LabelSet

_DPI = 110
_MOST_NUMBERED = 16  # classes whose confusions still hold readable numbers
_OPACITY = 0.7
_MARKERS = {"eo+ir": "o", "ir": "^", "eo": "s"}
_NAMES = {row: route.value for row, route in ROWS.items()}
_COLORS = {row: ROUTE_COLORS[route] for row, route in ROWS.items()}


@dataclass(frozen=True)
class _Panel:
    """Curves of mIoU over the strengths of one change."""

    title: str
    unit: str
    strengths: list[str]
    curves: dict[str, list[float | None]]


def write_pictures(folder: Path, evaluation: Evaluation, document: dict[str, Any]) -> None:
    """Write all pictures that the evaluation holds figures for.

    Args:
        folder: that exists.
        evaluation: what was counted.
        document: what :func:`csk_ros.evaluation.report.metrics` made of it.
    """
    if not evaluation.clean:
        return
    scores = {route: evaluation.scores(route) for route in evaluation.clean}
    for route, one in scores.items():
        if one.present.any():
            _save(draw_confusion(one, route), folder / f"confusion_{route.value.lower()}.png")
    if any(one.present.any() for one in scores.values()):
        _save(draw_classes(scores), folder / "classes.png")
    panels = [*_noise_panels(document), *_degradation_panels(document)]
    if panels:
        _save(draw_curves(panels), folder / "degradations.png")
    for name, examples in (("worst", evaluation.worst), ("best", evaluation.best)):
        if examples:
            _save(draw_frames(examples, evaluation.label_set, name), folder / f"frames_{name}.png")


def draw_confusion(scores: Scores, route: Route) -> Figure:
    """Where the pixels of each class that the labels hold went, in percent of the class."""
    rows = np.flatnonzero(scores.present)
    columns = np.flatnonzero(scores.present | (scores.confusion.sum(axis=0) > 0))
    share = scores.confusion[np.ix_(rows, columns)] / scores.confusion[rows].sum(axis=1, keepdims=True)
    names = scores.label_set.names
    figure = _figure(2.6 + 0.62 * len(columns), 1.7 + 0.46 * len(rows))
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), [names[i] for i in columns], rotation=40, ha="right")
    axes.set_yticks(range(len(rows)), [names[i] for i in rows])
    axes.set(xlabel="predicted", ylabel="labelled")
    axes.set_title(f"{route.value}: where the pixels of each class go, %", fontsize=11, loc="left")
    if len(columns) <= _MOST_NUMBERED:
        for (row, column), value in np.ndenumerate(share):
            color = "white" if value > 0.55 else "#222222"
            axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=color, fontsize=9)
    return figure


def draw_classes(scores: dict[Route, Scores]) -> Figure:
    """IoU of each class that the labels hold, by route."""
    some = next(iter(scores.values()))
    rows = np.flatnonzero(some.present)
    figure = _figure(7.5, 1.4 + (0.16 + 0.2 * len(scores)) * len(rows))
    axes = figure.subplots()
    _tidy(axes, "x")
    height = 0.8 / len(scores)
    for turn, (route, one) in enumerate(scores.items()):
        at = np.arange(len(rows)) + (turn - (len(scores) - 1) / 2) * height
        values = one.iou[rows]
        axes.barh(at, values, 0.9 * height, color=ROUTE_COLORS[route], label=route.value)
        for y, value in zip(at, values, strict=True):
            axes.text(value + 0.008, y, f"{100 * value:.1f}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [some.label_set.names[i] for i in rows])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.06), xlabel="IoU")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xticks(np.linspace(0, 1, 6))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def draw_curves(panels: list[_Panel]) -> Figure:
    """Mean IoU over the strength of every change, one panel each."""
    across = min(4, len(panels))
    down = -(-len(panels) // across)
    figure = _figure(3.3 * across, 2.75 * down + 0.5)
    grid = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes in grid[::across]:
        axes.set_ylabel("mIoU, classes present")
    values = [v for panel in panels for curve in panel.curves.values() for v in curve if v is not None]
    grid[0].set_ylim(0, 1.06 * max(values, default=1) or 1)
    handles = {label: h for axes in grid for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False)
    if any(panel.title.endswith("*") for panel in panels):
        note = f"* FUSED must not fall more than {100 * TOLERANCE:g} mIoU below IR_ONLY"
        figure.supxlabel(note, fontsize=10, x=0.01, ha="left")
    return figure


def draw_frames(examples: tuple[Example, ...], label_set: LabelSet, name: str) -> Figure:
    """A row per frame: EO, IR, labels, and what the fused route and thermal alone make of it."""
    routes = [route for route in (Route.FUSED, Route.IR_ONLY, Route.EO_ONLY) if route in examples[0].masks][
        :2
    ]
    height, width = examples[0].sample.ir.shape
    figure = _figure(2.8 * (3 + len(routes)), (2.8 * height / width + 0.3) * len(examples) + 0.9)
    grid = figure.subplots(len(examples), 3 + len(routes), squeeze=False)
    for axes, example in zip(grid, examples, strict=True):
        _draw_frame(axes, example, label_set, routes)
    for axis, title in zip(grid[-1], ("EO", "IR", "labels", *(r.value for r in routes)), strict=True):
        axis.set_xlabel(title, fontweight="bold")
    measure = f"{examples[0].route.value} mIoU over the classes present, without background"
    figure.suptitle(f"{name.capitalize()} frames, by {measure}", fontsize=11)
    figure.legend(handles=_legend(examples, label_set), loc="outside lower center", ncols=8, frameon=False)
    return figure


def _draw_frame(axes: NDArray[Any], example: Example, label_set: LabelSet, routes: list[Route]) -> None:
    sample = example.sample
    axes[0].imshow(sample.eo)
    axes[1].imshow(grey8(sample.ir), cmap="gray", vmin=0, vmax=255)
    masks = [sample.labels, *(example.masks[route] for route in routes)]
    for axis, mask in zip(axes[2:], masks, strict=True):
        if mask is not None:
            axis.imshow(draw_overlay(mask, label_set, ir=sample.ir, opacity=_OPACITY))
    axes[0].set_title(f"{sample.name}: {100 * example.score:.1f} %", loc="left", fontsize=10)
    for axis in axes:
        axis.set(xticks=[], yticks=[])


def _legend(examples: tuple[Example, ...], label_set: LabelSet) -> list[Patch]:
    maps = [m for example in examples for m in (example.sample.labels, *example.masks.values())]
    seen = set().union(*(np.unique(one).tolist() for one in maps if one is not None))
    palette = label_set.palette() / 255
    shown = [i for i in sorted(seen) if i < len(label_set) and palette[i].any()]
    return [Patch(color=tuple(palette[i]), label=label_set.names[i]) for i in shown]


def _draw_panel(axes: Axes, panel: _Panel) -> None:
    _tidy(axes, "y")
    places = range(len(panel.strengths))
    for row, values in panel.curves.items():
        plotted = [np.nan if value is None else value for value in values]
        axes.plot(places, plotted, color=_COLORS[row], marker=_MARKERS[row], markersize=5, label=_NAMES[row])
    axes.set_xticks(places, panel.strengths)
    axes.set_title(panel.title, fontsize=11, loc="left")
    axes.set_xlabel(panel.unit)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _degradation_panels(document: dict[str, Any]) -> list[_Panel]:
    """Each kind's strengths behind the undisturbed image."""
    found = document.get("degradations", [])
    panels = []
    for kind, group in groupby(found, key=lambda row: row["kind"]):
        rows = list(group)
        mark = " *" if kind in LOSS_KINDS else ""
        clean = {
            "eo+ir": rows[0].get("eo+ir_clean"),
            "ir": rows[0]["ir"],
            "eo": document["modalities"]["eo"] if rows[0]["eo"] else None,
        }
        curves = {name: [_miou(clean[name]), *(_miou(row[name]) for row in rows)] for name in clean}
        strengths = ["none", *(f"{row['strength']:g}" for row in rows)]
        panels.append(
            _Panel(f"EO {kind.replace('_', ' ')}{mark}", rows[0]["unit"], strengths, _drawn(curves))
        )
    return panels


def _noise_panels(document: dict[str, Any]) -> list[_Panel]:
    """Noise in both images, and missing regions, behind the undisturbed images."""
    clean, panels = document["modalities"], []
    if regions := document.get("missing", {}).get("regions"):
        values = [_miou(clean["eo+ir"]), *(_miou(row["mean"]) for row in regions)]
        strengths = ["none", *(f"{row['share']:.0%}" for row in regions)]
        panels.append(_Panel("regions missing", "lost in EO, IR or both", strengths, {"eo+ir": values}))
    for kind, group in groupby(document.get("noise", []), key=lambda row: row["kind"]):
        rows = list(group)
        curves = {name: [_miou(clean[name]), *(_miou(row[name]) for row in rows)] for name in _MARKERS}
        strengths = ["none", *(f"{row['strength']:g}" for row in rows)]
        panels.append(_Panel(kind.replace("_", " "), "density", strengths, _drawn(curves)))
    return panels


def _drawn(curves: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    return {name: values for name, values in curves.items() if any(value is not None for value in values)}


def _miou(row: dict[str, Any] | None) -> float | None:
    return None if row is None else row["miou_present"]


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def _tidy(axes: Axes, grid: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e3e3e3")
    axes.set_axisbelow(True)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path)
