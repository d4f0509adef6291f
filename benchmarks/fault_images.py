"""Real images as messages, whole or spoilt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from csk_ros.data import open_samples
from csk_ros.messages import fill_image

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

_LARGEST = 2**32 - 1


def save_images(spec: str, path: Path, *, most: int = 24) -> None:
    """Renders or reads the first samples of a data set once, so that cameras start at once afterwards.

    Args:
        spec: as for :func:`csk_ros.data.open_samples`.
        path: the new ``.npz`` file.
        most: how many samples.
    """
    samples = open_samples(spec)
    chosen = [samples[index] for index in range(min(most, len(samples)))]
    np.savez(path, eo=np.stack([one.eo for one in chosen]), ir=np.stack([one.ir for one in chosen]))


class CameraImages:
    """The images of one camera, cycled, each with fresh noise of one level.

    Args:
        pixels: uint8 (N, H, W, 3) of an optical, uint8 or uint16 (N, H, W) of a thermal camera.
    """

    def __init__(self, pixels: NDArray[Any]) -> None:
        self._pixels = pixels
        rng = np.random.default_rng(0)
        self._noise = rng.integers(0, 2, 2 * pixels[0].size, dtype=np.uint8).astype(pixels.dtype)

    def pixels(self, content: int) -> NDArray[Any]:
        """The image with a number; equal numbers give equal images."""
        image = self._pixels[content // 2 % len(self._pixels)]
        first = int(np.random.default_rng(content).integers(image.size))
        noisy: NDArray[Any] = image ^ self._noise[first : first + image.size].reshape(image.shape)
        return noisy


def fill(message: Any, pixels: NDArray[Any], header: Any, spoilt: Iterable[str] = ()) -> None:
    """Writes pixels into a fresh ``sensor_msgs/Image``, spoilt in the ways named (see ``SPOILING``)."""
    ways = set(spoilt)
    pixels = _spoil_pixels(pixels, ways)
    if pixels.dtype == np.uint16:
        big = "big endian" in ways
        rows = pixels.astype(">u2" if big else "<u2")
        fill_image(message, rows.view(np.uint8), "mono16", header)
        message.width, message.is_bigendian = pixels.shape[1], int(big)
    else:
        fill_image(message, pixels, "rgb8" if pixels.ndim == 3 else "mono8", header)
    _spoil_fields(message, ways)


def _spoil_pixels(pixels: NDArray[Any], ways: set[str]) -> NDArray[Any]:
    if "other size" in ways:
        pixels = np.ascontiguousarray(pixels[::2, ::2])
    noise = pixels % 4
    greatest = np.iinfo(pixels.dtype).max
    for way, spoilt in (("black", noise), ("blown out", greatest - noise), ("flat", greatest // 2 + noise)):
        if way in ways:
            pixels = spoilt
    if ways & {"sixteen bit", "big endian"} and pixels.dtype == np.uint8:
        grey = pixels if pixels.ndim == 2 else pixels[..., 1]
        return grey.astype(np.uint16) * 64 + 20_000
    return pixels


def _spoil_fields(message: Any, ways: set[str]) -> None:
    if "truncated" in ways:
        del message.data[len(message.data) // 2 :]
    if "wrong step" in ways:
        message.step = 1
    if "unknown encoding" in ways:
        message.encoding = "pink noise"
    if "absurd size" in ways:
        message.height = message.width = _LARGEST
    if "empty" in ways:
        message.height = message.width = message.step = 0
        del message.data[:]
