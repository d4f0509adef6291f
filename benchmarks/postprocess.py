"""Resizing, arg-max and confidence in several forms, eager and compiled.

Over channels; class after class; that with the resizing as a convolution; and without confidence only
the pixels where classes meet. Logits of the shipped network of a rendered street; one thread; medians.

Usage: python benchmarks/postprocess.py [--height 480] [--width 640] [--rounds 50] [--confidence]
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

from csk_ros.data.synthetic import SceneDrive
from csk_ros.inference.edges import answer_at_edges
from csk_ros.inference.engines.torch_engine import TorchEngine
from csk_ros.inference.onnx_file import write_onnx
from csk_ros.inference.openvino_graph import trace_openvino
from csk_ros.inference.openvino_library import openvino_core
from csk_ros.inference.postprocess import AnswerGraph, answer
from csk_ros.inference.preprocess import levels
from csk_ros.modality import Modality
from csk_ros.network import load_checkpoint
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if TYPE_CHECKING:
    from collections.abc import Callable

_THREADS = 1


class _OverChannels(nn.Module):
    def __init__(self, size: tuple[int, int], *, confidence: bool) -> None:
        super().__init__()
        self._size, self._maps = size, 1 + confidence

    def forward(self, logits: Tensor) -> Tensor:
        if self._maps > 1:
            return answer(logits, self._size, confidence=True)
        resized = functional.interpolate(logits, size=self._size, mode="bilinear")
        return resized.max(dim=1).indices.to(torch.uint8)


class _ClassAfterClass(nn.Module):
    def __init__(self, size: tuple[int, int], *, confidence: bool) -> None:
        super().__init__()
        self._size = size
        self._answer = AnswerGraph(None, confidence=confidence)

    def forward(self, logits: Tensor) -> Tensor:
        return self._answer(logits, self._size)  # type: ignore[no-any-return]  # a module's call is untyped


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--confidence", action="store_true")
    arguments = parser.parse_args()
    size = arguments.height, arguments.width
    torch.set_num_threads(_THREADS)
    logits, sure = _logits(size), arguments.confidence
    forms = {
        "over channels": _OverChannels(size, confidence=sure),
        "class after class": _ClassAfterClass(size, confidence=sure),
        "as a convolution": AnswerGraph(size, confidence=sure),
    }
    runs = {
        (runtime, form): run
        for form, module in forms.items()
        for runtime, run in _runs(module.eval(), logits).items()
    }
    if not sure:
        runs["torch", "at edges"] = lambda: answer_at_edges(logits, size)
    times: dict[tuple[str, str], list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) * 1e3)
    for (runtime, form), each in sorted(times.items()):
        print(f"{runtime:12} {form:18} {median(each):6.1f} ms")


def _logits(size: tuple[int, int]) -> Tensor:
    """Of the fused route."""
    sample = SceneDrive(frames=1, height=size[0], width=size[1], light="dusk")[0]
    cpu = torch.device("cpu")
    images = {Modality.EO: levels(sample.eo, size, cpu), Modality.IR: levels(sample.ir, size, cpu)}
    return TorchEngine(load_checkpoint(share_path(DEFAULT_CHECKPOINT)), cpu).logits(images).contiguous()


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
