"""The torch engine: eager torch on the CPU, CUDA graphs of the same on a GPU.

Checked on the CPU; not run on a GPU yet.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from csk_ros.inference.engines.base import DEFAULT_OPTIONS, Engine, EngineOptions
from csk_ros.inference.engines.cuda_graph import CudaGraph
from csk_ros.inference.errors import EngineError
from csk_ros.inference.graph import RouteGraph
from csk_ros.inference.latest_used import LatestUsed
from csk_ros.inference.postprocess import answer
from csk_ros.modality import Modality, Route
from csk_ros.network import fold_batch_norms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from csk_ros.network import Checkpoint

KEPT_GRAPHS = 16
"""CUDA graphs that are kept, the latest used; one for each route and size."""

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TorchEngine(Engine):
    """A copy of the network with folded batch norms and channels-last weights.

    Folding makes a shared convolution into one per modality, so every route has weights of its own.

    Args:
        checkpoint: whose network to run; it is not changed.
        device: CPU or CUDA.
        options: precision ``float32``, on CUDA ``float16``, there and on a CPU that has it ``bfloat16``; the
            threads are torch's in the whole process.

    Raises:
        EngineError: for another precision, one that the device does not compute in, or a device that refuses
            the network.
    """

    name = "torch"
    precisions = tuple(PRECISIONS)
    # Torch's threads wait for each other at every layer: with one of two cores taken by another process, two
    # threads were ten times as slow as one.
    spare_cores = 1

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, options: EngineOptions = DEFAULT_OPTIONS
    ) -> None:
        self.check_precision(options.precision)
        if device.type not in ("cpu", "cuda"):
            raise EngineError(f"engine torch runs on cpu and cuda, not {device}: use engine openvino")
        if device.type == "cpu" and options.precision not in _cpu_precisions():
            raise EngineError(f"this CPU does not compute in {options.precision}: use precision float32")
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self.device = self.runs_on = device
        self.precision = options.precision
        self._confidence, self._report = options.confidence, options.report
        self._captured: LatestUsed[tuple[Any, ...], Callable[[Sequence[torch.Tensor]], torch.Tensor]]
        self._captured = LatestUsed(KEPT_GRAPHS)
        folded = fold_batch_norms(checkpoint.network).requires_grad_(requires_grad=False)
        folded = folded.to(PRECISIONS[options.precision])
        graphs = {route: RouteGraph(checkpoint, folded, route) for route in checkpoint.network.routes}
        try:
            # its own: of two Segmenters one copies while the other computes, and neither waits for the other
            self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]  # torch's stub lacks it
            with self.stream():
                self._graphs = {
                    route: graph.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
                    for route, graph in graphs.items()
                }
        except RuntimeError as error:  # a full, exclusive or broken device
            raise EngineError(f"{device} cannot take the network: {str(error).splitlines()[0]}") from error

    @classmethod
    def suitable_precision(cls, checkpoint: Checkpoint, device: torch.device, options: EngineOptions) -> str:
        """``float32``; on CUDA it says what may be faster, since no speed was measured there."""
        if device.type == "cuda":
            options.report(
                "torch: precision float32; float16 is faster on most GPUs and cost no accuracy where it was "
                "tried: measure with csk bench --device cuda, then set precision"
            )
        return super().suitable_precision(checkpoint, device, options)

    def stream(self) -> AbstractContextManager[Any]:
        """On a GPU a stream of the engine's own."""
        return torch.cuda.stream(self._stream) if self._stream else nullcontext()

    def maps(
        self, images: dict[Modality, torch.Tensor], size: tuple[int, int], *, confidence: bool
    ) -> torch.Tensor:
        """Label ids and confidence of the route that the images make; see :class:`Engine`."""
        if self.device.type != "cuda":
            return answer(self.logits(images), size, confidence=confidence)
        inputs = list(images.values())
        key = *images, *((each.shape, each.dtype) for each in inputs), size
        captured = self._captured.find_or(key, lambda: self._capture(images, size))
        return captured(inputs)[: 1 + confidence]

    def logits(self, images: dict[Modality, torch.Tensor]) -> torch.Tensor:
        """Float32 logits (1, C, h, w) of the route that the images make; see :class:`RouteGraph`."""
        route = Route.of(eo=Modality.EO in images, ir=Modality.IR in images)
        with torch.inference_mode():
            logits: torch.Tensor = self._graphs[route](*(images[m] for m in route.modalities))
        return logits

    def _capture(
        self, images: dict[Modality, torch.Tensor], size: tuple[int, int]
    ) -> Callable[[Sequence[torch.Tensor]], torch.Tensor]:
        """From images to maps, with confidence if it may be asked for: on a GPU that costs nearly nothing."""
        modalities, inputs = zip(*images.items(), strict=True)

        def run(inputs: Sequence[torch.Tensor]) -> torch.Tensor:
            logits = self.logits(dict(zip(modalities, inputs, strict=True)))
            return answer(logits, size, confidence=self._confidence)

        others = (graph.pool for graph in self._captured.values() if isinstance(graph, CudaGraph))
        try:
            return CudaGraph(run, inputs, next(others, None))
        except RuntimeError as error:
            reason = next(iter(str(error).splitlines()), "no reason given")
            self._report(f"torch: without a CUDA graph, so slower than this device can: {reason}")
            return run


def _cpu_precisions() -> tuple[str, ...]:
    """What this CPU computes in, in place of pretending to; torch before 2.9 cannot tell of bfloat16."""
    find: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    has_bfloat16 = any(find().get(name) for name in ("avx512_bf16", "amx_bf16"))
    return ("float32", "bfloat16") if has_bfloat16 else ("float32",)
