"""What packing pixels into channels saves in int8: each route with it and without, in turn.

Usage: python benchmarks/packing.py [--threads 2] [--rounds 200]

The image's copy into the model's memory is included, the answer is not.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from csk_ros.inference.int8_models import find_int8
from csk_ros.inference.model_cache import fingerprint
from csk_ros.inference.openvino_bytes import pack_pixels
from csk_ros.inference.openvino_graph import reshape_openvino
from csk_ros.inference.openvino_library import openvino_core
from csk_ros.network import load_checkpoint
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def frame_of(model: Any, threads: int) -> Callable[[], float]:
    """A function that runs one frame and gives its milliseconds."""
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino_core().compile_model(model, "CPU", hints).create_infer_request()
    images = [np.random.default_rng(0).integers(0, 256, port.shape).astype(np.uint8) for port in model.inputs]
    own = [request.get_input_tensor(index).data for index in range(len(images))]

    def run() -> float:
        started = perf_counter()
        for memory, image in zip(own, images, strict=True):
            memory[...] = image
        request.infer()
        return (perf_counter() - started) * 1e3

    return run


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", default=str(share_path(DEFAULT_CHECKPOINT)))
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.checkpoint)
    models = find_int8(fingerprint(checkpoint), checkpoint.path, None)
    if models is None:
        parser.error(f"{arguments.checkpoint} has no *.int8.zip beside it")
    print("| route | as calibrated, ms | packed, ms | ratio |\n| --- | ---: | ---: | ---: |")
    for route in sorted(models.routes):
        plain = reshape_openvino(models.read(route), tuple(arguments.size))
        frames = [frame_of(model, arguments.threads) for model in (plain, pack_pixels(plain))]
        times: list[tuple[float, float]] = []
        for number in range(arguments.rounds + arguments.rounds // 10):
            first = number % 2  # whichever comes second may find its memory colder
            pair = {index: frames[index]() for index in (first, 1 - first)}
            times.append((pair[0], pair[1]))
        times = times[arguments.rounds // 10 :]
        before, after = (median(column) for column in zip(*times, strict=True))
        ratio = median(packed / own for own, packed in times)
        print(f"| {route.value} | {before:.2f} | {after:.2f} | {ratio:.3f} |", flush=True)


if __name__ == "__main__":
    main()
