"""The report of a replay: ``report.json``, ``frames.csv``, ``report.html`` and ``strip.png``."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from csk_ros.modality import Modality, Route
from csk_ros.perception.frames import DropCause
from csk_ros.replay import report_schema as schema
from csk_ros.replay.moments import LOST, NO_MASK, find_moments
from csk_ros.replay.page import write_page
from csk_ros.replay.pictures import draw_moments, write_strip
from csk_ros.replay.report_schema import Report, Spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from csk_ros.evaluation.metrics import Scores
    from csk_ros.replay.result import FrameRow, ReplayResult, StreamSample
    from csk_ros.replay.seen import LabelsAt

T = TypeVar("T")

_ALWAYS = (Route.FUSED.value, Route.IR_ONLY.value)
_COLUMNS = (
    "seconds",
    "stamp_ns",
    "mask_stamp_ns",
    "anchor",
    "eo_stamp_ns",
    "route",
    "cause",
    "wait_ms",
    "miou",
)
# What differs between two runs of the same replay would make the files of two equal offline runs differ.
_LIVE_COLUMNS = (*_COLUMNS, "latency_ms", "compute_ms")


def write_report(
    folder: Path, result: ReplayResult, *, title: str, labels_at: LabelsAt | None = None
) -> Report:
    """Write ``report.json``, ``frames.csv``, ``report.html`` and ``strip.png``.

    Args:
        folder: that exists.
        result: the replay, whose bags are read again for the pictures.
        title: of the page.
        labels_at: gives the labels of a stamp; None reads the label topic of the bag, where it has one.

    Raises:
        BagError: if one of the bags cannot be opened.
        OSError: if the folder cannot be written.
    """
    report = make_report(result)
    text = json.dumps(asdict(report), indent=2, allow_nan=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    write_rows(folder / "frames.csv", result)
    pictures = draw_moments(result, find_moments(result), labels_at)
    write_strip(folder / "strip.png", pictures, result.label_set)
    write_page(folder / "report.html", report, result, pictures, title=title)
    return report


def make_report(result: ReplayResult) -> Report:
    """The figures of a replay."""
    scored = {} if result.scores is None else {r: result.scores.scores(r) for r in result.scores.routes}
    scores = {route.value: _score(one) for route, one in in_order(scored).items()}
    return Report(
        schema=schema.SCHEMA,
        kind=result.kind,
        bag=_bag(result),
        complete=result.complete,
        problems=list(result.problems),
        injections=_injections(result),
        labels=result.labels or None,
        classes=list(result.label_set.names),
        frames=_frames(result),
        routes=[schema.Span(s.route.value, round(s.start_s, 3), round(s.end_s, 3)) for s in result.spans],
        switch=schema.Switch(_rounded(result.lost_ms), _rounded(result.returned_ms)),
        streams={
            m.value: _stream(m, result) for m in Modality if m in result.streams or result.received.get(m)
        },
        wait_ms=Spread.of(row.wait_ms for row in result.rows),
        latency_ms=Spread.of(row.latency_ms for row in result.answered),
        latency_ms_by_route=_by_route(result.answered, "latency_ms"),
        player_late_ms=Spread.of(result.late_ms),
        miou={r: scores[r].miou if r in scores else None for r in dict.fromkeys((*_ALWAYS, *scores))},
        scores=scores,
        agreement=_agreement(result),
        consistency={
            route.value: schema.ConsistencyFacts(one.pairs, _number(one.miou))
            for route, one in in_order(result.consistency).items()
        },
        resources=_resources(result),
        timing=_timing(result),
        configuration=dict(result.configuration),
        versions=dict(result.versions),
    )


def in_order(by_route: Mapping[Route, T]) -> dict[Route, T]:
    """The same with the routes in their fixed order, whichever came first."""
    return {route: by_route[route] for route in Route if route in by_route}


def write_rows(path: Path, result: ReplayResult) -> None:
    """Write a row per anchor frame; an empty cell where a figure does not exist."""
    columns = _LIVE_COLUMNS if result.kind == "live" else _COLUMNS
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(getattr(row, name)) for name in columns] for row in result.rows)


def _cell(value: object) -> object:
    if isinstance(value, Modality | Route):
        return value.value
    return round(value, 6) if isinstance(value, float) else value


def _bag(result: ReplayResult) -> schema.BagFacts:
    start_s, length_s = round(result.start_s, 3), round(result.length_s, 3)
    return schema.BagFacts(result.bag.name, start_s, length_s, asdict(result.topics))


def _injections(result: ReplayResult) -> list[schema.InjectionFacts]:
    end_s = result.start_s + result.length_s
    return [
        schema.InjectionFacts(one.modality.value, one.kind, str(one), one.stretches.within(end_s))
        for one in result.injections
    ]


def _frames(result: ReplayResult) -> schema.Frames:
    answered = result.answered
    dropped_by, lost = _unanswered(result)
    dropped = sum(dropped_by.values())
    return schema.Frames(
        eo_in=result.received.get(Modality.EO, 0),
        ir_in=result.received.get(Modality.IR, 0),
        anchors=len(answered) + dropped + lost,
        masks_out=len(answered),
        masks_hz=round(len(answered) / result.length_s, 3) if result.length_s else None,
        dropped=dropped,
        lost_in_transport=lost,
        by_route={route.value: sum(row.route is route for row in answered) for route in Route},
        dropped_by=dropped_by,
        not_fused_by=dict(Counter(r.cause for r in answered if r.route is not Route.FUSED).most_common()),
        apart=dict(result.counts),
    )


def _unanswered(result: ReplayResult) -> tuple[dict[str, int], int]:
    """Drops by cause, and frames lost on the way.

    Counts know of drops that never became a row; rows of a live run may not know their cause. Each cause
    takes the greater figure, and what is then left of the rows has none.
    """
    rows = Counter(row.cause for row in result.rows if not row.route)
    told = {cause.name: result.counts.get(f"dropped_{cause.name.lower()}", 0) for cause in DropCause}
    unknown, lost = rows.pop(NO_MASK, 0), rows.pop(LOST, 0)
    known = {cause: max(told.get(cause, 0), rows[cause]) for cause in (*told, *rows)}
    unknown -= sum(known.values()) - rows.total()
    stream = "ir" if result.topics.ir else "eo"
    told_lost = result.counts.get(f"lost_{stream}", 0) + result.counts.get("lost_masks", 0)
    found = min(max(told_lost - lost, 0), max(unknown, 0))
    known[NO_MASK] = max(unknown - found, 0)
    return dict(
        Counter({cause: count for cause, count in known.items() if count}).most_common()
    ), lost + found


def _stream(modality: Modality, result: ReplayResult) -> schema.Stream:
    samples = result.streams.get(modality, ())
    states = _states(samples, result.start_s + result.length_s)
    total_s = sum(span.end_s - span.start_s for span in states)
    names = dict.fromkeys(span.state for span in states)
    seconds = {n: sum(s.end_s - s.start_s for s in states if s.state == n) for n in names}
    rates = [sample.rate_hz for sample in samples if sample.state == "ALIVE" and sample.rate_hz > 0]
    return schema.Stream(
        received=result.received.get(modality, 0),
        rate_hz=round(float(np.median(rates)), 3) if rates else None,
        share={name: round(value / total_s, 4) for name, value in seconds.items()} if total_s else {},
        states=states,
    )


def _states(samples: tuple[StreamSample, ...], end_s: float) -> list[schema.StateSpan]:
    runs = [(key, next(run).seconds) for key, run in groupby(samples, key=lambda s: (s.state, s.fault))]
    ends = [start for _, start in runs[1:]] + [end_s] * bool(runs)
    return [
        schema.StateSpan(state, fault, round(start, 3), round(max(start, end), 3))
        for ((state, fault), start), end in zip(runs, ends, strict=True)
    ]


def _score(scores: Scores) -> schema.RouteScore:
    return schema.RouteScore(
        frames=scores.frames,
        miou=_number(scores.miou()),
        miou_absent_zero=_number(scores.miou(absent="zero")),
        pixel_accuracy=_number(scores.pixel_accuracy),
        iou={name: _number(iou) for name, iou in zip(scores.label_set.names, scores.iou, strict=True)},
        confusion=scores.confusion.tolist(),
    )


def _agreement(result: ReplayResult) -> schema.AgreementFacts | None:
    one = result.agreement
    return schema.AgreementFacts(one.frames, _number(one.pixels), _number(one.miou)) if one else None


def _resources(result: ReplayResult) -> dict[str, Spread]:
    names = ("cpu_percent", "memory_mib", "gpu_percent", "gpu_memory_mib")
    spreads = {name: Spread.of(getattr(sample, name) for sample in result.resources) for name in names}
    return {name: spread for name, spread in spreads.items() if spread}


def _timing(result: ReplayResult) -> schema.Timing:
    compute = Spread.of(row.compute_ms for row in result.answered)
    return schema.Timing(
        compute_ms=compute,
        compute_ms_by_route=_by_route(result.answered, "compute_ms"),
        stages_ms={name: round(ms, 3) for name, ms in result.stages_ms.items()},
        segmenter_hz=round(1000 / compute.mean, 3) if compute and compute.mean else None,
    )


def _by_route(rows: Iterable[FrameRow], name: str) -> dict[str, Spread]:
    rows = list(rows)
    spreads = {r.value: Spread.of(getattr(row, name) for row in rows if row.route is r) for r in Route}
    return {route: spread for route, spread in spreads.items() if spread}


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 3) for value in values]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
