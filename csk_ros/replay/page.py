"""``report.html``: one file, pictures and charts inside, no scripts."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined

from csk_ros.evaluation.drawing import ROUTE_COLORS
from csk_ros.modality import Route
from csk_ros.replay import charts
from csk_ros.replay.moments import cause_words
from csk_ros.replay.pictures import legend_of
from csk_ros.replay.timeline import make_tracks, ticks

if TYPE_CHECKING:
    from pathlib import Path

    from csk_ros.replay.panels import Picture
    from csk_ros.replay.pictures import Pictures
    from csk_ros.replay.report_schema import Report, RouteScore, Spread
    from csk_ros.replay.result import ReplayResult

_NONE = "\N{EN DASH}"
_QUALITY = 80


def write_page(path: Path, report: Report, result: ReplayResult, pictures: Pictures, *, title: str) -> None:
    """Write the page of a report; names of classes, topics and files are shown and trusted nowhere."""
    template = files("csk_ros.replay").joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        score=_score, ms=_ms, median=_median, number=_number, words=cause_words, picture=_picture_url
    )
    page = environment.from_string(template).render(
        title=title,
        report=report,
        end_s=report.bag.start_s + report.bag.length_s,
        tracks=make_tracks(report, result),
        ticks=ticks(report.bag.start_s, report.bag.start_s + report.bag.length_s),
        place=_placer(report),
        colors={route.value: color for route, color in ROUTE_COLORS.items()},
        spread=report.latency_ms if report.kind == "live" else report.timing.compute_ms,
        spreads=report.latency_ms_by_route if report.kind == "live" else report.timing.compute_ms_by_route,
        svgs=_draw_charts(report, result),
        confusions={route: _confusion(score, report.classes) for route, score in report.scores.items()},
        seen_classes=_seen_classes(report),
        pictures=pictures,
        used={route: [modality.value for modality in route.modalities] for route in Route},
        legend=legend_of(pictures.classes, result.label_set),
    )
    # A path may hold bytes that are no text.
    path.write_bytes(page.encode("utf-8", "backslashreplace"))


def _draw_charts(report: Report, result: ReplayResult) -> dict[str, str | None]:
    timed = (report.latency_ms if report.kind == "live" else report.timing.compute_ms) is not None
    drawn = {
        "rates": charts.rates(result) if result.streams else None,
        "histogram": charts.histogram(result) if timed else None,
        "over_time": charts.over_time(result) if timed else None,
        "resources": charts.resources(result) if result.resources else None,
    }
    return {name: svg and _data_url("image/svg+xml", svg.encode()) for name, svg in drawn.items()}


def _placer(report: Report) -> Any:
    """Where a stretch lies on the timeline: left edge and width in percent."""
    start_s, length_s = report.bag.start_s, max(report.bag.length_s, 1e-3)

    def place(begin_s: float, end_s: float) -> tuple[float, float]:
        left, right = (min(max(100 * (s - start_s) / length_s, 0.0), 100.0) for s in (begin_s, end_s))
        return left, right - left

    return place


def _seen_classes(report: Report) -> list[str]:
    """Classes that labels or masks of any route hold."""
    return [n for n in report.classes if any(s.iou[n] is not None for s in report.scores.values())]


def _confusion(score: RouteScore, classes: list[str]) -> dict[str, Any]:
    """The matrix in percent of each labelled class, without classes that neither labels nor masks hold."""
    counts = np.array(score.confusion, np.int64)
    rows = np.flatnonzero(counts.sum(axis=1))
    columns = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    share = 100 * counts[np.ix_(rows, columns)] / counts[rows].sum(axis=1, keepdims=True)
    cells = [
        [{"value": float(v), "hit": row == column} for column, v in zip(columns, values, strict=True)]
        for row, values in zip(rows, share, strict=True)
    ]
    names = [classes[row] for row in rows]
    return {"columns": [classes[c] for c in columns], "rows": list(zip(names, cells, strict=True))}


def _score(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.1f} %"


def _ms(value: float | Spread | None) -> str:
    if value is None:
        return _NONE
    return f"{value:.0f}" if isinstance(value, float | int) and value >= 100 else f"{value:.3g}"


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _picture_url(image: Picture) -> str:
    _, data = cv2.imencode(
        ".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
    )
    return _data_url("image/webp", data.tobytes())


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
