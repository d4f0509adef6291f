"""CUDA graphs: all kernels of a frame launched by one call, since launching them takes longer than they do.

Written after torch's documentation of ``torch.cuda.CUDAGraph``; not run on a GPU yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    Function = Callable[[Sequence[Tensor]], Tensor]

_WARM_UPS = 3
_LEAST_AGREEMENT = 0.99


class CudaGraph:
    """A function of images of fixed shapes, captured once and replayed for each frame.

    Args:
        function: from tensors on a CUDA device to uint8 ids on it; it never waits for the device.
        examples: its inputs, of the shapes and types that all later ones have.
        pool: the :attr:`pool` of a graph that never runs at the same time, to share its memory.

    Attributes:
        pool: of the memory that the function works in.

    Raises:
        RuntimeError: if it cannot be captured, or answers otherwise than without a graph.
    """

    def __init__(self, function: Function, examples: Sequence[Tensor], pool: Any = None) -> None:
        self._inputs = [example.clone() for example in examples]
        device = examples[0].device
        # benchmark: the shapes never change, so cuDNN may take the time to find its fastest convolutions
        with torch.cuda.device(device), torch.backends.cudnn.flags(enabled=True, benchmark=True):
            expected = _warm_up(function, self._inputs)
            self._graph = torch.cuda.CUDAGraph()
            # thread_local: what other threads of the process do on the device is none of its business
            with torch.cuda.graph(self._graph, pool, capture_error_mode="thread_local"):
                self._output = function(self._inputs)
        self.pool = self._graph.pool()
        agreement = (self(examples) == expected).float().mean().item()
        if agreement < _LEAST_AGREEMENT:
            raise RuntimeError(f"a CUDA graph gives {100 * agreement:.1f} % of the ids that it should")

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        """The function's answer, the caller's to keep."""
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._output.clone()


def _warm_up(function: Function, inputs: Sequence[Tensor]) -> Tensor:
    """The answer; libraries have then chosen and allocated what they may not while a graph is captured."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's stub lacks it
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UPS):
            answer = function(inputs)
    torch.cuda.current_stream().wait_stream(side)
    return answer
