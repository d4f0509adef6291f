"""Deterministic replay: a bag through the node's perception and Segmenter, without DDS.

Images are taken in the order in which the recorder received them, with their receive times as the clock, and
the Segmenter answers at once: same bag, same weights, same engine, same bytes out.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from csk_ros.inference import InputError, Segmenter
from csk_ros.messages import MAX_PIXELS
from csk_ros.modality import Modality, Route
from csk_ros.perception import DropCause, PerceptionSettings
from csk_ros.replay.bag import BagReader, BagWriter
from csk_ros.replay.drive import Drive, read_images
from csk_ros.replay.mask_bag import Answer, EarlierMasks, MaskBag
from csk_ros.replay.offline_result import configuration, counts, refusals, streams_readable
from csk_ros.replay.offline_settings import PROBE_EVERY, OfflineSettings
from csk_ros.replay.provenance import checkpoint_facts, find_checkpoint, versions
from csk_ros.replay.read_ahead import ReadAhead, WriteBehind
from csk_ros.replay.result import FrameRow, ReplayResult
from csk_ros.replay.run_folder import RunFolder
from csk_ros.replay.scoring import AgreementMeter, ConsistencyMeter, LabelScorer, ScoringError
from csk_ros.replay.source import Source
from csk_ros.replay.topics import NONE, find_topics

if TYPE_CHECKING:
    from pathlib import Path

    from csk_ros.inference import Segmentation
    from csk_ros.labels import LabelSet
    from csk_ros.perception import Decision
    from csk_ros.replay.drive import ReadImage
    from csk_ros.replay.topics import InputTopics

_DEPTH = 8
_SEGMENTER = ("engine", "device", "threads", "precision")
_AS_THE_NODE = {"threads": 0, "precision": "auto"}


class ReplayError(RuntimeError):
    """A bag of which nothing could be segmented; the message is one line."""


def run_offline(settings: OfflineSettings, *, progress: bool = True) -> ReplayResult:
    """Replay a bag and write its masks into ``out/masks``; Ctrl-C leaves what there is as a valid result.

    Args:
        settings: what to replay and how.
        progress: show a progress bar on stderr.

    Raises:
        BagError, LabelFolderError, RunFolderError, ParameterFileError, FileNotFoundError: what is given
            cannot be used.
        CheckpointError, SegmenterError: the network cannot be run.
        ScoringError: labels do not fit the masks.
        ReplayError: nothing could be segmented.
        KeyboardInterrupt: interrupted before anything new was segmented.
    """
    parameters = settings.node_parameters()
    checkpoint = find_checkpoint(settings.checkpoint or parameters.get("checkpoint"))
    label_topic = NONE if settings.label_folder else settings.labels
    with BagReader(settings.bag) as bag:
        topics = find_topics(bag, eo=settings.eo, ir=settings.ir, labels=label_topic)
        facts = checkpoint_facts(checkpoint)
        folder = RunFolder(settings.out, _asked(settings, bag, topics, parameters, facts))
        with folder.going_back_without_masks():
            segmenter = _segmenter(checkpoint, parameters, confidence=settings.confidence)
            replay = _Replay(settings, parameters, bag=bag, topics=topics, segmenter=segmenter, folder=folder)
            interrupted = replay.run(progress=progress)
            replay.check(interrupted=interrupted)
        folder.finish(interrupted=interrupted)
        return replay.result(facts, interrupted=interrupted)


def _asked(
    settings: OfflineSettings,
    bag: BagReader,
    topics: InputTopics,
    parameters: dict[str, Any],
    facts: dict[str, str],
) -> dict[str, Any]:
    """All that the masks depend on."""
    return {
        "bag": {str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in _files(bag.path)},
        "topics": [topics.eo, topics.ir],
        "stretch": [settings.start_s, settings.end_s],
        "injections": [str(injection) for injection in settings.injections],
        "parameters": parameters,
        "confidence": settings.confidence,
        "overlay": settings.overlay,
        "versions": versions(),
    } | facts


def _files(bag: Path) -> list[Path]:
    return [path for path in sorted(bag.rglob("*")) if path.is_file()] if bag.is_dir() else [bag]


class _Replay:
    """One replay on its way."""

    def __init__(
        self,
        settings: OfflineSettings,
        parameters: dict[str, Any],
        *,
        bag: BagReader,
        topics: InputTopics,
        segmenter: Segmenter,
        folder: RunFolder,
    ) -> None:
        self._bag, self._topics, self._settings, self._folder = bag, topics, settings, folder
        self._parameters = parameters
        self._segmenter = segmenter
        self._label_set = segmenter.label_set
        self._labels = _where_labels(settings, topics)
        _check_label_set(bag, self._label_set, self._labels)
        end_s = float("inf") if settings.end_s is None else settings.end_s
        self._source = Source(bag, topics, settings.injections, start_s=settings.start_s, end_s=end_s)
        self._drive = Drive(_perception(parameters, segmenter, topics), bag.start_ns)
        folder_of_labels = settings.label_folder
        labels_at = folder_of_labels.labels_at if folder_of_labels else None
        self._scorer = LabelScorer(self._label_set, labels_at)
        every = settings.probe_every
        self._every = every if every is not None else 0 if self._labels else PROBE_EVERY
        self._agreement = AgreementMeter(self._label_set)
        self._consistency = ConsistencyMeter(self._label_set, max(self._every, 1))
        self._earlier = EarlierMasks(folder.earlier, confidence=settings.confidence)
        self._rows: list[FrameRow] = []
        self._stages: dict[str, list[float]] = {}
        self._seconds = settings.start_s
        self._met: set[tuple[tuple[int, ...], ...]] = set()
        self._fused = 0

    def run(self, *, progress: bool) -> bool:
        """Replay; returns whether it was interrupted."""
        label_set, settings = self._label_set, self._settings
        with BagWriter(self._folder.partial, zstd=True, label_set=label_set, keep_partial=True) as writer:
            self._masks = MaskBag(
                writer,
                label_set,
                confidence=settings.confidence,
                overlay=settings.overlay,
                opacity=self._parameters.get("overlay_opacity", 0.5),
            )
            try:
                self._replay(progress=progress)
            except KeyboardInterrupt:
                return True
        return False

    def _replay(self, *, progress: bool) -> None:
        images = read_images(
            self._source.arrivals(), max_pixels=self._parameters.get("max_pixels", MAX_PIXELS)
        )
        start_s = self._settings.start_s
        with (
            WriteBehind(_DEPTH) as self._behind,
            ReadAhead(images, _DEPTH) as ahead,
            _bar(self._source.length_s, shown=progress) as bar,
        ):
            for image in ahead:
                self._take(image)
                self._seconds = max(self._seconds, image.seconds)
                bar.update(min(self._seconds - start_s, bar.total) - bar.n)
            for decision in self._drive.advance():
                self._answer(decision)
            self._drive.perception.shutdown()
        if len(self._rows) > 1:  # the first one makes the engine ready
            self._stages["wall"] = [(time.monotonic() - self._ready) * 1e3 / (len(self._rows) - 1)]

    def _take(self, image: ReadImage) -> None:
        if image.modality:
            for decision in self._drive.take(image):
                self._answer(decision)
        elif image.pixels is None:
            raise ScoringError(f"a label map on {self._topics.labels} cannot be read: {image.problem}")
        elif image.pixels.dtype != np.uint8:
            raise ScoringError(f"label maps on {self._topics.labels} have 16 bits: publish ids as mono8")
        else:
            labels = image.pixels
            self._behind.call(lambda: self._scorer.labels(image.stamp_ns, labels))

    def _answer(self, decision: Decision[ReadImage]) -> None:
        anchor = decision.anchor
        answer, cause, compute_ms = self._attempt(decision)
        route = answer.route if answer else None
        row = FrameRow(
            seconds=anchor.payload.seconds,
            stamp_ns=anchor.stamp_ns,
            mask_stamp_ns=anchor.stamp_ns,
            anchor=anchor.modality,
            eo_stamp_ns=decision.eo.stamp_ns
            if decision.eo and answer and answer.route is not Route.IR_ONLY
            else None,
            route=route,
            cause=cause.name if cause else decision.reason.name,
            wait_ms=(decision.decided_ns - anchor.arrival_ns) / 1e6,
            compute_ms=compute_ms,
        )
        number = len(self._rows)
        self._rows.append(row)
        if number == 0:
            self._ready = time.monotonic()
        if answer is None:
            assert cause  # noqa: S101 (no answer has a cause)
            self._drive.perception.dropped(decision, cause)
            return
        self._drive.perception.answered(decision, decision.decided_ns, route=answer.route)
        self._behind.call(lambda: self._write(number, decision, answer))

    def _attempt(self, decision: Decision[ReadImage]) -> tuple[Answer | None, DropCause | None, float | None]:
        """The answer, or why there is none, and how long the Segmenter took; as the node attempts it."""
        images = _pixels(decision)
        if images["ir" if decision.ir else "eo"] is None:
            return None, DropCause.UNREADABLE, None
        answer, compute_ms = self._earlier.take(decision.anchor.stamp_ns), None
        if answer is None:
            try:
                segmentation = self._segment(images)
            except InputError as error:
                self._drive.problems.setdefault(decision.anchor.modality, str(error))
                return None, DropCause.UNREADABLE, None
            answer = Answer(segmentation.route, segmentation.labels, segmentation.confidence)
            compute_ms = segmentation.timings["total"]
        self._probe(answer, images)
        return answer, None, compute_ms

    def _segment(self, images: dict[str, Any]) -> Segmentation:
        # Engines make ready for a size when they first meet it, which is no frame's time.
        sizes = tuple(image.shape[:2] for image in images.values() if image is not None)
        if sizes not in self._met:
            self._met.add(sizes)
            self._segmenter.segment(**images)
        segmentation = self._segmenter.segment(**images)
        for stage, ms in segmentation.timings.items():
            self._stages.setdefault(stage, []).append(ms)
        return segmentation

    def _probe(self, answer: Answer, images: dict[str, Any]) -> None:
        """Ask thermal alone as well, now and then."""
        if not (self._every and answer.route is Route.FUSED and Route.IR_ONLY in self._segmenter.routes):
            return
        if self._fused % self._every == 0:
            self._agreement.add(answer.labels, self._segmenter.segment(ir=images["ir"]).labels)
        self._fused += 1

    def _write(self, number: int, decision: Decision[ReadImage], answer: Answer) -> None:
        """Beside the main thread: what is made of an answer."""
        started = time.monotonic()
        anchor, images = decision.anchor, _pixels(decision)
        self._masks.write(answer, anchor.payload.header, decision.decided_ns, **images)
        if self._labels and anchor.modality is Modality.IR:  # labels lie in the thermal image
            self._scorer.mask(number, anchor.stamp_ns, answer.route, answer.labels)
        image = images[anchor.modality.value]
        if self._every and image is not None:
            self._consistency.add(answer.route, image, answer.labels)
        self._stages.setdefault("write", []).append((time.monotonic() - started) * 1e3)

    def check(self, *, interrupted: bool) -> None:
        """Refuse what is no result.

        Raises:
            ReplayError: there is no mask; names why.
            KeyboardInterrupt: it did not come as far as the replay that it goes on from.
        """
        if interrupted and self._earlier.left:
            raise KeyboardInterrupt
        if any(row.route for row in self._rows):
            return
        reasons = "; ".join(f"{modality.value}: {text}" for modality, text in self._drive.problems.items())
        raise ReplayError(f"nothing in {self._bag.path} could be segmented: {reasons or 'no image came'}")

    def result(self, facts: dict[str, str], *, interrupted: bool) -> ReplayResult:
        """All that came of it."""
        drive, miou = self._drive, self._scorer.miou
        account = drive.perception.account
        problems = [*self._bag.problems, *refusals(account, self._rows, drive.problems, self._topics)]
        if interrupted:
            problems.append(f"interrupted {self._seconds:.1f} s into the bag")
        end_s = self._seconds if interrupted else self._settings.start_s + self._source.length_s
        return ReplayResult(
            kind="offline",
            bag=self._bag.path,
            masks=self._folder.masks,
            topics=self._topics,
            label_set=self._label_set,
            length_s=end_s - self._settings.start_s,
            start_s=self._settings.start_s,
            complete=not interrupted and self._bag.complete and streams_readable(account, self._rows),
            interrupted=interrupted,
            problems=tuple(problems),
            injections=self._settings.injections,
            labels=self._labels,
            rows=tuple(replace(row, miou=miou.get(number)) for number, row in enumerate(self._rows)),
            received={modality: stream.received for modality, stream in account.streams.items()},
            counts=counts(account),
            streams={modality: tuple(samples) for modality, samples in drive.samples.items()},
            scores=self._scorer.scores if self._scorer.scores.routes else None,
            agreement=self._agreement.result(),
            consistency=self._consistency.result(),
            stages_ms={name: median(times) for name, times in self._stages.items()},
            lost_ms=tuple(drive.lost_ms),
            returned_ms=tuple(drive.returned_ms),
            configuration=facts | configuration(self._segmenter, self._parameters),
            versions=versions(),
        )


def _segmenter(checkpoint: Path, parameters: dict[str, Any], *, confidence: bool) -> Segmenter:
    chosen = {name: parameters[name] for name in _SEGMENTER if name in parameters}
    size = {name: parameters.get(name) or None for name in ("height", "width")}
    return Segmenter.from_checkpoint(checkpoint, confidence=confidence, **{**_AS_THE_NODE, **chosen, **size})


def _perception(parameters: dict[str, Any], segmenter: Segmenter, topics: InputTopics) -> PerceptionSettings:
    settings = PerceptionSettings.from_parameters(parameters).held_to(segmenter.routes)
    if settings.route is None and topics.ir is None:
        settings = replace(settings, route=Route.EO_ONLY).held_to(segmenter.routes)
    return settings


def _where_labels(settings: OfflineSettings, topics: InputTopics) -> str:
    """Where labels come from, in words; empty without."""
    if topics.labels:
        return topics.labels
    return settings.labels or "" if settings.labels != NONE else ""


def _check_label_set(bag: BagReader, label_set: LabelSet, labels: str) -> None:
    stored = bag.label_set
    if labels and stored is not None and stored.names != label_set.names:
        raise ReplayError(
            f"the labels of {bag.path} are {', '.join(stored.names)}, but the network's are "
            f"{', '.join(label_set.names)}: --labels none replays without scores"
        )


def _pixels(decision: Decision[ReadImage]) -> dict[str, Any]:
    return {
        modality.value: frame.payload.pixels if (frame := getattr(decision, modality.value)) else None
        for modality in Modality
    }


def _bar(seconds: float, *, shown: bool) -> Any:
    layout = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s of the bag [{elapsed}<{remaining}]"
    return tqdm(total=seconds, desc="replaying", bar_format=layout, disable=not shown, file=sys.stderr)
