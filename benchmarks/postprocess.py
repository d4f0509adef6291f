"""Resizing, arg-max and confidence in three forms, eager and compiled.

Over channels; class after class; and that with the resizing as a convolution. Logits of 1/4 of the size, as a
network gives them; one thread; medians of rounds.

Usage: python benchmarks/postprocess.py [--height 480] [--width 640] [--rounds 50]
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING

import onnxruntime
import torch
from torch import Tensor, nn

from csk_ros.inference.engines.openvino_engine import openvino_core, trace_openvino
from csk_ros.inference.onnx_file import write_onnx
from csk_ros.inference.postprocess import AnswerGraph, answer

if TYPE_CHECKING:
    from collections.abc import Callable

_CLASSES, _STRIDE, _THREADS = 9, 4, 1


class _OverChannels(nn.Module):
    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self._size = size

    def forward(self, logits: Tensor) -> Tensor:
        return answer(logits, self._size, confidence=True)


class _ClassAfterClass(nn.Module):
    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self._size = size
        self._answer = AnswerGraph(None, confidence=True)

    def forward(self, logits: Tensor) -> Tensor:
        return self._answer(logits, self._size)  # type: ignore[no-any-return]  # a module's call is untyped


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    size = arguments.height, arguments.width
    torch.set_num_threads(_THREADS)
    logits = torch.randn(1, _CLASSES, size[0] // _STRIDE, size[1] // _STRIDE)
    forms = {
        "over channels": _OverChannels(size),
        "class after class": _ClassAfterClass(size),
        "as a convolution": AnswerGraph(size, confidence=True),
    }
    runs = {
        (runtime, form): run
        for form, module in forms.items()
        for runtime, run in _runs(module.eval(), logits).items()
    }
    times: dict[tuple[str, str], list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) * 1e3)
    for (runtime, form), each in sorted(times.items()):
        print(f"{runtime:12} {form:18} {median(each):6.1f} ms")


def _runs(tail: nn.Module, logits: Tensor) -> dict[str, Callable[[], object]]:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = _THREADS
    content = write_onnx(tail, (logits,), ("maps",), inputs=("logits",))
    session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": _THREADS}
    compiled = openvino_core().compile_model(trace_openvino(tail, (logits,)), "CPU", hints)
    given = logits.numpy()

    def eager() -> Tensor:
        with torch.inference_mode():
            return tail(logits)  # type: ignore[no-any-return]  # a module's call is untyped

    return {
        "torch": eager,
        "onnxruntime": lambda: session.run(None, {"logits": given}),
        "openvino": lambda: compiled([given]),
    }


if __name__ == "__main__":
    main()
