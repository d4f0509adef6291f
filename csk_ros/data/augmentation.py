"""Random changes to a sample: geometry alike on images and labels, light and drift per camera."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from csk_ros.labels import UNLABELLED

if TYPE_CHECKING:
    from cv2.typing import MatLike
    from numpy.typing import NDArray

    from csk_ros.data.sample import Sample

_LUMA = np.array((0.299, 0.587, 0.114), np.float32)


@dataclass(frozen=True)
class Augmentation:
    """How much a sample is changed; 0 switches a change off, and the default is what training uses.

    Attributes:
        flip: probability of mirroring left and right.
        scale: least and greatest factor of size before cropping.
        color: greatest relative change of the optical image's brightness, contrast and saturation.
        darkness: probability of an optical image darkened to between 5 and 60 %, with the noise of a night.
        blackout: probability of an optical image in which nothing is seen: at most 4 % of its light is left.
        washout: probability of an optical image that lost half of its contrast or more, as in fog or glare.
        blur: greatest standard deviation of optical blur, pixels.
        gain: greatest relative drift of the thermal gain.
        offset: greatest drift of the thermal level, share of the image's own range.
        noise: greatest standard deviation of thermal noise, share of the image's own range.
        shift: greatest misregistration of the optical against the thermal image, pixels.

    Raises:
        ValueError: for values out of range.
    """

    flip: float = 0.5
    scale: tuple[float, float] = (0.5, 2.0)
    color: float = 0.3
    darkness: float = 0.15
    blackout: float = 0.0
    washout: float = 0.0
    blur: float = 1.2
    gain: float = 0.25
    offset: float = 0.12
    noise: float = 0.02
    shift: float = 2.0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is {self.scale}: give a least and a greatest factor above 0")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "scale" and value < 0:
                raise ValueError(f"{field.name} is {value}: must not be negative")
        for name in ("flip", "darkness", "blackout", "washout", "color", "gain"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is {getattr(self, name)}: must be 0 to 1")


def augment(
    sample: Sample,
    rng: np.random.Generator,
    settings: Augmentation | None = None,
    *,
    size: tuple[int, int] | None = None,
) -> Sample:
    """A changed copy of ``sample``, which depends on ``rng`` alone.

    Flip, scaling and crop act alike on EO, IR and labels. Labels are taken from the nearest pixel;
    outside the image they are 255, and EO and IR are 0. The rest acts on one camera's image only.

    Args:
        sample: to change; stays as it is.
        rng: the source of all chance.
        settings: how much; None is the default.
        size: height and width of the result; None keeps the sample's.
    """
    settings = settings or Augmentation()
    mapping, size = _mapping(sample.ir.shape, size or sample.ir.shape, rng, settings)
    eo_mapping = mapping.copy()
    eo_mapping[:, 2] += rng.uniform(-1, 1, 2) * settings.shift
    eo = cv2.warpAffine(sample.eo, eo_mapping, size, flags=cv2.INTER_LINEAR)
    ir = cv2.warpAffine(sample.ir, mapping, size, flags=cv2.INTER_LINEAR)
    return replace(
        sample,
        eo=_change_eo(eo, rng, settings),
        ir=_change_ir(ir, sample.ir.dtype, rng, settings),
        labels=None if sample.labels is None else _warp_labels(sample.labels, mapping, size),
    )


def _mapping(
    have: tuple[int, ...], want: tuple[int, ...], rng: np.random.Generator, settings: Augmentation
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """The affine map from source to target pixels, shape (2, 3), and the target's (width, height)."""
    (height, width), (rows, columns) = have[:2], want[:2]
    low, high = np.log(settings.scale)
    factor = float(np.exp(rng.uniform(low, high))) * max(rows / height, columns / width)
    left, top = rng.uniform(size=2) * (columns - width * factor, rows - height * factor)
    # pixel centres: u' + 0.5 = factor * (u + 0.5) + left
    across = np.array((factor, 0, left + 0.5 * factor - 0.5))
    if rng.random() < settings.flip:
        across = np.array((-1, 1, -1)) * across + (0, 0, columns - 1)
    return np.stack([across, (0, factor, top + 0.5 * factor - 0.5)]), (columns, rows)


def _warp_labels(
    labels: NDArray[np.uint8], mapping: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.uint8]:
    warped = cv2.warpAffine(labels, mapping, size, flags=cv2.INTER_NEAREST, borderValue=(UNLABELLED,))
    return np.asarray(warped, np.uint8)


def _change_eo(image: MatLike, rng: np.random.Generator, settings: Augmentation) -> NDArray[np.uint8]:
    brightness, contrast, saturation = 1 + settings.color * rng.uniform(-1, 1, 3)
    light, noise = _light(rng, settings)
    sigma = settings.blur * rng.uniform(-1, 1)
    pixels = image.astype(np.float32)
    if settings.color:
        grey = (pixels @ _LUMA)[..., None]
        pixels = grey + saturation * (pixels - grey)
        pixels = (pixels - 128) * contrast + 128
    pixels *= np.float32(brightness * light)
    if rng.random() < settings.washout:
        share = np.float32(rng.uniform(0.5, 1.0))
        pixels += share * (np.float32(rng.uniform(60, 255)) - pixels)
        noise = max(noise, float(rng.uniform(0, 4)))
    if noise:
        pixels += np.float32(noise) * rng.standard_normal(pixels.shape, np.float32)
    changed = np.asarray(np.clip(pixels, 0, 255), np.uint8)
    return np.asarray(cv2.GaussianBlur(changed, (0, 0), sigma), np.uint8) if sigma > 0.3 else changed


def _light(rng: np.random.Generator, settings: Augmentation) -> tuple[float, float]:
    """The share of light that is left, and the noise of the sensor in grey levels."""
    chance = rng.random()
    if chance < settings.blackout:
        return float(rng.uniform(0, 0.04)), float(rng.uniform(0, 3))
    if chance < settings.blackout + settings.darkness:
        return float(rng.uniform(0.05, 0.6)), float(rng.uniform(0, 3))
    return 1.0, 0.0


def _change_ir(
    image: MatLike,
    dtype: np.dtype[np.uint8] | np.dtype[np.uint16],
    rng: np.random.Generator,
    settings: Augmentation,
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    gain = 1 + settings.gain * rng.uniform(-1, 1)
    offset = settings.offset * rng.uniform(-1, 1)
    noise = settings.noise * rng.uniform()
    low, high = np.percentile(image, (1, 99))
    span, middle = max(float(high - low), 1.0), float(low + high) / 2
    pixels = (image.astype(np.float32) - middle) * np.float32(gain) + np.float32(middle + offset * span)
    pixels += np.float32(noise * span) * rng.standard_normal(image.shape, np.float32)
    rounded = np.clip(np.rint(pixels), 0, np.iinfo(dtype).max)
    return np.asarray(rounded, np.uint8) if dtype == np.uint8 else np.asarray(rounded, np.uint16)
