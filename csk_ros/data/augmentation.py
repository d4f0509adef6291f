"""Random changes of a sample: geometry alike on eo, ir and labels, appearance each on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from csk_ros.data.sample import Sample
from csk_ros.labels import UNLABELLED

if TYPE_CHECKING:
    from numpy.typing import NDArray


def augment(sample: Sample, rng: np.random.Generator, *, size: tuple[int, int], scale: tuple[float, float]) -> Sample:
    """Flip, zoom and crop all; jitter eo's colours; drift ir's gain and offset."""
    flip = rng.random() < 0.5
    factor = float(np.exp(rng.uniform(np.log(scale[0]), np.log(scale[1]))))
    height, width = sample.ir.shape[:2]
    zoomed = (max(1, round(height * factor)), max(1, round(width * factor)))
    top = int(rng.integers(0, max(zoomed[0] - size[0], 0) + 1))
    left = int(rng.integers(0, max(zoomed[1] - size[1], 0) + 1))

    def place(image: NDArray[np.uint8], fill: int, interpolation: int) -> NDArray[np.uint8]:
        image = image[:, ::-1] if flip else image
        # only the window that the crop will show is resized
        y0, x0 = int(top / factor), int(left / factor)
        y1 = min(height, int(np.ceil((top + size[0]) / factor)))
        x1 = min(width, int(np.ceil((left + size[1]) / factor)))
        window = np.ascontiguousarray(image[y0:y1, x0:x1])
        out_h = min(size[0], zoomed[0])
        out_w = min(size[1], zoomed[1])
        window = cv2.resize(window, (out_w, out_h), interpolation=interpolation)
        pad = [(0, size[0] - out_h), (0, size[1] - out_w)] + [(0, 0)] * (image.ndim - 2)
        return np.pad(window, pad, constant_values=fill)

    shrink = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    eo = place(sample.eo, 0, shrink)
    ir = place(sample.ir, 0, shrink)
    labels = None if sample.labels is None else place(sample.labels, UNLABELLED, cv2.INTER_NEAREST)
    return Sample(_jitter(eo, rng), _drift(ir, rng), labels, sample.name, sample.stamp_ns)


def _jitter(eo: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, size=3)
    offset = rng.uniform(-20, 20)
    table = np.clip(np.arange(256)[:, None] * gain + offset, 0, 255).astype(np.uint8)
    return cv2.LUT(eo, table[None])


def _drift(ir: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    table = np.clip(np.arange(256) * rng.uniform(0.8, 1.2) + rng.uniform(-20, 20), 0, 255).astype(np.uint8)
    return cv2.LUT(ir, table)
