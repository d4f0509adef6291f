"""Everything that is measured of a checkpoint on a data set, through the same Segmenter that is deployed."""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from csk_ros.evaluation.conditions import PARTS, Condition, Images, Part, choose_conditions
from csk_ros.evaluation.cost import Latency, RouteCost, measure_latency, route_cost
from csk_ros.evaluation.examples import Example, pick_frames
from csk_ros.evaluation.metrics import Scores, confusion_matrix
from csk_ros.evaluation.sequences import runs
from csk_ros.inference import ENGINES, Segmenter
from csk_ros.labels import UNLABELLED
from csk_ros.modality import Modality, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from csk_ros.data import Sample, SampleSet
    from csk_ros.labels import LabelSet
    from csk_ros.network import Checkpoint


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured and how it is run.

    Attributes:
        engine, device, precision, height, width, threads: as the Segmenter takes them.
        parts: what to measure, some of :data:`~csk_ros.evaluation.conditions.PARTS`.
        gaussian: whether the noise part adds Gaussian noise as well.
        limit: how many frames from the first on; None takes all.
        seed: of all chance, 0 or more.

    Raises:
        ValueError: for values that mean nothing.
    """

    engine: str = "auto"
    device: str = "auto"
    precision: str = "float32"
    height: int | None = None
    width: int | None = None
    threads: int | None = 0
    parts: frozenset[Part] = frozenset(PARTS)
    gaussian: bool = False
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        if not self.parts or not self.parts <= set(PARTS):
            raise ValueError(
                f"parts are {', '.join(sorted(self.parts)) or 'empty'}: use some of {', '.join(PARTS)}"
            )
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit}: evaluate at least 1 frame")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: must not be negative")


@dataclass
class Tally:
    """What was counted under one condition.

    Attributes:
        frames: indices of the frames that the condition exists for.
        confusions: by route, int64 (C, C), summed over those frames.
    """

    frames: list[int] = field(default_factory=list)
    confusions: dict[Route, NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """All that was counted; :mod:`csk_ros.evaluation.report` makes figures of it.

    Attributes:
        label_set: the classes.
        names: of the frames.
        pixels: labelled pixels by class, int64 (C,), and unlabelled ones behind them.
        clean: confusions by route and frame, int64 (F, C, C); empty if only speed was asked for.
        tallies: counts by condition.
        worst, best: frames to look at.
        cost: by route, at ``size``.
        latency: by route; empty if speed was not asked for.
        size: the network's working height and width (of the first frame, where they differ).
        engine, device: in use.
        threads: CPU threads of the engine.
        settings: what was asked for.
    """

    label_set: LabelSet
    names: tuple[str, ...]
    pixels: NDArray[np.int64]
    clean: dict[Route, NDArray[np.int64]]
    tallies: dict[Condition, Tally]
    worst: tuple[Example, ...]
    best: tuple[Example, ...]
    cost: dict[Route, RouteCost]
    latency: dict[Route, Latency]
    size: tuple[int, int]
    engine: str
    device: str
    threads: int
    settings: EvaluationSettings

    def scores(self, route: Route, frames: Sequence[int] | None = None) -> Scores:
        """Scores of a route on its unchanged images, over some frames or all."""
        chosen = self.clean[route] if frames is None else self.clean[route][list(frames)]
        return Scores(self.label_set, chosen.sum(axis=0), len(chosen))

    def scores_under(self, condition: Condition, route: Route) -> Scores:
        """Scores of a route under a condition."""
        tally = self.tallies[condition]
        return Scores(self.label_set, tally.confusions[route], len(tally.frames))


def evaluate(
    checkpoint: Checkpoint,
    samples: SampleSet,
    settings: EvaluationSettings | None = None,
    *,
    progress: bool = False,
) -> Evaluation:
    """Measure a checkpoint on labelled samples; the same call counts the same pixels every time.

    Every sample is read once before anything is run, so that a broken one ends it early.

    Args:
        checkpoint: the network and how to feed it.
        samples: labelled pairs of the checkpoint's classes.
        settings: what and how; None is everything on the engine and device that suit.
        progress: show progress and the time that is left on stderr.

    Raises:
        ValueError: for samples without labels or with other classes than the checkpoint's, or that cannot be
            read; names them.
        OSError: as the samples raise it.
        SegmenterError: as :class:`~csk_ros.inference.Segmenter`.
    """
    settings = settings or EvaluationSettings()
    segmenter = Segmenter.from_network(
        checkpoint,
        engine=settings.engine,
        device=settings.device,
        height=settings.height,
        width=settings.width,
        threads=settings.threads,
        precision=settings.precision,
        confidence=False,
    )
    return _Run(checkpoint, samples, settings, segmenter, progress=progress).evaluation()


class _Run:
    """One evaluation on its way."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        samples: SampleSet,
        settings: EvaluationSettings,
        segmenter: Segmenter,
        *,
        progress: bool,
    ) -> None:
        self._checkpoint, self._settings, self._segmenter = checkpoint, settings, segmenter
        self._samples, self._progress = samples, progress
        self._routes = [route for route in Route if route in segmenter.routes]
        self._classes = len(segmenter.label_set)
        self._names, self._pixels = self._survey()
        self._runs = runs(self._names)

    def evaluation(self) -> Evaluation:
        """Do all of it."""
        scored = self._settings.parts != {"speed"}
        clean, tallies = self._score() if scored else ({}, {})
        worst, best = self._examples(clean)
        first = self._samples[0]
        size = (self._settings.height or first.ir.shape[0], self._settings.width or first.ir.shape[1])
        return Evaluation(
            label_set=self._segmenter.label_set,
            names=self._names,
            pixels=self._pixels,
            clean=clean,
            tallies=tallies,
            worst=worst,
            best=best,
            cost={route: route_cost(self._checkpoint.network, route, size) for route in self._routes},
            latency=self._latency(first) if "speed" in self._settings.parts else {},
            size=size,
            engine=self._segmenter.engine,
            device=self._segmenter.device,
            threads=self._threads(),
            settings=self._settings,
        )

    def _survey(self) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Names of all frames and pixels by class; refuses what cannot be scored before any work is done."""
        want, have = self._segmenter.label_set.names, self._samples.label_set.names
        if want != have:
            raise ValueError(
                f"the checkpoint knows the classes {', '.join(want)}, the data has {', '.join(have)}: "
                "use a checkpoint that was trained on this label set"
            )
        count = min(len(self._samples), self._settings.limit or len(self._samples))
        if not count:
            raise ValueError("there are no samples to evaluate on")
        pixels = np.zeros(self._classes + 1, np.int64)
        names = []
        for index in self._bar(range(count), "reading", "frame"):
            sample = self._samples[index]
            pixels += _count_pixels(sample, self._classes)
            names.append(sample.name)
        return tuple(names), pixels

    def _score(self) -> tuple[dict[Route, NDArray[np.int64]], dict[Condition, Tally]]:
        conditions = choose_conditions(self._settings.parts, gaussian=self._settings.gaussian)
        conditions = [c for c in conditions if self._routes_of(c)]
        tallies = {condition: Tally() for condition in conditions}
        shape = (len(self._names), self._classes, self._classes)
        clean = {route: np.zeros(shape, np.int64) for route in self._routes}
        plan = [
            (run, position, [(c, at) for c in conditions if (at := c.source(position, len(run))) is not None])
            for run in self._runs
            for position in range(len(run))
        ]
        total = sum(len(self._routes) + sum(len(self._routes_of(c)) for c, _ in rest) for *_, rest in plan)
        with self._bar(None, "evaluating", "mask", total) as bar:
            for run, position, rest in plan:
                index = run[position]
                sample = self._samples[index]
                for route in self._routes:
                    clean[route][index] = self._count(sample, route, _images(sample))
                    bar.update()
                for condition, at in rest:
                    tally = tallies[condition]
                    tally.frames.append(index)
                    images = self._changed(condition, sample, run[at] if at != position else None)
                    for route in self._routes_of(condition):
                        counted = self._count(sample, route, images)
                        tally.confusions[route] = tally.confusions.get(route, 0) + counted
                        bar.update()
        return clean, {condition: tally for condition, tally in tallies.items() if tally.frames}

    def _routes_of(self, condition: Condition) -> list[Route]:
        return [route for route in condition.routes if route in self._routes]

    def _changed(self, condition: Condition, sample: Sample, eo_from: int | None) -> Images:
        # Chance hangs on the frame's name, not on what else is measured.
        words = (zlib.crc32(text.encode()) for text in (condition.key, sample.name))
        rng = np.random.default_rng((self._settings.seed, *words))
        images = _images(sample)
        if eo_from is not None:
            images[Modality.EO] = self._samples[eo_from].eo
        return condition.change(images, rng)

    def _count(self, sample: Sample, route: Route, images: Images) -> NDArray[np.int64]:
        mask = self._segmenter.segment(**_arguments(route, images)).labels
        try:
            return confusion_matrix(mask, sample.labels, self._classes)  # type: ignore[arg-type]  # _survey saw labels
        except ValueError as error:
            raise ValueError(f"{sample.name}: {error}") from error

    def _examples(self, clean: dict[Route, NDArray[np.int64]]) -> tuple[tuple[Example, ...], ...]:
        if not clean:
            return (), ()
        ranked = self._routes[0]
        scores = [Scores(self._segmenter.label_set, c, 1) for c in clean[ranked]]
        values = [one.miou_present(background=False) for one in scores]
        return tuple(
            tuple(self._example(index, ranked, values[index]) for index in chosen)
            for chosen in pick_frames(values)
        )

    def _example(self, index: int, route: Route, score: float) -> Example:
        sample = self._samples[index]
        images = _images(sample)
        masks = {r: self._segmenter.segment(**_arguments(r, images)).labels for r in self._routes}
        return Example(sample, masks, route, score)

    def _latency(self, sample: Sample) -> dict[Route, Latency]:
        images = _images(sample)
        return measure_latency(self._segmenter, {r: _arguments(r, images) for r in self._routes})

    def _threads(self) -> int:
        asked = self._settings.threads
        if asked == 0:
            return ENGINES[self._segmenter.engine].suitable_threads()
        return asked or torch.get_num_threads()

    def _bar(self, items: range | None, text: str, unit: str, total: int | None = None) -> Any:
        return tqdm(
            items,
            text,
            total,
            unit=unit,
            disable=not self._progress,
            file=sys.stderr,
            leave=False,
            dynamic_ncols=True,
        )


def _count_pixels(sample: Sample, classes: int) -> NDArray[np.int64]:
    """Pixels by class, and of no class behind them.

    Raises:
        ValueError: no labels, a size other than the thermal image's, or ids that are no class.
    """
    if sample.labels is None:
        raise ValueError(f"{sample.name} has no labels to score on")
    if not sample.labels.shape == sample.ir.shape == sample.eo.shape[:2]:
        raise ValueError(
            f"{sample.name}: eo {sample.eo.shape[:2]}, ir {sample.ir.shape} and labels {sample.labels.shape} "
            "must have one size"
        )
    counted = np.bincount(sample.labels.reshape(-1), minlength=UNLABELLED + 1)
    if foreign := np.flatnonzero(counted[classes:UNLABELLED]).tolist():
        raise ValueError(
            f"{sample.name}: its labels hold the ids {[i + classes for i in foreign]}, but there are "
            f"{classes} classes"
        )
    return np.append(counted[:classes], counted[UNLABELLED]).astype(np.int64)


def _images(sample: Sample) -> Images:
    return {Modality.EO: sample.eo, Modality.IR: sample.ir}


def _arguments(route: Route, images: Images) -> dict[str, Any]:
    return {modality.value: images[modality] for modality in route.modalities}
