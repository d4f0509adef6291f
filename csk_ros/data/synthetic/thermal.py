"""The thermal camera: temperatures and emissivities to radiance, optics, sensor and gain control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from csk_ros.data.synthetic import textures
from csk_ros.data.synthetic.ground import SKY_ROW

if TYPE_CHECKING:
    from cv2.typing import MatLike
    from numpy.typing import NDArray

    from csk_ros.data.synthetic.view import View

_KELVIN = 273.15
_WIEN_K = 1438.777  # h c / (k lambda) at a wavelength of 10 um, in kelvin
_SKIN_C = 33.5
_CLEAR_AIR_EXTINCTION = 0.0012
_FOG_SHARE = 0.25  # long-wave infrared sees about four times as far through fog as the eye
_MEDIAN_COUNT, _HOT_COUNT = 66.0, 200.0
COUNTS_PER_KELVIN = 100.0


@dataclass(frozen=True)
class ThermalCamera:
    """One camera's own traits.

    Attributes:
        noise: temporal noise (NETD), kelvin.
        pattern: fixed-pattern noise of this sensor, kelvin, shape (H, W).
        blur: standard deviation of the optics' blur, pixels.
        halo: strength of the halo around hot things.
        least_span: the gain control never stretches fewer kelvin than this over its range.
    """

    noise: float
    pattern: NDArray[np.float32]
    blur: float
    halo: float
    least_span: float

    @classmethod
    def draw(cls, rng: np.random.Generator, height: int, width: int) -> ThermalCamera:
        """A camera with random traits: column and pixel pattern, and a slight vignette."""
        columns = rng.standard_normal(width).astype(np.float32) * rng.uniform(0.01, 0.05)
        pixels = textures.noise_window(rng, height, width) * np.float32(0.03)
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        vignette = (x * x + y * y) * np.float32(rng.uniform(-0.5, 0.3))
        return cls(
            noise=float(rng.uniform(0.04, 0.10)),
            pattern=columns + pixels + vignette,
            blur=float(rng.uniform(0.6, 1.1)),
            halo=float(rng.uniform(0.1, 0.3)),
            least_span=float(rng.uniform(9, 16)),
        )

    def expose(self, view: View, rng: np.random.Generator) -> NDArray[np.float32]:
        """The sensor's image in degrees Celsius, shape (H, W); ``rng`` is this frame's."""
        packed = np.stack([_apparent_temperature(view), view.column("ir_texture")], axis=1)
        pixels = packed.view(np.uint64)[:, 0].take(view.seen).view(np.float32).reshape(*view.seen.shape, 2)
        flat, texture_kelvin = cv2.split(pixels)
        image = cv2.add(flat, cv2.multiply(texture_kelvin, view.texture))
        image = cv2.GaussianBlur(image, (5, 5), self.blur)
        image = cv2.scaleAdd(self._halo_of(image), self.halo, image)
        noise = textures.noise_window(rng, *view.seen.shape)
        return np.asarray(cv2.scaleAdd(noise, self.noise, cv2.add(image, self.pattern)), np.float32)

    def _halo_of(self, image: MatLike) -> NDArray[np.float32]:
        """The light that hot things scatter around them."""
        small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        excess = np.maximum(small - (_quantile(small[::2, ::2], 0.5) + 3), 0)
        wide = cv2.GaussianBlur(excess, (0, 0), 3.5)
        return np.asarray(cv2.resize(wide, image.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)

    def gain_control(self, image: NDArray[np.float32], air: float) -> NDArray[np.uint8]:
        """8-bit image: the median at a third of the range, hot things near its top, the cold sky black.

        The level mixes the frame's median with the air's temperature so that it varies slowly.
        """
        sparse = image[::6, ::6]
        level = 0.75 * _quantile(sparse, 0.5) + 0.25 * (air + 0.5)
        span = max(self.least_span, 0.5 * self.least_span + 0.6 * (_quantile(sparse, 0.997) - level))
        gain = (_HOT_COUNT - _MEDIAN_COUNT) / span
        linear = image * np.float32(gain) + np.float32(_MEDIAN_COUNT - gain * level)
        return linear.clip(0, 255, out=linear).astype(np.uint8)


def raw_counts(image: NDArray[np.float32]) -> NDArray[np.uint16]:
    """16-bit radiometric counts: hundredths of a kelvin above absolute zero."""
    return np.asarray(np.rint((image + np.float32(_KELVIN)) * COUNTS_PER_KELVIN), np.uint16)


def _apparent_temperature(view: View) -> NDArray[np.float32]:
    """What the camera reads for each material, degrees Celsius, shape (K,).

    Emission by Planck's law at 10 um, reflection of sky and surroundings, then the air in between.
    """
    light, of = view.light, view.column
    own = light.air + of("body") * (_SKIN_C - light.air) + of("over") + of("stored") * light.stored
    own += of("solar") * light.solar * (0.4 + 0.6 * of("shade"))
    sky = _radiance(light.sky_temperature - 12)
    reflected = of("sky") * sky + (1 - of("sky")) * _radiance(light.air)
    emitted = of("emissivity") * _radiance(own) + (1 - of("emissivity")) * reflected
    passed = np.exp(-(_CLEAR_AIR_EXTINCTION + _FOG_SHARE * light.fog) * view.ahead)
    seen = _temperature(passed * emitted + (1 - passed) * _radiance(light.air))
    seen[SKY_ROW] = light.sky_temperature + min(250 * light.fog, 12.0)
    return seen.astype(np.float32)


def _quantile(values: MatLike, share: float) -> float:
    """The value below which that share of all lies; much faster than numpy's for few values."""
    ordered = np.sort(values, axis=None)
    return float(ordered[int(share * (ordered.size - 1))])


def _radiance(celsius: NDArray[np.float32] | float) -> NDArray[np.float64]:
    """Planck's law at 10 um, without its constant factor."""
    return 1 / (np.exp(_WIEN_K / (np.asarray(celsius, np.float64) + _KELVIN)) - 1)


def _temperature(radiance: NDArray[np.float64]) -> NDArray[np.float64]:
    return _WIEN_K / np.log(1 / radiance + 1) - _KELVIN
