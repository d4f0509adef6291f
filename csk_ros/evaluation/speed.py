"""How fast each way to run a network is, against the plain way in the same run."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from csk_ros.evaluation.cost import route_cost
from csk_ros.evaluation.peak_memory import PeakMemory, measure_peak_memory
from csk_ros.evaluation.throughput import measure_throughput
from csk_ros.evaluation.variants import REFERENCE, LoadedVariant, Variant, load_variants
from csk_ros.modality import Route
from csk_ros.network import load_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from csk_ros.network import Checkpoint, Network

    Lap = Mapping[tuple[Variant, Route], Mapping[str, float]]

_WARM_UPS = 2
_REST = 1 / 30
"""Seconds before each variant, as between a camera's frames: torch's threads spin on after their own."""


@dataclass(frozen=True)
class SpeedSettings:
    """What is measured.

    Attributes:
        checkpoint: file with the network.
        engines, precisions: by name; empty takes all that run here.
        routes: empty takes all that the network has.
        sizes: heights and widths of the images, pixels.
        device, threads, confidence: as the Segmenter takes them.
        rounds: how often each variant is timed.
        at_once: frames in work at the same time in a stream of frames; 0 times no such stream.

    Raises:
        ValueError: for values that mean nothing.
    """

    checkpoint: Path
    engines: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ((480, 640),)
    device: str = "auto"
    threads: int = 0
    confidence: bool = False
    rounds: int = 30
    at_once: int = 0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}: time each variant at least once")
        if self.at_once < 0:
            raise ValueError(f"at_once is {self.at_once}: give a number of frames, or 0")
        if not self.sizes or min(map(min, self.sizes)) < 1:
            raise ValueError("sizes must be positive, such as 480x640")


@dataclass(frozen=True)
class SpeedRow:
    """One variant on one route: camera images to ids, one frame at a time.

    Attributes:
        engine: its name.
        precision: of its arithmetic; ``eager-fp32`` is the reference, the network in plain torch.
        route: through the network.
        height, width: of the images, pixels.
        device: where it ran.
        threads: CPU threads of the network.
        runs: how often it was timed.
        median_ms, p95_ms: of all runs, each right after a frame of the same kind, milliseconds.
        rested_ms: median of those frames before, each after a thirtieth of a second of rest.
        fps: frames per second at the median.
        ratio: how often faster than the reference: the median over rounds of both times in one round.
        stages: share of each step in the time, 0 to 1.
        macs: multiply-accumulates of the route.
        peak_memory_mib: resident, of a process that does nothing else, MiB.
        peak_gpu_memory_mib: of torch on the CUDA device, MiB; None on the CPU.
        at_once: frames in work at the same time in the stream of frames.
        stream_fps: frames per second of that stream; None if none was timed.
    """

    engine: str
    precision: str
    route: str
    height: int
    width: int
    device: str
    threads: int
    runs: int
    median_ms: float
    p95_ms: float
    rested_ms: float
    fps: float
    ratio: float
    stages: dict[str, float]
    macs: int
    peak_memory_mib: float
    peak_gpu_memory_mib: float | None
    at_once: int = 0
    stream_fps: float | None = None


@dataclass(frozen=True)
class SpeedResult:
    """What was measured.

    Attributes:
        rows: by size and route, the reference first.
        left_out: a line for each pair of engine and precision that cannot run here.
        complete: False if Ctrl-C ended it early; the rows are of the rounds before.
    """

    rows: tuple[SpeedRow, ...]
    left_out: tuple[str, ...]
    complete: bool


def measure_speed(settings: SpeedSettings, *, progress: bool = False) -> SpeedResult:
    """Time all variants in turn, round by round, so that whatever else the machine does slows all alike.

    Ctrl-C ends the rounds; what the full ones gave is the result. Sets torch's number of threads.

    Args:
        settings: what to measure.
        progress: show it on stderr.

    Raises:
        CheckpointError: if the checkpoint cannot be used.
        EngineError: if an engine or precision that was named cannot run here.
        ValueError: for a route that the network does not have.
        PeakMemoryError: if a process that measures memory fails.
        KeyboardInterrupt: before the first round was full.
    """
    checkpoint = load_checkpoint(settings.checkpoint)
    routes = _routes(settings.routes, checkpoint.network)
    loaded, left_out = load_variants(
        checkpoint,
        settings.sizes,
        engines=settings.engines,
        precisions=settings.precisions,
        device=settings.device,
        threads=settings.threads,
        confidence=settings.confidence,
    )
    for line in left_out if progress else ():
        sys.stderr.write(f"left out: {line}\n")
    ways = [
        (one, route)
        for size in settings.sizes
        for route in routes
        for one in loaded
        if _size(one.variant) == size
    ]
    peaks = {
        (one.variant, route): measure_peak_memory(one.variant, route, settings.checkpoint)
        for one, route in tqdm(ways, desc="memory", file=sys.stderr, disable=not progress)
    }
    laps = _run(ways, settings.rounds, progress=progress)
    streamed = ways if settings.at_once and len(laps) == settings.rounds else []
    streams = _stream(streamed, checkpoint, settings, progress=progress)
    macs = {
        (size, route): route_cost(checkpoint.network, route, size).macs
        for size in settings.sizes
        for route in routes
    }
    rows = (
        replace(
            _row(one.variant, route, laps, peaks[one.variant, route], macs[_size(one.variant), route]),
            at_once=settings.at_once,
            stream_fps=streams.get((one.variant, route)),
        )
        for one, route in ways
    )
    complete = len(laps) == settings.rounds and len(streams) == len(streamed)
    return SpeedResult(tuple(rows), tuple(left_out), complete)


def _routes(named: Sequence[Route], network: Network) -> list[Route]:
    if missing := set(named) - network.routes:
        have = ", ".join(sorted(route.value for route in network.routes))
        raise ValueError(f"this network does not run {min(missing).value}: it runs {have}")
    return [route for route in Route if route in (named or network.routes)]


def _run(ways: list[tuple[LoadedVariant, Route]], rounds: int, *, progress: bool) -> list[Lap]:
    """The times of each full round; each begins one variant later, so that none always follows the same."""
    images = {(one.variant, route): one.variant.images(route) for one, route in ways}
    for one, route in ways * _WARM_UPS:
        one.run(images[one.variant, route])
    laps: list[Lap] = []
    try:
        for number in tqdm(range(rounds), desc="rounds", file=sys.stderr, disable=not progress):
            first = number % len(ways)
            turn = [*ways[first:], *ways[:first]]
            laps.append(
                {(one.variant, route): _timed(one, images[one.variant, route]) for one, route in turn}
            )
    except KeyboardInterrupt:
        if not laps:
            raise
    return laps


def _timed(one: LoadedVariant, images: dict[str, Any]) -> dict[str, float]:
    """The times of a frame right after another, and the total of that other, which follows a rest.

    A processor that has rested is slow at first: it has saved power, or served others.
    """
    time.sleep(_REST)
    rested = one.run(images)["total"]
    return {**one.run(images), "rested": rested}


def _stream(
    ways: list[tuple[LoadedVariant, Route]],
    checkpoint: Checkpoint,
    settings: SpeedSettings,
    *,
    progress: bool,
) -> dict[tuple[Variant, Route], float]:
    """Frames per second of a stream of frames, of all ways that were timed before Ctrl-C."""
    streams: dict[tuple[Variant, Route], float] = {}
    try:
        variants = dict.fromkeys(one.variant for one, _ in ways)
        for variant in tqdm(variants, desc="streams", file=sys.stderr, disable=not (progress and ways)):
            routes = [route for one, route in ways if one.variant == variant]
            for route, rate in measure_throughput(
                variant, checkpoint, routes, at_once=settings.at_once, frames=settings.rounds
            ):
                streams[variant, route] = rate
    except KeyboardInterrupt:
        pass  # the rest is worth having, and the result says that it is not complete
    return streams


def _row(variant: Variant, route: Route, laps: Sequence[Lap], peak: PeakMemory, macs: int) -> SpeedRow:
    steps = [lap[variant, route] for lap in laps]
    times = [step["total"] for step in steps]
    plain = next(
        way
        for way in laps[0]
        if way[0].precision == REFERENCE and way[1] is route and _size(way[0]) == _size(variant)
    )
    median, p95 = (float(value) for value in np.percentile(times, (50, 95)))
    return SpeedRow(
        engine=variant.engine,
        precision=variant.precision,
        route=route.value,
        height=variant.height,
        width=variant.width,
        device=variant.device,
        threads=variant.threads,
        runs=len(times),
        median_ms=median,
        p95_ms=p95,
        rested_ms=float(np.median([step["rested"] for step in steps])),
        fps=1e3 / median,
        ratio=float(np.median([lap[plain]["total"] / lap[variant, route]["total"] for lap in laps])),
        stages={
            name: sum(s[name] for s in steps) / sum(times)
            for name in steps[0]
            if name not in ("total", "rested")
        },
        macs=macs,
        peak_memory_mib=peak.process,
        peak_gpu_memory_mib=peak.gpu,
    )


def _size(variant: Variant) -> tuple[int, int]:
    return variant.height, variant.width
