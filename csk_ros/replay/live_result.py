"""What a live run amounts to: rows, figures and problems, made of what was sent and received."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from csk_ros.inference import CheckpointError, Segmenter
from csk_ros.labels import LabelSet
from csk_ros.modality import Modality
from csk_ros.replay.live_rows import lost_images, lost_masks, make_rows
from csk_ros.replay.live_scores import score_masks
from csk_ros.replay.provenance import checkpoint_facts, versions
from csk_ros.replay.result import ReplayResult, ResourceSample, StreamSample
from csk_ros.replay.scoring import ScoringError
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from csk_ros.replay.bag import BagReader
    from csk_ros.replay.live_rows import Rows
    from csk_ros.replay.live_settings import LiveSettings
    from csk_ros.replay.played import Played
    from csk_ros.replay.result import FrameRow
    from csk_ros.replay.scoring import LabelScorer
    from csk_ros.replay.topics import InputTopics

# Later than this is more than the timers of a machine that keeps up.
_LATE_MS = 20.0
_UNNAMED = LabelSet(tuple(f"class {i}" for i in range(255)), tuple((i, i, i) for i in range(255)))


def make_result(settings: LiveSettings, bag: BagReader, topics: InputTopics, played: Played) -> ReplayResult:
    """The result of a run; scores the masks where there are labels.

    Raises:
        BagError: if one of the bags cannot be read.
    """
    rows = make_rows(played)
    problems = [*filter(None, [played.ending]), *played.problems, *_problems(played, rows)]
    scorer = None
    if played.masks and (topics.labels or settings.labels_at):
        topic = None if settings.labels_at else topics.labels
        scorer, reason = _score(settings, bag, topic, played, rows)
        problems += [f"not scored: {reason}"] if reason else []
    return ReplayResult(
        kind="live",
        bag=Path(settings.bag),
        masks=Path(settings.masks),
        topics=topics,
        label_set=played.label_set,
        length_s=played.length_s,
        start_s=settings.start_s,
        complete=played.complete and bag.complete,
        interrupted=not (played.complete or played.ending),
        problems=tuple(problems),
        injections=settings.injections,
        labels="" if scorer is None else settings.labels_from or topics.labels or "",
        rows=_with_miou(rows, scorer),
        received=_received(played),
        counts=_counts(played),
        streams=_streams(played),
        scores=scorer.scores if scorer else None,
        stages_ms={stage: median(times) for stage, times in played.reports.stages_ms.items()},
        resources=_resources(played),
        late_ms=tuple(sent.late_ns / 1e6 for sent in played.sent),
        lost_ms=rows.lost_ms,
        returned_ms=rows.returned_ms,
        configuration=_configuration(settings) | dict(played.facts),
        versions=versions(),
    )


def describe_node(facts: Mapping[str, str], bag: BagReader) -> tuple[LabelSet, dict[str, str]]:
    """The classes of a node's masks, and what it is, for people.

    The classes are those of the node's checkpoint; where that cannot be read here, those of the bag's labels.

    Args:
        facts: from its diagnostics.
        bag: that is played.
    """
    shown = dict(facts)
    named = shown.pop("checkpoint", "")
    try:
        path = share_path(named) if named == DEFAULT_CHECKPOINT else Path(named)
        label_set = Segmenter.from_checkpoint(path, engine="torch", device="cpu").label_set
    except (CheckpointError, FileNotFoundError):
        return bag.label_set or _UNNAMED, shown | ({"checkpoint": named} if named else {})
    return label_set, shown | checkpoint_facts(path)


def _score(
    settings: LiveSettings, bag: BagReader, topic: str | None, played: Played, rows: Rows
) -> tuple[LabelScorer | None, str]:
    """The scores; None, with the reason, where labels and masks do not fit."""
    theirs, ours = bag.label_set if topic else None, played.label_set
    if theirs and theirs.names != ours.names:
        return None, f"the labels are {', '.join(theirs.names)}; the masks {', '.join(ours.names)}"
    try:
        scorer = score_masks(settings, bag, topic, rows, ours)
    except ScoringError as error:
        return None, str(error)
    return (scorer, "") if scorer.miou else (None, "no labels have the stamp of a mask")


def _with_miou(rows: Rows, scorer: LabelScorer | None) -> tuple[FrameRow, ...]:
    miou = scorer.miou if scorer else {}
    return tuple(
        dataclasses.replace(row, miou=miou[i]) if i in miou else row for i, row in enumerate(rows.rows)
    )


def _problems(played: Played, rows: Rows) -> Iterator[str]:
    late_ms = [sent.late_ns / 1e6 for sent in played.sent]
    p99 = float(np.percentile(late_ms, 99)) if late_ms else 0.0
    if p99 > _LATE_MS:
        yield (
            f"images were sent late, by up to {max(late_ms):.0f} ms (99 % by {p99:.0f} ms or less): this "
            "machine does not keep up; latency holds that too, play slower with a lower rate"
        )
    if not played.reports.account:
        yield "the node told no counts of its frames: what became of frames without a mask is not known"
    for modality in Modality:
        lost = lost_images(played, modality)
        if lost > 0:
            yield f"{lost} {modality.value} images were sent and did not reach the node"
    if lost_masks(played) > 0:
        yield f"{lost_masks(played)} masks of the node did not come back"
    if rows.unmatched:
        yield f"{rows.unmatched} masks are of images that were not played, or came twice"
    if rows.unrouted:
        yield f"{rows.unrouted} masks came before the node announced a route, and are left out"
    if played.label_set is _UNNAMED:
        yield "the names of the classes are not known: neither the bag nor a checkpoint on this machine tells"


def _received(played: Played) -> dict[Modality, int]:
    sent = dict.fromkeys(Modality, 0)
    for image in played.sent:
        sent[image.modality] += 1
    return {m: played.reports.account.get(f"{m.value}_received", images) for m, images in sent.items()}


def _counts(played: Played) -> dict[str, int]:
    """The node's own counts, and those of what was sent and came back."""
    sent = {f"sent_{m.value}": sum(image.modality is m for image in played.sent) for m in Modality}
    lost = {f"lost_{m.value}": max(lost_images(played, m), 0) for m in Modality}
    masks = {"masks": len(played.masks), "lost_masks": max(lost_masks(played), 0)}
    return {**played.reports.account, **sent, **lost, **masks}


def _streams(played: Played) -> dict[Modality, tuple[StreamSample, ...]]:
    return {
        modality: tuple(
            StreamSample(played.seconds(wall_ns), state, rate_hz, fault)
            for wall_ns, state, rate_hz, fault in standings
        )
        for modality, standings in played.reports.streams.items()
    }


def _resources(played: Played) -> tuple[ResourceSample, ...]:
    """Of the process; for a node that somebody else started, what it says of its memory."""
    return tuple(
        ResourceSample(played.seconds(usage.wall_ns), *usage[1:])
        for usage in played.usage or played.reports.memory
        if usage.wall_ns >= played.start_ns
    )


def _configuration(settings: LiveSettings) -> dict[str, str]:
    running = settings.node is not None
    chosen = {
        "node": f"running: {settings.node}" if running else "a process of its own",
        "usage": "memory by the node's own word; its processor time is not seen" if running else "",
        "rate": f"{settings.rate:g}",
        "turns": str(settings.loop or "until stopped"),
        "from": f"{settings.start_s:g} s" if settings.start_s else "",
        "to": f"{settings.end_s:g} s" if settings.end_s != float("inf") else "",
        "stamps": "of the bag, with /clock" if settings.clock else "moved to the present",
        "parameters file": str(settings.parameters_file or ""),
        "injected": "; ".join(map(str, settings.injections)),
    }
    parameters = {f"parameter {name}": value for name, value in settings.parameters.items()}
    return {name: text for name, text in (chosen | parameters).items() if text}
