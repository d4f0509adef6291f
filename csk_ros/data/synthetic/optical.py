"""The optical camera: light, headlights and lamps, fog, exposure, glare, noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from csk_ros.data.synthetic import textures
from csk_ros.data.synthetic.ground import GROUND_ROWS, SKY_ROW

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csk_ros.data.synthetic.light import Light
    from csk_ros.data.synthetic.view import View

_GAMMA = 2.2
_HEADLIGHT = 0.55
_LAMP_LIGHT = 0.22
_LAMP_RADIUS_M = 4.5
_COLD_WHITE = np.array((0.92, 1.0, 0.80), np.float32)
_WINDOW_GLOW = 1.0  # what glows at most so much is a window: dark by day
_GRID = 8  # pixels per step of slowly varying light
_UNIT = 64  # of an 8-bit factor: 1.0
_TEXTURE_UNIT = 180


@dataclass(frozen=True)
class OpticalCamera:
    """One camera's own traits.

    Attributes:
        noise: standard deviation by day, display counts; rises at night.
        greatest_gain: limit of the automatic exposure, so that nights stay dark.
        headlights: strength of the ego vehicle's own headlights.
        glare: how much light sources spread over the image.
    """

    noise: float
    greatest_gain: float
    headlights: float
    glare: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> OpticalCamera:
        """A camera with random traits."""
        return cls(
            noise=float(rng.uniform(1.0, 2.5)),
            greatest_gain=float(rng.uniform(0.9, 2.8)),
            headlights=float(rng.uniform(0.3, 1.1)),
            glare=float(rng.uniform(0.5, 1.0)),
        )

    def expose(self, view: View, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The RGB image, shape (H, W, 3); ``rng`` is this frame's."""
        packed = np.empty((len(view.rows), 4), np.uint8)
        packed[:, :3] = _display(self._colors(view))
        clear = np.exp(-view.light.fog * view.ahead)
        packed[:, 3] = np.minimum(view.column("eo_texture") * clear * _TEXTURE_UNIT, 255)
        pixels = packed.view(np.uint32)[:, 0].take(view.seen).view(np.uint8).reshape(*view.seen.shape, 4)
        factor = pixels[..., 3] * view.texture * np.float32(_UNIT / _TEXTURE_UNIT) + np.float32(_UNIT)
        top = view.camera.first_ground_row()
        factor[top:] *= self._ground_factor(view, top)
        rgb = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
        plane = cv2.convertScaleAbs(factor)
        image = np.asarray(cv2.multiply(rgb, cv2.merge([plane] * 3), scale=1 / _UNIT), np.uint8)
        if view.light.fog:
            self._veil_ground(view, image[top:], top)
        return self._develop(image, view, rng)

    def _gain(self, light: Light) -> float:
        """The automatic exposure's factor."""
        level = float(light.ambient.mean() + 0.35 * light.sun.mean())
        return min(self.greatest_gain, 0.62 / level)

    def _colors(self, view: View) -> NDArray[np.float32]:
        """Exposed linear colour of each material, shape (K, 3); ground as where lamps light it most."""
        light, glow = view.light, view.column("glow")
        beam = self.headlights * light.artificial * _HEADLIGHT * _beam(view.aside, view.ahead)
        pool = light.artificial * _lamp_light(view.aside, view.ahead, view.lamps)
        beam[GROUND_ROWS], pool[GROUND_ROWS] = 0, self._brightest(light)
        lit = light.ambient + light.sun * view.column("shade")[:, None]
        lit = lit + (beam * (1 + view.column("retro")) + pool)[:, None] * _COLD_WHITE
        lit *= np.where((glow > 0) & (glow <= _WINDOW_GLOW), np.float32(0.06), np.float32(1))[:, None]
        visible = view.rows[:, :3] ** _GAMMA * (lit + (glow * (0.03 + 0.97 * light.artificial))[:, None])
        visible[SKY_ROW] = light.sky
        if light.fog:
            clear = np.exp(-light.fog * view.ahead)[:, None]
            clear[GROUND_ROWS] = 1
            visible = visible * clear + self._veil(light) * (1 - clear)
        return np.asarray(visible * np.float32(self._gain(light)), np.float32)

    def _veil(self, light: Light) -> NDArray[np.float32]:
        """The colour of thick fog: the sky's, but never so bright that the exposure clips it."""
        return light.sky * np.float32(min(1.0, 0.6 / (self._gain(light) * float(light.sky.max()))))

    def _brightest(self, light: Light) -> float:
        return light.artificial * (self.headlights * _HEADLIGHT + 2 * _LAMP_LIGHT)

    def _ground_factor(self, view: View, top: int) -> NDArray[np.float32]:
        """By what each display count below row ``top`` is multiplied: lamps and fog on the ground, else 1."""
        shape = (view.camera.height - top, view.camera.width)
        factor = self._lamps_on_ground(view, top) if view.light.artificial > 0 else np.ones(shape, np.float32)
        factor *= _clear_ground(view, top)
        np.copyto(factor, 1, where=view.seen[top:] >= GROUND_ROWS.stop)
        return factor

    def _lamps_on_ground(self, view: View, top: int) -> NDArray[np.float32]:
        """Display brightness against ground that is fully lit, shape (H - top, W)."""
        camera, light = view.camera, view.light
        size = (camera.width, camera.height - top)
        rows = np.linspace(top, camera.height - 1, max(2, size[1] // _GRID), dtype=np.float32)
        columns = np.linspace(0, camera.width - 1, camera.width // _GRID, dtype=np.float32)
        ahead = camera.ground_ahead(rows[:, None])
        aside = camera.ground_aside(columns, ahead) - np.float32(camera.x)
        spread = np.broadcast_to(ahead, aside.shape)
        near = np.clip((ahead - 1.5) / 4, 0.15, 1)
        beam = self.headlights * _HEADLIGHT * _beam(aside - camera.lateral_shift(ahead), spread) * near
        base = float(light.ambient.mean() + 0.7 * light.sun.mean())
        lit = base + light.artificial * (beam + _lamp_light(aside, spread, view.lamps))
        share = np.minimum(lit / (base + self._brightest(light)), 1.0) ** (1 / _GAMMA)
        return np.asarray(
            cv2.resize(share.astype(np.float32), size, interpolation=cv2.INTER_LINEAR), np.float32
        )

    def _veil_ground(self, view: View, lower: NDArray[np.uint8], top: int) -> None:
        """Add the fog's own brightness to the ground, in place."""
        color = _display(self._veil(view.light) * np.float32(self._gain(view.light)))
        veil = ((1 - _clear_ground(view, top))[..., None] * color).astype(np.uint8)
        on_ground = (view.seen[top:] < GROUND_ROWS.stop).astype(np.uint8)
        cv2.add(lower, np.repeat(veil, lower.shape[1], axis=1), dst=lower, mask=on_ground)

    def _glow(self, view: View) -> NDArray[np.float32] | None:
        """Light that spreads from bright sources over the image, display counts, shape (H, W, 3)."""
        strength = view.column("glow") * view.light.artificial
        if strength.max() < 0.05:
            return None
        source = view.rows[:, :3] * np.minimum(strength, 12.0)[:, None]
        sparse = source.take(view.seen[::2, ::2], axis=0)
        small = cv2.resize(sparse, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        near, far = cv2.GaussianBlur(small, (0, 0), 1.0), cv2.GaussianBlur(small, (0, 0), 5.0)
        spread = cv2.addWeighted(near, 22 * self.glare, far, 28 * self.glare, 0)
        return np.asarray(
            cv2.resize(spread, view.seen.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32
        )

    def _develop(self, image: NDArray[np.uint8], view: View, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Lens blur, glare and noise on display counts."""
        developed = cv2.GaussianBlur(image, (3, 3), 0.6)
        glow = self._glow(view)
        if glow is not None:
            developed = cv2.add(developed, glow, dtype=cv2.CV_8U)
        share = self.noise * (1 + 1.6 * view.light.artificial) / textures.GRAIN_SPREAD
        grain = textures.grain_window(rng, *image.shape[:2])
        return np.asarray(
            cv2.addWeighted(developed, 1, grain, share, -share * textures.GRAIN_MIDDLE), np.uint8
        )


def _clear_ground(view: View, top: int) -> NDArray[np.float32]:
    """Share of the ground's display brightness that fog lets through, by row, shape (H - top, 1)."""
    rows = np.arange(top, view.camera.height, dtype=np.float32)[:, None]
    clear = np.exp(np.float32(-0.6 * view.light.fog) * view.camera.ground_ahead(rows))
    return np.asarray(clear, np.float32)


def _display(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear light 0 to 1 to display counts."""
    return (np.clip(linear, 0, 1) ** (1 / _GAMMA) * 255).astype(np.uint8)


def _beam(aside: NDArray[np.float32], ahead: NDArray[np.float32]) -> NDArray[np.float32]:
    """The ego headlights' light at places relative to the camera."""
    bearing = aside / np.maximum(ahead, 1)
    return np.asarray(np.exp(-((bearing / 0.32) ** 2)) / (1 + (ahead / 11) ** 2), np.float32)


def _lamp_light(
    aside: NDArray[np.float32], ahead: NDArray[np.float32], lamps: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The street lamps' light at places relative to the camera; lamps are (aside, ahead), shape (n, 2)."""
    total = np.zeros(ahead.shape, np.float32)
    for lamp_aside, lamp_ahead in lamps:
        square = (aside - lamp_aside) ** 2 + (ahead - lamp_ahead) ** 2
        total += np.float32(_LAMP_LIGHT) / (1 + square / np.float32(_LAMP_RADIUS_M**2)) ** 2
    return total
