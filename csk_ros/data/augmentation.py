"""Random changes of a sample: geometry alike on eo, ir and labels, appearance of each on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from csk_ros.data.sample import Sample
from csk_ros.labels import UNLABELLED

if TYPE_CHECKING:
    from numpy.typing import NDArray


def augment(
    sample: Sample,
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    scale: tuple[float, float],
    focus: float = 0.0,
) -> Sample:
    """Flip, zoom and crop all three; jitter eo's colours; drift ir's gain and offset.

    Args:
        sample: with uint8 thermal.
        rng: the same state gives the same result.
        size: height and width of the result; what lies outside the image is black and unlabelled.
        scale: least and greatest zoom.
        focus: chance that the crop is laid around a pixel of one of the classes in the image (each as
            likely, but not class 0), so that small and rare things are met often.

    Returns:
        A new sample of ``size``.
    """
    flip = rng.random() < 0.5
    zoom = float(np.exp(rng.uniform(np.log(scale[0]), np.log(scale[1]))))
    free = np.maximum(np.array(sample.ir.shape[:2]) * zoom - size, 0)
    top, left = rng.uniform(0, free + 1e-9)
    if sample.labels is not None and rng.random() < focus and (found := _some_pixel(sample.labels, rng)):
        y, x = found
        x = sample.labels.shape[1] - 1 - x if flip else x
        top, left = np.clip(np.array((y, x)) * zoom - rng.uniform(0.2, 0.8, 2) * size, 0, free)
    sign, across = (-1, sample.ir.shape[1] * zoom - 1) if flip else (1, 0)
    matrix = np.array([[sign * zoom, 0, across - left], [0, zoom, -top]])

    def place(image: NDArray[np.uint8], fill: int, interpolation: int) -> NDArray[np.uint8]:
        border = (fill,) * 4
        warped = cv2.warpAffine(image, matrix, size[::-1], flags=interpolation, borderValue=border)
        return warped.astype(np.uint8, copy=False)

    eo = _tone(place(sample.eo, 0, cv2.INTER_LINEAR), rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3), rng)
    ir = _tone(place(sample.ir.astype(np.uint8), 0, cv2.INTER_LINEAR), rng.uniform(0.8, 1.2, 1), rng)
    labels = sample.labels
    if labels is not None:
        labels = place(labels, UNLABELLED, cv2.INTER_NEAREST)
    return Sample(eo, ir, labels, sample.name, sample.stamp_ns)


def _some_pixel(labels: NDArray[np.uint8], rng: np.random.Generator) -> tuple[int, int] | None:
    """Row and column of a random pixel of a random class but 0; None if there is none."""
    classes = np.flatnonzero(np.bincount(labels.ravel(), minlength=UNLABELLED)[1:UNLABELLED]) + 1
    if not len(classes):
        return None
    pixels = np.flatnonzero(labels == rng.choice(classes))
    row, column = divmod(int(rng.choice(pixels)), labels.shape[1])
    return row, column


def _tone(image: NDArray[np.uint8], gain: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    table = np.arange(256)[:, None] * gain + rng.uniform(-20, 20)
    table = np.clip(table, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None] if len(gain) > 1 else table).astype(np.uint8, copy=False)
