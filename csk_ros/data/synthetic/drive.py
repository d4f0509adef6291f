"""A drive down a procedural street as a sequence of labelled EO/IR pairs."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from csk_ros.data.sample import Sample, checked_index, frame_stamp_ns
from csk_ros.data.synthetic import ground, optical, thermal
from csk_ros.data.synthetic.camera import Camera
from csk_ros.data.synthetic.light import LIGHTS, Light, draw_weather, light_at, sun_elevation
from csk_ros.data.synthetic.raster import Canvas
from csk_ros.data.synthetic.view import View
from csk_ros.data.synthetic.world import Street
from csk_ros.labels import MFNET, LabelSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SMALLEST = 64
_GROUND_AHEAD = [12.0] * ground.GROUND_ROWS.stop + [150.0, 150.0]


class SceneDrive:
    """Frames of one drive; each depends on the seed, its index and the arguments alone.

    Args:
        seed: of the street, the weather and all noise; 0 or more.
        frames: how many.
        height, width: of the images, pixels, at least 64.
        rate_hz: frames per second.
        light: "day", "dusk", "night", "night-to-day" (over the whole drive), or "random": one of the
            first three.
        fog: extinction of visible light in 1/m (0.03 is a visibility of 100 m); None leaves it to the seed.
        ir_bits: 8 for images after the camera's gain control, 16 for raw counts of 0.01 K.

    Raises:
        ValueError: for arguments out of range.
    """

    label_set: LabelSet = MFNET

    def __init__(
        self,
        seed: int = 0,
        *,
        frames: int = 300,
        height: int = 480,
        width: int = 640,
        rate_hz: float = 10.0,
        light: str = "random",
        fog: float | None = None,
        ir_bits: int = 8,
    ) -> None:
        _check(
            seed=seed,
            frames=frames,
            height=height,
            width=width,
            rate_hz=rate_hz,
            light=light,
            fog=fog,
            ir_bits=ir_bits,
        )
        self.seed, self._frames, self.rate_hz = seed, frames, rate_hz
        self._size = (height, width)
        self._light_kind = light
        self._ir_bits = ir_bits
        self._street = Street(seed)
        rng = np.random.default_rng((seed, 4))
        self._ground_coat = ground.coat(rng)
        self._grain = float(rng.uniform(0.6, 1.2))
        self._weather = draw_weather(rng, fog)
        self._optical = optical.OpticalCamera.draw(rng)
        self._thermal = thermal.ThermalCamera.draw(rng, height, width)
        self._focal = float(rng.uniform(0.85, 1.25)) * width
        self._eye = float(rng.uniform(1.25, 1.75))
        self._horizon = float(rng.uniform(0.40, 0.52)) * height
        self._skyline = _skyline(rng, width)
        self._sky = ground.sky(height, width, self._focal, rng)

    def __len__(self) -> int:
        """The number of frames."""
        return self._frames

    def __iter__(self) -> Iterator[Sample]:
        """All frames in order."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Frame ``index``.

        Raises:
            IndexError: outside the drive.
        """
        index = checked_index(index, len(self))
        canvas = Canvas(self._camera(index / self.rate_hz))
        view = self._view(canvas, index)
        rng = np.random.default_rng((self.seed, 5, index))
        return Sample(
            eo=self._optical.expose(view, rng),
            ir=self._ir(view, rng),
            labels=canvas.labels(view.column("label").astype(np.uint8), view.seen),
            name=f"scene-{self.seed}-{self._light_kind}-{index:06d}",
            stamp_ns=frame_stamp_ns(index, self.rate_hz),
        )

    def _ir(self, view: View, rng: np.random.Generator) -> NDArray[np.uint8] | NDArray[np.uint16]:
        image = self._thermal.expose(view, rng)
        if self._ir_bits == 16:
            return thermal.raw_counts(image)
        return self._thermal.gain_control(image, view.light.air)

    def _view(self, canvas: Canvas, index: int) -> View:
        """Draw frame ``index``."""
        marks, things = self._street.at(index / self.rate_hz)
        camera, first = canvas.camera, len(self._ground_coat)
        ground.draw_sky(canvas, self._sky, self._skyline)
        ground.draw_ground(canvas, self._street.section, marks, grain=self._grain)
        tables, ahead, aside = [self._ground_coat], [*_GROUND_AHEAD], [0.0] * first
        for thing in things:
            thing.draw(canvas, first)
            count = len(thing.materials)
            tables.append(thing.materials)
            ahead += [thing.s - camera.s] * count
            aside += [thing.x - camera.x] * count
            first += count
        return View(
            camera=camera,
            light=self._light(index),
            rows=np.concatenate(tables),
            ahead=np.array(ahead, np.float32),
            aside=np.array(aside, np.float32),
            seen=canvas.materials(),
            texture=(canvas.texture() - np.float32(128)) * np.float32(1 / 90),
            lamps=self._street.lamps(camera.s) - np.array((camera.x, camera.s), np.float32),
        )

    def _light(self, index: int) -> Light:
        rng = np.random.default_rng((self.seed, 6))
        progress = index / max(len(self) - 1, 1)
        return light_at(sun_elevation(self._light_kind, rng, progress), self._weather)

    def _camera(self, t: float) -> Camera:
        height, width = self._size
        s = self._street.ego_s(t)
        shake = 0.0022 * math.sin(9.0 * t) * math.sin(2.3 * t) + 0.0012 * math.sin(17.0 * t)
        return Camera(
            height=height,
            width=width,
            focal=self._focal,
            horizon=self._horizon + shake * self._focal,
            x=self._street.ego_x + 0.12 * math.sin(0.4 * t),
            eye=self._eye,
            s=s,
            yaw=0.03 * math.sin(0.31 * t + self.seed),
            bend=0.0011 * math.sin(s / 60 + 1.7 * self.seed),
        )


class SceneDrives:
    """Several drives behind one another, with the seeds ``seed``, ``seed + 1``, ...

    Args:
        drives: how many.
        seed: of the first one.
        frames: of each drive.
        settings: the other arguments of :class:`SceneDrive`.

    Raises:
        ValueError: for arguments out of range.
    """

    label_set: LabelSet = MFNET

    def __init__(self, drives: int, *, seed: int = 0, frames: int = 300, **settings: object) -> None:
        if drives < 1:
            raise ValueError(f"drives is {drives}: ask for at least one")
        self._drives, self._seed, self._frames = drives, seed, frames
        self._settings = settings
        self._drive = lru_cache(maxsize=16)(self._open)
        self.rate_hz = self._drive(0).rate_hz

    def _open(self, index: int) -> SceneDrive:
        return SceneDrive(seed=self._seed + index, frames=self._frames, **self._settings)  # type: ignore[arg-type]  # checked there

    def __len__(self) -> int:
        """The number of frames of all drives."""
        return self._drives * self._frames

    def __iter__(self) -> Iterator[Sample]:
        """All frames in order."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Frame ``index``, counted over all drives.

        Raises:
            IndexError: outside the drives.
        """
        index = checked_index(index, len(self))
        drive, frame = divmod(index, self._frames)
        sample = self._drive(drive)[frame]
        return Sample(sample.eo, sample.ir, sample.labels, sample.name, frame_stamp_ns(index, self.rate_hz))


def _skyline(rng: np.random.Generator, width: int) -> NDArray[np.float32]:
    """Trees and distant buildings on the horizon: tangents of elevation by bearing, shape (2, width)."""
    smooth = np.asarray(cv2.GaussianBlur(rng.standard_normal((1, width), np.float32), (0, 0), 4), np.float32)
    trees = 0.035 + 0.05 * rng.random() + 0.05 * smooth[0]
    blocks = np.repeat(rng.uniform(-0.05, 0.22, width // 12 + 1), 12)[:width]
    return np.stack([np.clip(trees, 0.01, None), blocks]).astype(np.float32)


def _check(
    *,
    seed: int,
    frames: int,
    height: int,
    width: int,
    rate_hz: float,
    light: str,
    fog: float | None,
    ir_bits: int,
) -> None:
    if light not in LIGHTS:
        raise ValueError(f"unknown light {light!r}: choose one of {', '.join(LIGHTS)}")
    if seed < 0 or frames < 1 or rate_hz <= 0:
        raise ValueError(
            f"seed={seed}, frames={frames}, rate_hz={rate_hz}: needs seed >= 0, frames >= 1, rate > 0"
        )
    if min(height, width) < _SMALLEST:
        raise ValueError(f"height={height}, width={width}: scenes have at least {_SMALLEST} pixels each way")
    if fog is not None and not 0 <= fog < 1:
        raise ValueError(f"fog is {fog}: give an extinction of 0 to below 1 per metre")
    if ir_bits not in (8, 16):
        raise ValueError(f"ir_bits is {ir_bits}: thermal images have 8 or 16")
