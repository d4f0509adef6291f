"""Camera images to the working size, one thread: bytes as the Segmenter and as torch resize them, and floats.

Usage: python benchmarks/resizing.py [--height 480] [--width 640] [--rounds 30]
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from csk_ros.inference.preprocess import resize_image

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZES = ((240, 320), (360, 480), (600, 800))
_CHANNELS = {"eo": 3, "ir": 1}


def main() -> None:
    """Print a line for each size and modality."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for size in _SIZES:
        for name, channels in _CHANNELS.items():
            shape = (1, arguments.height, arguments.width, channels)
            image = torch.randint(0, 256, shape, dtype=torch.uint8).permute(0, 3, 1, 2)
            times = _times(image, size, arguments.rounds)
            print(f"{name} to {size[0]}x{size[1]}: {', '.join(map(_described, times, times.values()))}")


def _times(image: torch.Tensor, size: tuple[int, int], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each way, in turn."""
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "bytes": lambda: resize_image(image, size),
        "torch's bytes": lambda: _by_torch(image, size),
        "floats": lambda: resize_image(image.float(), size),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            times[name].append((time.perf_counter() - started) * 1e3)
    return times


def _by_torch(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    shrinks = size[0] < image.shape[2] or size[1] < image.shape[3]
    return functional.interpolate(image, size=size, mode="bilinear", antialias=shrinks)


def _described(name: str, times: list[float]) -> str:
    return f"{name} {median(times):.2f} ms"


if __name__ == "__main__":
    main()
