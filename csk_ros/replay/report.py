"""The report of a recording: ``report.json``, whose schema is the dataclasses here, and ``report.html``.

Units are in the names: ``_s`` seconds into the drive, ``_ms`` milliseconds. Scores are 0 to 1. A figure
that does not exist (a class that nothing holds, a route that made no mask) is ``null``.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from csk_ros.evaluation.drawing import ROUTE_COLORS
from csk_ros.evaluation.metrics import RouteScores, Scores
from csk_ros.modality import Route
from csk_ros.replay import charts
from csk_ros.replay.frames import played_frames
from csk_ros.replay.recording import RecordingError, count_dropped, percentiles

if TYPE_CHECKING:
    from pathlib import Path

    from csk_ros.labels import LabelSet
    from csk_ros.replay.recording import Recording

_ALWAYS = (Route.FUSED.value, Route.IR_ONLY.value)
_NONE = "\N{EN DASH}"

SCHEMA = 1
"""Rises when a field of the report changes its meaning or goes."""


@dataclass(frozen=True)
class RouteSpan:
    """A stretch of the drive whose masks came from one route; ``end_s`` is its last frame's time."""

    route: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Frames:
    """The account of the thermal frames: ir_in = masks_out + dropped + lost_in_transport.

    Attributes:
        ir_in: thermal images published.
        masks_out: masks received.
        dropped: thermal images that the node received and did not answer.
        dropped_by: the same by cause, as the node's diagnostics name them.
        lost_in_transport: thermal images that never reached the node, and masks that never came back.
    """

    ir_in: int
    masks_out: int
    dropped: int
    dropped_by: dict[str, int]
    lost_in_transport: int

    @property
    def reconciled(self) -> bool:
        """Whether every thermal image has exactly one outcome."""
        known = self.masks_out + self.dropped + self.lost_in_transport
        return self.ir_in == known and self.lost_in_transport >= 0


@dataclass(frozen=True)
class Switch:
    """How fast the node changed its route, one number per cut.

    Attributes:
        eo_loss_to_ir_only_ms: from publishing the last EO image to receiving the first IR_ONLY mask.
        eo_return_to_fused_ms: from publishing the first EO image after it to the first FUSED mask.
    """

    eo_loss_to_ir_only_ms: list[float]
    eo_return_to_fused_ms: list[float]


@dataclass(frozen=True)
class RouteScore:
    """Scores of one route's masks.

    Attributes:
        frames: masks scored.
        miou: mean IoU over the classes that labels or masks hold, background among them.
        miou_absent_zero: the same over all classes, absent ones counted as 0.
        pixel_accuracy: share of labelled pixels that are right.
        iou: IoU by class name.
    """

    frames: int
    miou: float | None
    miou_absent_zero: float | None
    pixel_accuracy: float | None
    iou: dict[str, float | None]


@dataclass(frozen=True)
class Report:
    """Everything in ``report.json``.

    Attributes:
        schema: :data:`SCHEMA`.
        routes: the routes in the order of the drive.
        cuts: stretches without EO, as (from, to) in seconds.
        frames: the account of the thermal frames.
        switch: how fast the route changed.
        latency_ms: stamp to mask received: p50, p95, p99, max.
        miou: mean IoU by route (``RouteScore.miou``).
        scores: all scores by route; empty for a drive without labels.
        player_late_ms: how late images were published: p50, p99, max. What is late here is in latency_ms too.
        configuration: what was run, by name.
        versions: software, by name.
    """

    schema: int
    routes: list[RouteSpan]
    cuts: list[tuple[float, float]]
    frames: Frames
    switch: Switch
    latency_ms: dict[str, float]
    miou: dict[str, float | None]
    scores: dict[str, RouteScore]
    player_late_ms: dict[str, float]
    configuration: dict[str, str]
    versions: dict[str, str]


def make_report(
    recording: Recording, label_set: LabelSet, *, configuration: dict[str, str], versions: dict[str, str]
) -> Report:
    """The report of a recording.

    Raises:
        RecordingError: if no masks came, or a cut was not followed by the route it should lead to.
        BagError: if one of its bags cannot be read.
    """
    if not recording.masks:
        raise RecordingError("no masks came back from the node")
    scores = _score(recording, label_set)
    late = [frame.late_ns / 1e6 for frame in recording.sent]
    return Report(
        schema=SCHEMA,
        routes=[RouteSpan(span.route.value, _ms(span.start_s), _ms(span.end_s)) for span in recording.spans],
        cuts=list(recording.cuts),
        frames=account_frames(recording),
        switch=Switch(recording.eo_loss_to_ir_only_ms(), recording.eo_return_to_fused_ms()),
        latency_ms=_summary(recording.latencies_ms, (50, 95, 99)),
        miou={
            route: scores[route].miou if route in scores else None
            for route in dict.fromkeys((*_ALWAYS, *scores))
        },
        scores=scores,
        player_late_ms=_summary(late, (50, 99)),
        configuration=configuration,
        versions=versions,
    )


def account_frames(recording: Recording) -> Frames:
    """What became of every thermal image, by the node's own counters.

    Raises:
        RecordingError: if the node's diagnostics carry no account.
    """
    account = recording.account
    if "ir_received" not in account or "answered" not in account:
        raise RecordingError("the node's diagnostics carry no account of its frames")
    lost_images = recording.sent_ir - account["ir_received"]
    lost_masks = account["answered"] - len(recording.masks)
    return Frames(
        ir_in=recording.sent_ir,
        masks_out=len(recording.masks),
        dropped=count_dropped(account),
        dropped_by={name: count for name, count in account.items() if name.startswith("dropped_")},
        lost_in_transport=lost_images + lost_masks,
    )


def _score(recording: Recording, label_set: LabelSet) -> dict[str, RouteScore]:
    scores = RouteScores(label_set)
    for frame in played_frames(recording):
        if frame.mask is not None and frame.labels is not None and frame.route is not None:
            scores.update(frame.route, frame.mask, frame.labels)
    return {route.value: _route_score(scores.scores(route)) for route in scores.routes}


def _route_score(scores: Scores) -> RouteScore:
    return RouteScore(
        frames=scores.frames,
        miou=_number(scores.miou()),
        miou_absent_zero=_number(scores.miou(absent="zero")),
        pixel_accuracy=_number(scores.pixel_accuracy),
        iou={name: _number(iou) for name, iou in zip(scores.label_set.names, scores.iou, strict=True)},
    )


def _summary(values: list[float], at: tuple[int, ...]) -> dict[str, float]:
    return percentiles(values, at) | {"max": max(values)}


def _ms(seconds: float) -> float:
    return round(seconds, 3)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def write_json(path: Path, report: Report) -> None:
    """Write ``report.json``."""
    path.write_text(json.dumps(asdict(report), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_html(path: Path, report: Report, recording: Recording, strip: Path, *, title: str) -> None:
    """Write ``report.html``: one file, charts and strip inside, no scripts."""
    template = files("csk_ros.replay").joinpath("report.html").read_text(encoding="utf-8")
    # Autoescape: names of classes, topics and files are not ours to trust.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(score=_as_score, ms=_as_ms)
    length_s = max(recording.seconds(frame.stamp_ns) for frame in recording.sent)
    page = environment.from_string(template).render(
        title=title,
        report=report,
        length_s=length_s,
        ticks=_ticks(length_s),
        tracks=_tracks(report, recording, length_s),
        colors={route.value: color for route, color in ROUTE_COLORS.items()},
        histogram=_data_url("image/svg+xml", charts.latency_histogram(recording).encode()),
        over_time=_data_url("image/svg+xml", charts.latency_over_time(recording).encode()),
        strip=_data_url("image/png", strip.read_bytes()),
    )
    path.write_text(page, encoding="utf-8")


def _tracks(report: Report, recording: Recording, length_s: float) -> dict[str, list[dict[str, Any]]]:
    """The bars of the timeline: name, place and width in percent of the drive."""
    ends = [span.start_s for span in report.routes[1:]] + [length_s]
    routes = [
        _bar(span.route, span.start_s, end, length_s) for span, end in zip(report.routes, ends, strict=True)
    ]
    edges = [0.0, *(second for cut in recording.cuts for second in cut), length_s]
    pieces = list(itertools.pairwise(edges))
    names = ["EO on" if i % 2 == 0 else "EO cut" for i in range(len(pieces))]
    camera = [_bar(name, *piece, length_s) for name, piece in zip(names, pieces, strict=True)]
    return {"camera": [bar for bar in camera if bar["width"] > 0], "route": routes}


def _bar(name: str, start_s: float, end_s: float, length_s: float) -> dict[str, Any]:
    start_s, end_s = (min(max(second, 0.0), length_s) for second in (start_s, end_s))
    place = {"left": 100 * start_s / length_s, "width": 100 * (end_s - start_s) / length_s}
    return {"name": name, "start_s": start_s, "end_s": end_s, **place}


def _ticks(length_s: float) -> list[float]:
    step = next(step for step in (0.5, 1, 2, 5, 10, 30, 60, 300, 1800, math.inf) if length_s / step <= 6)
    return [i * step for i in range(int(length_s // step) + 1)] if math.isfinite(step) else [0.0]


def _as_score(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.1f} %"


def _as_ms(values: list[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values) or _NONE


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
