"""Random changes to a sample: geometry alike on images and labels, light and drift per camera."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from csk_ros.labels import UNLABELLED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csk_ros.data.sample import Sample

_LUMA = (0.299, 0.587, 0.114)
_NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)
_CHANCES = ("flip", "darkness", "night", "blackout", "washout", "motion_blur")


@dataclass(frozen=True)
class Augmentation:
    """How much a sample is changed; 0 switches a change off, and the default is what training uses.

    Of ``blackout``, ``night`` and ``darkness`` at most one happens to an image.

    Attributes:
        flip: probability of mirroring left and right.
        scale: least and greatest factor of size before cropping.
        color: greatest relative change of the optical image's brightness, contrast and saturation.
        darkness: probability of an optical image darkened to between 5 and 60 %, with the noise of a dusk.
        night: probability of one at 3 to 30 % of its light, tinted as by lamps, with a strong sensor noise.
        blackout: probability of one in which nothing is seen: at most 4 % of its light is left.
        washout: probability of one blended by half or more with a flat grey or white, as in fog or glare.
        blur: greatest standard deviation of optical blur, pixels.
        motion_blur: probability of an optical image smeared along a line of 3 pixels to 2.5 % of its width.
        eo_noise: greatest standard deviation of optical noise, share of the full range.
        gain: greatest relative drift of the thermal gain.
        offset: greatest drift of the thermal level, share of the image's own range.
        noise: greatest standard deviation of thermal noise, share of the image's own range.
        ir_blur: greatest standard deviation of thermal blur, pixels.
        shift: greatest misregistration of the optical against the thermal image, pixels.

    Raises:
        ValueError: for values out of range.
    """

    flip: float = 0.5
    scale: tuple[float, float] = (0.5, 2.0)
    color: float = 0.3
    darkness: float = 0.15
    night: float = 0.0
    blackout: float = 0.0
    washout: float = 0.0
    blur: float = 1.2
    motion_blur: float = 0.0
    eo_noise: float = 0.0
    gain: float = 0.25
    offset: float = 0.12
    noise: float = 0.02
    ir_blur: float = 0.0
    shift: float = 2.0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is {self.scale}: give a least and a greatest factor above 0")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "scale" and value < 0:
                raise ValueError(f"{field.name} is {value}: must not be negative")
        for name in (*_CHANCES, "color", "eo_noise", "gain"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is {getattr(self, name)}: must be 0 to 1")
        if (together := self.blackout + self.night + self.darkness) > 1 + 1e-9:
            raise ValueError(f"blackout, night and darkness are {together:g} together: must be at most 1")


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
        ir=_change_ir(ir, rng, settings),
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


def _change_eo(image: NDArray[Any], rng: np.random.Generator, settings: Augmentation) -> NDArray[Any]:
    """Light, then lens, then sensor."""
    light, noise = _light(rng, settings)
    matrix = light @ _color(rng, settings)
    if rng.random() < settings.washout:
        share, level = rng.uniform(0.5, 1.0), rng.uniform(60, 255)
        matrix *= 1 - share
        matrix[:, 3] += share * level
        noise = max(noise, rng.uniform(0, 4))
    changed = _blur(cv2.transform(image, matrix), settings.blur * rng.uniform(-1, 1))
    if rng.random() < settings.motion_blur:
        changed = _smear(changed, rng)
    return _add_noise(changed, float(np.hypot(noise, 255 * settings.eo_noise * rng.uniform())), rng)


def _color(rng: np.random.Generator, settings: Augmentation) -> NDArray[np.float64]:
    """Random saturation, contrast and brightness as one affine map of (R, G, B), shape (3, 4)."""
    brightness, contrast, saturation = 1 + settings.color * rng.uniform(-1, 1, 3)
    mixed = saturation * np.eye(3) + (1 - saturation) * np.array(_LUMA)
    matrix = np.column_stack([contrast * mixed, np.full(3, 128 * (1 - contrast))])
    return np.asarray(brightness * matrix)


def _light(rng: np.random.Generator, settings: Augmentation) -> tuple[NDArray[np.float64], float]:
    """The light that is left, a map of (R, G, B) of shape (3, 3), and the noise in grey levels."""
    chance = rng.random()
    if chance < settings.blackout:
        return np.eye(3) * rng.uniform(0, 0.04), rng.uniform(0, 3)
    if chance < settings.blackout + settings.night:
        tint = rng.uniform(0.7, 1.3, 3)
        return np.diag(tint * rng.uniform(0.03, 0.3)), rng.uniform(3, 12)
    if chance < settings.blackout + settings.night + settings.darkness:
        return np.eye(3) * rng.uniform(0.05, 0.6), rng.uniform(0, 3)
    return np.eye(3), 0.0


def _change_ir(image: NDArray[Any], rng: np.random.Generator, settings: Augmentation) -> NDArray[Any]:
    gain = 1 + settings.gain * rng.uniform(-1, 1)
    offset = settings.offset * rng.uniform(-1, 1)
    noise = settings.noise * rng.uniform()
    low, high = np.percentile(image[::4, ::4], (1, 99))  # of enough pixels, and much quicker than of all
    span, middle = max(float(high - low), 1.0), float(low + high) / 2
    greatest = np.iinfo(image.dtype).max
    levels = (np.arange(greatest + 1) - middle) * gain + (middle + offset * span)
    table = np.rint(levels.clip(0, greatest)).astype(image.dtype)
    changed = _blur(table[image], settings.ir_blur * rng.uniform(-1, 1))
    return _add_noise(changed, noise * span, rng)


def _blur(image: NDArray[Any], sigma: float) -> NDArray[Any]:
    """Gaussian blur, from 0.3 pixels on: less changes nothing."""
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.3 else image


def _smear(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """The mean along a line of random direction and length: a camera that moves while it exposes."""
    half = rng.uniform(3, max(0.025 * image.shape[1], 4)) / 2
    angle = rng.uniform(0, np.pi)
    reach = int(np.ceil(half))
    end = np.rint(half * np.array((np.cos(angle), np.sin(angle)))).astype(int)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    cv2.line(kernel, (reach - end).tolist(), (reach + end).tolist(), (1.0,))
    kernel += kernel[::-1, ::-1]  # a drawn line leans to one side; labels must not seem to move
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def _add_noise(image: NDArray[Any], sigma: float, rng: np.random.Generator) -> NDArray[Any]:
    """Gaussian noise of 256 values, which takes a tenth of the time of one with all values."""
    if not sigma:
        return image
    words = rng.integers(0, 2**64, -(-image.size // 8), np.uint64)
    chosen = words.view(np.uint8)[: image.size].reshape(image.shape)
    noise = cv2.LUT(chosen, _NORMAL * np.float32(sigma))
    depth = cv2.CV_8U if image.dtype == np.uint8 else cv2.CV_16U
    return cv2.add(image, noise, dtype=depth)
