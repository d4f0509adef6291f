"""Camera images to the working size: as bytes, as the Segmenter does on the CPU, and as floats; one thread.

Usage: python benchmarks/resizing.py [--height 480] [--width 640] [--rounds 30]
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from csk_ros.inference.preprocess import resize_image

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
            times: dict[str, list[float]] = {"bytes": [], "floats": []}
            for _ in range(arguments.rounds):
                started = time.perf_counter()
                resize_image(image, size)
                halfway = time.perf_counter()
                resize_image(image.float(), size)
                times["bytes"].append((halfway - started) * 1e3)
                times["floats"].append((time.perf_counter() - halfway) * 1e3)
            ratio = median(slow / fast for fast, slow in zip(*times.values(), strict=True))
            ms = ", ".join(f"{kind} {median(each):5.2f} ms" for kind, each in times.items())
            print(f"{name} to {size[0]}x{size[1]}: {ms}, {ratio:.1f}x")


if __name__ == "__main__":
    main()
