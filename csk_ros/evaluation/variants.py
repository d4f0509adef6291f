"""The ways to run a network that a machine has: engines, precisions, sizes, and the plain way beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import cv2
import torch

from csk_ros.data.synthetic import SceneDrive
from csk_ros.evaluation.plain import PlainSegmenter
from csk_ros.inference import ENGINES, EngineError, Segmenter
from csk_ros.inference.engines import find_device
from csk_ros.modality import Modality

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from csk_ros.modality import Route
    from csk_ros.network import Checkpoint

REFERENCE = "eager-fp32"
"""The precision by which rows of the reference are known; their engine is ``torch``."""


@dataclass(frozen=True)
class Variant:
    """A way to run a network.

    Attributes:
        engine: its name.
        precision: of its arithmetic, or :data:`REFERENCE`.
        device: where.
        height, width: of the images, and the network's working size.
        threads: CPU threads of the network.
        confidence: whether the confidence map is made.
    """

    engine: str
    precision: str
    device: str
    height: int
    width: int
    threads: int
    confidence: bool

    def reference(self, threads: int) -> Variant:
        """The plain way at this size, on as many threads as torch takes by itself."""
        device = reference_device(self.device)
        return replace(self, engine="torch", precision=REFERENCE, device=device, threads=threads)

    def load(self, checkpoint: Checkpoint) -> PlainSegmenter | Segmenter:
        """Make it ready; may set the number of torch's threads.

        Raises:
            EngineError: if this machine cannot.
        """
        if self.precision == REFERENCE:
            return PlainSegmenter(checkpoint, find_device(self.device), confidence=self.confidence)
        segmenter = Segmenter(
            checkpoint,
            engine=self.engine,
            device=self.device,
            height=self.height,
            width=self.width,
            confidence=self.confidence,
            threads=self.threads,
            precision=self.precision,
        )
        segmenter.warm_up()  # tells whether it can be compiled
        return segmenter

    def images(self, route: Route) -> dict[str, Any]:
        """A rendered street for :meth:`Segmenter.segment`: where classes meet, an answer costs more."""
        return {
            m.value: cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)
            for m, image in _street().items()
            if m in route.modalities
        }


def reference_device(device: str) -> str:
    """Where torch runs the reference beside engines on a device: an Intel GPU it leaves to OpenVINO."""
    found = find_device(device)
    return "cpu" if found.type == "xpu" else str(found)


@cache
def _street() -> dict[Modality, Any]:
    sample = SceneDrive(frames=1, light="dusk")[0]
    return {Modality.EO: sample.eo, Modality.IR: sample.ir}


class LoadedVariant:
    """A variant that is ready, with its own number of torch threads.

    Args:
        variant: what to load.
        checkpoint: what to run.
        torch_threads: to begin with; the engine may choose others.

    Attributes:
        variant: what was loaded.

    Raises:
        EngineError: if this machine cannot.
    """

    def __init__(self, variant: Variant, checkpoint: Checkpoint, torch_threads: int) -> None:
        torch.set_num_threads(torch_threads)
        self.variant = variant
        self._segmenter = variant.load(checkpoint)
        # The number counts in the whole process, and OpenVINO wants one.
        self._threads = torch.get_num_threads()

    def run(self, images: dict[str, Any]) -> dict[str, float]:
        """Segment once; the milliseconds of each step and the ``total``."""
        torch.set_num_threads(self._threads)
        return self._segmenter.segment(**images).timings


def load_variants(
    checkpoint: Checkpoint,
    sizes: Sequence[tuple[int, int]],
    *,
    engines: Sequence[str] = (),
    precisions: Sequence[str] = (),
    device: str = "auto",
    threads: int = 0,
    confidence: bool = False,
) -> tuple[list[LoadedVariant], list[str]]:
    """Load every variant that there is here, the reference of each size first.

    Args:
        checkpoint: what to run.
        sizes: heights and widths.
        engines: by name; empty takes all that are installed.
        precisions: by name; empty takes all that an engine has on the device.
        device: as the Segmenter takes it.
        threads: CPU threads of the engines; 0 takes what suits them. The reference takes torch's own number.
        confidence: whether to make confidence maps.

    Returns:
        The variants, and a line for each pair of engine and precision that cannot run here.

    Raises:
        EngineError: if one that was named runs in no pair, or nothing runs.
    """
    if unknown := sorted(set(engines) - ENGINES.keys()):
        raise EngineError(f"engine {unknown[0]!r} is not available: use some of {', '.join(sorted(ENGINES))}")
    place, own_threads = str(find_device(device)), torch.get_num_threads()
    loaded: list[LoadedVariant] = []
    left_out: dict[tuple[str, str], str] = {}
    for height, width in sizes:
        rows = []
        for engine, precision in _pairs(engines, precisions):
            number = threads or ENGINES[engine].suitable_threads()
            variant = Variant(engine, precision, place, height, width, number, confidence)
            try:
                rows.append(LoadedVariant(variant, checkpoint, own_threads))
            except EngineError as error:
                left_out[engine, precision] = str(error)
        if rows:
            reference = rows[0].variant.reference(own_threads)
            loaded += [LoadedVariant(reference, checkpoint, own_threads), *rows]
    _check_named([*engines, *precisions], loaded, left_out)
    return loaded, [f"{engine} {precision}: {why}" for (engine, precision), why in left_out.items()]


def _pairs(engines: Sequence[str], precisions: Sequence[str]) -> list[tuple[str, str]]:
    chosen = engines or sorted(ENGINES)
    return [pair for name in chosen for pair in product((name,), precisions or ENGINES[name].precisions)]


def _check_named(
    named: Sequence[str], loaded: Sequence[LoadedVariant], left_out: dict[tuple[str, str], str]
) -> None:
    there = {name for one in loaded for name in (one.variant.engine, one.variant.precision)}
    for name in named or ["torch"]:
        if name not in there:
            reasons = dict.fromkeys(why for pair, why in left_out.items() if name in pair)
            raise EngineError(f"{name} cannot run here: {'; '.join(reasons)}")
