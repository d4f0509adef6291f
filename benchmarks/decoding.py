"""Compressed camera images to pixels, as the node's worker reads them and by Pillow, in turn; one thread.

Usage: python benchmarks/decoding.py [EO IR] [--rounds 50]; two image files, or else a rendered street.
"""

from __future__ import annotations

import argparse
import io
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from csk_ros.data.synthetic import SceneDrive
from csk_ros.messages import check_image, read_eo, read_ir
from csk_ros.replay.samples import compressed_message, header

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def main() -> None:
    """Print a line for each camera and format."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="*", metavar="EO IR")
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    eo, ir = _read_files(*arguments.files) if arguments.files else _street()
    for name, pixels, encoding, file_format, read in (
        ("EO JPEG", eo, "rgb8", "jpeg", read_eo),
        ("EO PNG", eo, "rgb8", "png", read_eo),
        ("IR JPEG", ir, "mono8", "jpeg", read_ir),
        ("IR PNG", ir, "mono8", "png", read_ir),
        ("IR PNG, 16 bits", ir.astype(np.uint16) << 6, "mono16", "png", read_ir),
    ):
        message = compressed_message(pixels, encoding, header(0, "camera"), file_format)
        print(f"{name + ':':18}{len(message.data) / 1e3:5.0f} kB, {_times(message, read, arguments.rounds)}")


def _read_files(eo: str, ir: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    with Image.open(eo) as colour, Image.open(ir) as thermal:
        return np.asarray(colour.convert("RGB")), np.asarray(thermal.convert("L"))


def _street() -> tuple[NDArray[np.uint8], NDArray[Any]]:
    sample = SceneDrive(7, frames=1)[0]
    return sample.eo, sample.ir


def _times(message: Any, read: Callable[[Any], NDArray[Any]], rounds: int) -> str:
    times: list[tuple[float, float, float]] = []
    for _ in range(rounds):
        started = time.perf_counter()
        check_image(message)
        checked = time.perf_counter()
        read(message)
        done = time.perf_counter()
        np.asarray(Image.open(io.BytesIO(message.data.tobytes())))
        times.append((checked - started, done - checked, time.perf_counter() - done))
    check, ours, pillow = (median(kind) * 1e3 for kind in zip(*times, strict=True))
    ratio = median(other / own for _, own, other in times)
    return f"checked {check:4.2f} ms, read {ours:5.2f} ms, Pillow {pillow:5.2f} ms ({ratio:.2f}x)"


if __name__ == "__main__":
    main()
