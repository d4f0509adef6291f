"""What the engines share that compile the network for each size."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from csk_ros.inference.engines.base import DEFAULT_OPTIONS, Engine, EngineOptions
from csk_ros.inference.graph import RouteGraph
from csk_ros.inference.latest_used import LatestUsed
from csk_ros.inference.model_cache import fingerprint
from csk_ros.inference.postprocess import answer
from csk_ros.modality import Modality, Route
from csk_ros.network import fold_batch_norms

if TYPE_CHECKING:
    from csk_ros.network import Checkpoint

KEPT_SIZES = 4
"""Sizes whose compiled models are kept, the latest used."""

Model = Callable[[Sequence[torch.Tensor]], torch.Tensor]
"""Levels in; logits, valid until the next call, out; see :class:`RouteGraph`."""


class CompiledEngine(Engine):
    """Models that are compiled when a size is first met.

    Compiling takes seconds, so a size is compiled for every route at once: a switch between FUSED and IR_ONLY
    never compiles. EO alone at a size of its own is compiled alone.

    Args:
        checkpoint: whose network to run; it is not changed.
        device: what runs the models; their inputs and answers are in the CPU's memory.
        options: with a number of threads, torch, which only works around the network, gets one in the whole
            process.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, options: EngineOptions = DEFAULT_OPTIONS
    ) -> None:
        self.device, self.runs_on = torch.device("cpu"), device
        self.precision = options.precision
        self._options = options
        self._threads = options.threads or torch.get_num_threads()
        if options.threads is not None:
            torch.set_num_threads(1)
        self._checkpoint = checkpoint
        self._folded = fold_batch_norms(checkpoint.network).requires_grad_(requires_grad=False)
        self._fingerprint = fingerprint(checkpoint)
        self._models: LatestUsed[tuple[int, int], dict[Route, Model]] = LatestUsed(KEPT_SIZES)

    def maps(
        self, images: dict[Modality, torch.Tensor], size: tuple[int, int], *, confidence: bool
    ) -> torch.Tensor:
        """Label ids and confidence of the route that the images make; see :class:`Engine`.

        Raises:
            EngineError: if the network cannot be compiled at this size.
        """
        return self._answer(self.logits(images), size, confidence=confidence)

    def logits(self, images: dict[Modality, torch.Tensor]) -> torch.Tensor:
        """Float32 logits (1, C, h, w), valid until the next call; see :class:`RouteGraph`."""
        height, width = next(iter(images.values())).shape[1:3]
        route = Route.of(eo=Modality.EO in images, ir=Modality.IR in images)
        return self._model(route, (height, width))([images[modality] for modality in route.modalities])

    def _answer(self, logits: torch.Tensor, size: tuple[int, int], *, confidence: bool) -> torch.Tensor:
        """The maps of logits, which may be overwritten."""
        return answer(logits, size, confidence=confidence)

    def _model(self, route: Route, size: tuple[int, int]) -> Model:
        models = self._models.find_or(size, dict)
        if route not in models:
            together = {route} if route is Route.EO_ONLY else self._checkpoint.network.routes
            for each in sorted(together - models.keys()):
                self._options.report(f"{self.name}: making {each.value} ready at {size[0]}x{size[1]}")
                models[each] = self._compile(each, size)
        return models[route]

    def _graph(self, route: Route) -> RouteGraph:
        return RouteGraph(self._checkpoint, self._folded, route)

    @abstractmethod
    def _compile(self, route: Route, size: tuple[int, int]) -> Model:
        """Make a route ready at a height and width.

        Raises:
            EngineError: if that cannot be done.
        """
