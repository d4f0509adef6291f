"""Arg-max and confidence in two forms, eager and compiled: over channels, and class after class.

Logits of 1/4 of the size are resized, as at the end of a route's graph; one thread; medians of rounds.

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
from torch.nn import functional

from csk_ros.inference.engines.openvino_engine import openvino_core, trace_openvino
from csk_ros.inference.onnx_file import write_onnx
from csk_ros.inference.postprocess import answer, maps_of

if TYPE_CHECKING:
    from collections.abc import Callable

_CLASSES, _STRIDE, _THREADS = 9, 4, 1


class _Tail(nn.Module):
    def __init__(self, size: tuple[int, int], *, over_channels: bool) -> None:
        super().__init__()
        self._size, self._over_channels = size, over_channels

    def forward(self, logits: Tensor) -> Tensor:
        logits = functional.interpolate(logits, size=self._size, mode="bilinear", align_corners=False)
        if self._over_channels:
            return answer(logits, self._size, confidence=True)
        return maps_of(logits, confidence=True)


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
    runs = {
        (runtime, form): run
        for form, over_channels in (("over channels", True), ("class after class", False))
        for runtime, run in _runs(_Tail(size, over_channels=over_channels).eval(), logits).items()
    }
    times: dict[tuple[str, str], list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) * 1e3)
    for (runtime, form), each in sorted(times.items()):
        print(f"{runtime:12} {form:18} {median(each):6.1f} ms")


def _runs(tail: _Tail, logits: Tensor) -> dict[str, Callable[[], object]]:
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
