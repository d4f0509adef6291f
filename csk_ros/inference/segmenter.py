"""The segmenter: camera images in, label ids out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from csk_ros.inference.engines import EngineOptions, build_engine, find_device
from csk_ros.inference.errors import EngineError, InputError, SegmenterError
from csk_ros.inference.model_cache import ModelCache
from csk_ros.inference.preprocess import check_image, levels
from csk_ros.modality import Modality, Route
from csk_ros.network import Checkpoint, load_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from csk_ros.labels import LabelSet

_WARM_UP_SIZE = (480, 640)


@dataclass(frozen=True)
class Segmentation:
    """One answer.

    Attributes:
        labels: uint8 (H, W) ids, at the anchor's size.
        confidence: uint8 (H, W), ``round(255 * greatest softmax probability)``, if it was asked for.
        route: how it was made.
        timings: milliseconds by step: ``prepare`` (check, upload, resize), ``network`` (from normalising to
            arg-max), ``answer`` (download) and ``total``.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None
    route: Route
    timings: dict[str, float]


class Segmenter:
    """Runs a checkpoint on camera images; for one thread at a time.

    The anchor is IR if it is given, else EO; the answer has its size. EO is resized to the network's working
    size without any alignment.

    Args:
        checkpoint: the network and how to feed it.
        engine: ``auto`` or an engine's name.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``xpu`` or ``xpu:N`` (an Intel GPU).
        height: the network's working height; with ``width`` absent the anchor's own size.
        width: the network's working width.
        confidence: whether confidence maps are made.
        threads: CPU threads, for the whole process; 0 takes what suits the engine and the machine, ``None``
            leaves them as they are.
        precision: ``float32``, another that the engine offers, see each, or ``auto`` for what suits it, the
            checkpoint and the machine.
        cache: whether compiled models are kept on disk, beside the checkpoint's file if it has one.
        report: called with a line when the engine does something that takes seconds.

    Attributes:
        label_set: the classes of the ids.
        routes: the routes that the network has.
        engine: the engine's name.
        device: the name of what runs the network.
        precision: of the network's arithmetic.

    Raises:
        EngineError: if the engine or device is not there.
        SegmenterError: for a size or thread count that means nothing.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        engine: str = "auto",
        device: str = "auto",
        height: int | None = None,
        width: int | None = None,
        confidence: bool = True,
        threads: int | None = None,
        precision: str = "float32",
        cache: bool = True,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._size = _working_size(height, width)
        if threads is not None and threads < 0:
            raise SegmenterError(f"threads must be 0 or more, not {threads}")
        options = EngineOptions(
            precision=precision,
            threads=threads,
            confidence=confidence,
            cache=ModelCache.beside(checkpoint.path) if cache and checkpoint.path else None,
            report=report or (lambda _: None),
        )
        self._engine = build_engine(engine, checkpoint, find_device(device), options)
        self._confidence = confidence
        self.label_set: LabelSet = checkpoint.label_set
        self.routes: frozenset[Route] = checkpoint.network.routes
        self.engine: str = self._engine.name
        self.device: str = str(self._engine.runs_on)
        self.precision: str = self._engine.precision

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, engine: str = "auto", device: str = "auto", **settings: Any
    ) -> Segmenter:
        """Read a checkpoint file; ``settings`` are the class's keyword arguments.

        Raises:
            CheckpointError: if the file cannot be used.
            SegmenterError: as the class.
        """
        return cls(load_checkpoint(path), engine=engine, device=device, **settings)

    @classmethod
    def from_network(cls, checkpoint: Checkpoint, **settings: Any) -> Segmenter:
        """Run a checkpoint that is in memory; ``settings`` are the class's keyword arguments."""
        return cls(checkpoint, **settings)

    def segment(
        self,
        *,
        eo: NDArray[np.uint8] | None = None,
        ir: NDArray[Any] | None = None,
        confidence: bool = True,
    ) -> Segmentation:
        """Segment a pair of images, or one alone.

        Args:
            eo: uint8 (H, W, 3) RGB.
            ir: uint8 or uint16 (H, W); uint16 is scaled by its 1st to 99th percentile.
            confidence: False leaves the confidence map out of this answer, which saves milliseconds.

        Raises:
            InputError: for no image, a wrong dtype or shape, or a route that the network does not have.
        """
        clock = _Clock(self._engine.device)
        given = {m: image for m, image in ((Modality.EO, eo), (Modality.IR, ir)) if image is not None}
        route = self._route(given)
        for modality, image in given.items():
            check_image(modality, image)
        height, width = list(given.values())[-1].shape[:2]  # IR comes last
        with torch.inference_mode(), self._engine.stream():
            size = self._size or (height, width)
            images = {m: levels(image, size, self._engine.device) for m, image in given.items()}
            clock.lap("prepare")
            sure = self._confidence and confidence
            answered = self._engine.maps(images, (height, width), confidence=sure)
            clock.lap("network")
            maps = answered.cpu().numpy()
            clock.lap("answer")
        return Segmentation(maps[0], maps[1] if sure else None, route, clock.total())

    def warm_up(self) -> None:
        """Run every route once, at the working size (480x640 if that is the anchor's).

        Raises:
            EngineError: if the device cannot do it, for want of memory say.
        """
        height, width = self._size or _WARM_UP_SIZE
        blank: dict[Modality, Any] = {
            Modality.EO: np.zeros((height, width, 3), np.uint8),
            Modality.IR: np.zeros((height, width), np.uint8),
        }
        for route in sorted(self.routes):
            try:
                self.segment(**{modality.value: blank[modality] for modality in route.modalities})
            except RuntimeError as error:
                raise EngineError(
                    f"{self.engine} on {self.device} cannot run {route.value} at {height}x{width}: "
                    f"{str(error).splitlines()[0]}"
                ) from error

    def _route(self, given: dict[Modality, NDArray[Any]]) -> Route:
        if not given:
            raise InputError("neither eo nor ir is given: pass at least one image")
        route = Route.of(eo=Modality.EO in given, ir=Modality.IR in given)
        if route not in self.routes:
            have = ", ".join(sorted(known.value for known in self.routes))
            raise InputError(
                f"this network runs {have}, but {' and '.join(m.value for m in given)} make {route.value}"
            )
        return route


@dataclass
class _Clock:
    """Milliseconds of each step; waits for its stream of a CUDA device before it reads the time."""

    device: torch.device
    laps: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        now = time.perf_counter()
        self.laps[name] = (now - self.last) * 1e3
        self.last = now

    def total(self) -> dict[str, float]:
        return {**self.laps, "total": sum(self.laps.values())}


def _working_size(height: int | None, width: int | None) -> tuple[int, int] | None:
    if height is None and width is None:
        return None
    if height is None or width is None:
        raise SegmenterError(f"give both height and width or neither, not {height} and {width}")
    if height < 1 or width < 1:
        raise SegmenterError(f"height and width must be positive, not {height} and {width}")
    return height, width
