"""A replay result made without network or node: masks are the labels, shifted down by a pixel on IR_ONLY."""

from __future__ import annotations

import dataclasses

import numpy as np

from csk_ros.evaluation.metrics import RouteScores
from csk_ros.modality import Modality, Route
from csk_ros.replay.bag import IMAGE, BagWriter
from csk_ros.replay.injection import Injection
from csk_ros.replay.result import Agreement, Consistency, FrameRow, ReplayResult, ResourceSample, StreamSample
from csk_ros.replay.samples import START_NS, header, image_message, write_samples
from csk_ros.replay.topics import InputTopics

LIVE_OFFSET_NS = 5_000_000_000
TOPICS = InputTopics("/eo/image", "/ir/image", "/labels/image")


def make_result(folder, samples, cuts=((0.8, 1.4),), *, kind="offline", dropped=()):
    """Replay ``samples`` without EO in the cuts; ``dropped`` are indices without an answer."""
    write_samples(folder / "drive", samples, progress=False)
    rows, scores = [], RouteScores(samples.label_set)
    with BagWriter(folder / "masks", label_set=samples.label_set) as bag:
        bag.add_topic("/segment/mask", IMAGE)
        for i, sample in enumerate(samples):
            row = make_row(i, sample.stamp_ns, cuts, kind, dropped=i in dropped)
            if row.route:
                row = _answer(bag, row, sample, scores)
            rows.append(row)
    with_labels = samples[0].labels is not None
    length_s = (samples[len(samples) - 1].stamp_ns - samples[0].stamp_ns) / 1e9
    live = kind == "live"
    return ReplayResult(
        kind=kind,
        bag=folder / "drive",
        masks=folder / "masks",
        topics=TOPICS if with_labels else dataclasses.replace(TOPICS, labels=None),
        label_set=samples.label_set,
        length_s=length_s,
        injections=tuple(Injection.parse("drop", Modality.EO, f"{a}:{b}") for a, b in cuts),
        labels="topic /labels/image" if with_labels else "",
        rows=tuple(rows),
        received={Modality.EO: sum(row.eo_stamp_ns is not None for row in rows), Modality.IR: len(rows)},
        counts={"eo_unused": 2},
        streams=_streams(length_s, cuts),
        scores=scores if with_labels else None,
        agreement=Agreement(4, 0.91, 0.64),
        consistency={Route.IR_ONLY: Consistency(3, 0.7), Route.FUSED: Consistency(9, 0.83)},
        stages_ms={} if live else {"preprocess": 2.1, "network": 33.0},
        resources=_resources(length_s) if live else (),
        late_ms=(0.4, 1.0, 0.2) if live else (),
        lost_ms=tuple(210.0 + 15 * i for i in range(len(cuts))),
        returned_ms=tuple(120.0 + 9 * i for i in range(len(cuts))),
        configuration={"<weights>": "a & b", "engine": "openvino", "checkpoint sha256": "ab" * 32},
        versions={"Python": "3", "machine": "x86_64, 2 cores"},
    )


def make_row(i, since_start_ns, cuts=(), kind="offline", *, dropped=False):
    """The row of the i-th frame; without a score."""
    stamp_ns, seconds = START_NS + since_start_ns, since_start_ns / 1e9
    cut = any(start <= seconds < end for start, end in cuts)
    ms = (18 if cut else 40) * (1 + 0.1 * np.sin(i) + 0.3 * (i % 17 == 0))
    row = FrameRow(
        seconds=seconds,
        stamp_ns=stamp_ns,
        mask_stamp_ns=stamp_ns + (LIVE_OFFSET_NS if kind == "live" else 0),
        anchor=Modality.IR,
        eo_stamp_ns=None if cut else stamp_ns,
        route=Route.IR_ONLY if cut else Route.FUSED,
        cause="EO_STALE" if cut else "PAIRED",
        wait_ms=2.0 + i % 3,
        latency_ms=ms if kind == "live" else None,
        compute_ms=ms if kind == "offline" else None,
    )
    if not dropped:
        return row
    return dataclasses.replace(row, route=None, cause="SUPERSEDED", latency_ms=None, compute_ms=None)


def without_masks(result):
    """The same with every frame dropped and no bag of masks."""
    rows = (dataclasses.replace(row, route=None, cause="ENGINE_FAILED", miou=None) for row in result.rows)
    return dataclasses.replace(
        result,
        rows=tuple(dataclasses.replace(row, compute_ms=None, latency_ms=None) for row in rows),
        masks=result.masks.with_name("none"),
        scores=None,
        agreement=None,
        consistency={},
        lost_ms=(),
        returned_ms=(),
        stages_ms={},
    )


def many_rows(result, count, *, period_s=0.1, flapping=5):
    """The same with so many rows, whose route changes every few frames, and as many samples of EO."""
    step_ns = round(period_s * 1e9)
    cuts = [(i * period_s, (i + flapping) * period_s) for i in range(flapping, count, 2 * flapping)]
    inside = np.arange(count) // flapping % 2 == 1
    rows = tuple(make_row(i, i * step_ns, ((-1, 1e9),) if inside[i] else ()) for i in range(count))
    eo = tuple(
        StreamSample(i * period_s, "STALE" if inside[i] else "ALIVE", 0.0 if inside[i] else 10.0)
        for i in range(count)
    )
    return dataclasses.replace(
        result,
        rows=rows,
        length_s=count * period_s,
        injections=(),
        streams={Modality.EO: eo, Modality.IR: result.streams[Modality.IR]},
        lost_ms=tuple(200.0 for _ in cuts),
    )


def _answer(bag, row, sample, scores):
    mask = _mask(sample, row.route)
    message = image_message(mask, "mono8", header(row.mask_stamp_ns, "ir_camera"))
    bag.write("/segment/mask", row.mask_stamp_ns + 40_000_000, message)
    if sample.labels is None:
        return row
    scores.update(row.route, mask, sample.labels)
    alone = RouteScores(scores._label_set)
    alone.update(row.route, mask, sample.labels)
    return dataclasses.replace(row, miou=alone.scores(row.route).miou_present())


def _mask(sample, route):
    labels = np.zeros(sample.ir.shape, np.uint8) if sample.labels is None else sample.labels
    return np.roll(np.where(labels == 255, 0, labels).astype(np.uint8), int(route is Route.IR_ONLY), axis=0)


def _streams(length_s, cuts):
    def state(second):
        if any(start + 0.15 <= second < end for start, end in cuts):
            return "STALE"
        return "RETURNING" if any(end <= second < end + 0.15 for _, end in cuts) else "ALIVE"

    moments = [float(second) for second in np.arange(0, length_s, 0.1)]
    eo = tuple(StreamSample(t, state(t), 10.0 if state(t) == "ALIVE" else 0.0) for t in moments)
    return {Modality.EO: eo, Modality.IR: tuple(StreamSample(t, "ALIVE", 10.0) for t in moments)}


def _resources(length_s):
    return tuple(
        ResourceSample(float(t), 80 + 20 * float(np.sin(t)), 600.0 + t) for t in np.arange(0, length_s, 0.5)
    )
