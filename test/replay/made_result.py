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


def make_result(folder, samples, cuts=((0.8, 1.4),), *, kind="offline", dropped=(), scored=True):
    """Replay ``samples`` without EO in the cuts; ``dropped`` are indices without an answer."""
    write_samples(folder / "drive", samples, progress=False)
    offset_ns = LIVE_OFFSET_NS if kind == "live" else 0
    rows, scores = [], RouteScores(samples.label_set)
    with BagWriter(folder / "masks", label_set=samples.label_set) as bag:
        bag.add_topic("/segment/mask", IMAGE)
        for i, sample in enumerate(samples):
            row = _row(sample, i, cuts, kind, offset_ns, dropped=i in dropped)
            if row.route:
                mask = _mask(sample, row.route)
                message = image_message(mask, "mono8", header(row.mask_stamp_ns, "ir_camera"))
                bag.write("/segment/mask", row.mask_stamp_ns + 40_000_000, message)
                if scored and sample.labels is not None:
                    scores.update(row.route, mask, sample.labels)
                    single = RouteScores(samples.label_set)
                    single.update(row.route, mask, sample.labels)
                    row = dataclasses.replace(row, miou=single.scores(row.route).miou_present())
            rows.append(row)
    length_s = (samples[len(samples) - 1].stamp_ns - samples[0].stamp_ns) / 1e9
    return ReplayResult(
        kind=kind,
        bag=folder / "drive",
        masks=folder / "masks",
        topics=TOPICS if samples[0].labels is not None else dataclasses.replace(TOPICS, labels=None),
        label_set=samples.label_set,
        length_s=length_s,
        injections=tuple(Injection.parse("drop", Modality.EO, f"{a}:{b}") for a, b in cuts),
        labels="topic /labels/image" if scores.routes else "",
        rows=tuple(rows),
        received={Modality.EO: sum(row.route is Route.FUSED for row in rows), Modality.IR: len(rows)},
        counts={"eo_unused": 2},
        streams=_streams(length_s, cuts),
        scores=scores if scores.routes else None,
        agreement=Agreement(4, 0.91, 0.64),
        consistency={Route.FUSED: Consistency(9, 0.83)},
        stages_ms={"preprocess": 2.1, "network": 33.0} if kind == "offline" else {},
        resources=_resources(length_s) if kind == "live" else (),
        late_ms=(0.4, 1.0, 0.2) if kind == "live" else (),
        lost_ms=tuple(210.0 + 15 * i for i in range(len(cuts))),
        returned_ms=tuple(120.0 + 9 * i for i in range(len(cuts))),
        configuration={"<weights>": "a & b", "engine": "openvino", "checkpoint sha256": "ab" * 32},
        versions={"Python": "3", "machine": "x86_64, 2 cores"},
    )


def _row(sample, i, cuts, kind, offset_ns, *, dropped):
    stamp_ns, seconds = START_NS + sample.stamp_ns, sample.stamp_ns / 1e9
    cut = any(start <= seconds < end for start, end in cuts)
    ms = (18 if cut else 40) * (1 + 0.1 * np.sin(i) + 0.3 * (i % 17 == 0))
    row = FrameRow(
        seconds=seconds,
        stamp_ns=stamp_ns,
        mask_stamp_ns=stamp_ns + offset_ns,
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
    return dataclasses.replace(
        row, route=None, eo_stamp_ns=None, cause="SUPERSEDED", latency_ms=None, compute_ms=None
    )


def _mask(sample, route):
    labels = sample.labels if sample.labels is not None else np.zeros(sample.ir.shape, np.uint8)
    labels = np.where(labels == 255, 0, labels).astype(np.uint8)
    return np.roll(labels, int(route is Route.IR_ONLY), axis=0)


def _streams(length_s, cuts):
    def state(second):
        if any(start + 0.15 <= second < end for start, end in cuts):
            return "STALE"
        return "RETURNING" if any(end <= second < end + 0.15 for _, end in cuts) else "ALIVE"

    moments = np.arange(0, length_s, 0.1)
    eo = tuple(StreamSample(float(t), state(t), 10.0 if state(t) == "ALIVE" else 0.0) for t in moments)
    return {
        Modality.EO: eo,
        Modality.IR: tuple(StreamSample(float(t), "ALIVE", 10 + 0.2 * np.sin(t)) for t in moments),
    }


def _resources(length_s):
    return tuple(
        ResourceSample(float(t), 80 + 20 * float(np.sin(t)), 600 + t) for t in np.arange(0, length_s, 0.5)
    )
