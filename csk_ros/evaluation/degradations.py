"""What happens to images on a vehicle, and what robustness benchmarks do to them.

Every change takes and returns images as a camera gives them, and leaves its input alone. Pixel values are
changed as they are stored (gamma-encoded), without a camera model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    EO = NDArray[np.uint8]
    Pixel = TypeVar("Pixel", np.uint8, np.uint16)

FOG_LEVEL = 200.0
"""The grey that fog turns an optical image into."""

_BLOCKS_PER_SIDE = 15


def darken(eo: EO, left: float) -> EO:
    """Every pixel value times ``left`` (0 to 1)."""
    return _to_uint8(eo * np.float32(left))


def overexpose(eo: EO, gain: float) -> EO:
    """Every pixel value times ``gain``, clipped at 255."""
    return _to_uint8(eo * np.float32(gain))


def wash_out(eo: EO, left: float) -> EO:
    """Contrast around the image's own mean value, times ``left`` (0 to 1): a dirty or wet lens."""
    middle = np.float32(eo.mean(dtype=np.float64))
    return _to_uint8(middle + (eo - middle) * np.float32(left))


def fog(eo: EO, left: float) -> EO:
    """A share ``left`` (0 to 1) of the image, the rest a bright grey (:data:`FOG_LEVEL`)."""
    return _to_uint8(eo * np.float32(left) + np.float32(FOG_LEVEL * (1 - left)))


def motion_blur(eo: EO, pixels: float) -> EO:
    """The mean along a horizontal line of so many pixels: a camera that turns while it exposes."""
    return np.asarray(cv2.blur(eo, (round(pixels), 1), borderType=cv2.BORDER_REPLICATE), np.uint8)


def shift(eo: EO, pixels: float) -> EO:
    """The image moved right by so many pixels, its left edge repeated: misregistration of the cameras."""
    moved = min(round(pixels), eo.shape[1] - 1)
    return np.concatenate([np.repeat(eo[:, :1], moved, axis=1), eo[:, : eo.shape[1] - moved]], axis=1)


def lose_regions(image: NDArray[Pixel], share: float, rng: np.random.Generator) -> NDArray[Pixel]:
    """A share of the image, in random squares of a fifteenth of its shorter side, set to 0."""
    height, width = image.shape[:2]
    side = max(min(height, width) // _BLOCKS_PER_SIDE, 1)
    rows, columns = -(-height // side), -(-width // side)
    lost = np.zeros(rows * columns, bool)
    lost[rng.permutation(lost.size)[: round(share * lost.size)]] = True
    pixels = lost.reshape(rows, columns).repeat(side, axis=0).repeat(side, axis=1)[:height, :width]
    changed = image.copy()
    changed[pixels] = 0
    return changed


def add_noise(
    image: NDArray[Pixel], density: float, sigma: float, rng: np.random.Generator
) -> NDArray[Pixel]:
    """Gaussian noise, then salt and pepper.

    Args:
        image: uint8, whose range is 0 to 255, or uint16, whose range is that of its own pixels (16-bit
            thermal counts fill a small part of theirs).
        density: share of pixels that become the range's lowest or highest value, half each.
        sigma: standard deviation of the Gaussian noise as a share of the range; 0 adds none.
        rng: the source of all chance.
    """
    low, high = (0, 255) if image.dtype == np.uint8 else (int(image.min()), int(image.max()))
    changed = image.copy()
    if sigma:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(sigma * (high - low))
        changed[...] = np.rint(np.clip(image + noise, low, high))
    hit = rng.random(image.shape[:2], np.float32)
    changed[hit < density / 2] = low
    changed[(hit >= density / 2) & (hit < density)] = high
    return changed


def _to_uint8(values: NDArray[Any]) -> EO:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)
