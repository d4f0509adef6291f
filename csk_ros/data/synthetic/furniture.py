"""What stands along a street: trees, lamps, signs, cones, bollards, rails and buildings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from csk_ros.data.synthetic import textures
from csk_ros.data.synthetic.camera import NEAR_M
from csk_ros.data.synthetic.materials import (
    BARK,
    CAR_STOP,
    COLOR_CONE,
    GLASS,
    GUARDRAIL,
    LEAVES,
    STEEL,
    Material,
    table,
)  # fmt: skip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csk_ros.data.synthetic.raster import Canvas


def _points(*points: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array(points, np.float32)


def tree_coat(rng: np.random.Generator) -> NDArray[np.float32]:
    """Bark and leaves; some trees have autumn colours."""
    r, g, b = LEAVES[:3]
    if rng.random() < 0.2:
        r, g = rng.uniform(0.45, 0.7), rng.uniform(0.3, 0.5)
    tint = rng.uniform(0.7, 1.25)
    leaves = LEAVES._replace(red=r * tint, green=g * tint, blue=b, over=rng.uniform(-1.5, 0.5))
    return table(BARK, leaves)


@dataclass(frozen=True)
class Tree:
    """A tree with a trunk and a crown; without a trunk it is a hedge."""

    materials: NDArray[np.float32]
    x: float
    s: float
    trunk: float
    spread: float
    crown: int

    def draw(self, canvas: Canvas, first: int) -> None:
        """Draw the trunk with two boughs, then the crown."""
        u, v, scale = canvas.camera.place(self.x, self.s)
        spread, trunk = self.spread * scale, self.trunk * scale
        if trunk:
            fork, tip = v - trunk - 0.05 * spread, v - trunk - 0.6 * spread
            canvas.line((u, v), (u, fork - 0.3 * spread), 0.11 * trunk, first)
            for side in (-1, 1):
                canvas.line((u, fork), (u + side * 0.3 * spread, tip), 0.05 * trunk, first)
            box = (u - 0.62 * spread, v - trunk - spread, u + 0.62 * spread, v - 0.8 * trunk)
            canvas.sprite(textures.crown(self.crown % textures.CROWNS), box, first + 1)
        else:
            canvas.sprite(textures.bush(), (u - 0.9 * spread, v - spread, u + 0.9 * spread, v), first + 1)


LAMP_HEIGHT_M = 4.8
LAMP_COAT = table(
    STEEL._replace(red=0.35, green=0.37, blue=0.36),
    Material(1.0, 0.95, 0.72, glow=9.0, over=8.0),
)


@dataclass(frozen=True)
class Lamp:
    """A street lamp; ``reach`` is how far its arm stretches towards the road."""

    materials: NDArray[np.float32]
    x: float
    s: float
    reach: float

    def draw(self, canvas: Canvas, first: int) -> None:
        """Draw pole, arm and head."""
        u, v, scale = canvas.camera.place(self.x, self.s)
        top = v - LAMP_HEIGHT_M * scale
        head, height = u + self.reach * scale, top - 0.25 * scale
        canvas.line((u, v), (u, top), 0.11 * scale, first)
        canvas.line((u, top), (head, height), 0.07 * scale, first)
        canvas.line((head - 0.25 * scale, height), (head + 0.25 * scale, height), 0.13 * scale, first + 1)


SIGN_COLORS = ((0.8, 0.1, 0.1), (0.1, 0.2, 0.65), (0.85, 0.85, 0.85), (0.9, 0.75, 0.1))


@dataclass(frozen=True)
class Sign:
    """A traffic sign on a pole (material rows: pole, plate, inner plate)."""

    materials: NDArray[np.float32]
    x: float
    s: float
    height: float

    def draw(self, canvas: Canvas, first: int) -> None:
        """Draw the pole and a round plate with a rim."""
        u, v, scale = canvas.camera.place(self.x, self.s)
        centre = (u, v - (self.height - 0.3) * scale)
        canvas.line((u, v), (u, v - self.height * scale), 0.07 * scale, first)
        canvas.ellipse(centre, (0.31 * scale, 0.31 * scale), first + 1)
        canvas.ellipse(centre, (0.23 * scale, 0.23 * scale), first + 2)


def cone_coat(rng: np.random.Generator) -> NDArray[np.float32]:
    """Red, orange or green plastic with a reflecting band."""
    color = ((0.85, 0.15, 0.10), (0.95, 0.40, 0.10), (0.85, 0.12, 0.10), (0.15, 0.60, 0.40))[rng.integers(4)]
    body = Material(*color, COLOR_CONE, solar=7, over=rng.uniform(-1, 0.5), emissivity=0.93)
    return table(body, body._replace(red=0.9, green=0.9, blue=0.9, retro=8.0), body._replace(over=-0.5))


@dataclass(frozen=True)
class Cone:
    """A traffic cone 0.7 m high (material rows: body, bands, foot)."""

    materials: NDArray[np.float32]
    x: float
    s: float

    def draw(self, canvas: Canvas, first: int) -> None:
        """Draw foot, body and two bands."""
        u, v, scale = canvas.camera.place(self.x, self.s)
        for low, high, wide, narrow, row in _CONE:
            a, b, top, bottom = wide * scale, narrow * scale, v - high * scale, v - low * scale
            canvas.polygon(((u - a, bottom), (u + a, bottom), (u + b, top), (u - b, top)), first + row)


_CONE = (
    (0.0, 0.06, 0.20, 0.20, 2),
    (0.06, 0.72, 0.145, 0.03, 0),
    (0.28, 0.38, 0.107, 0.089, 1),
    (0.5, 0.58, 0.068, 0.054, 1),
)
"""A cone's parts: lower and upper height, half widths there, metres, and material row."""


def bollard_coat(rng: np.random.Generator) -> NDArray[np.float32]:
    """Dark metal, concrete or yellow plastic, with a reflecting top."""
    color = ((0.10, 0.10, 0.11), (0.55, 0.54, 0.50), (0.80, 0.62, 0.10))[rng.integers(3)]
    body = Material(*color, CAR_STOP, solar=6, stored=-1.0, over=rng.uniform(-2, 0.5), emissivity=0.9)
    return table(body, body._replace(red=0.85, green=0.85, blue=0.82, retro=6.0))


@dataclass(frozen=True)
class Bollard:
    """A post, or a low block where cars park, against cars (material rows: body, top band)."""

    materials: NDArray[np.float32]
    x: float
    s: float
    half: float
    height: float

    def draw(self, canvas: Canvas, first: int) -> None:
        """Draw the body and its band."""
        u, v, scale = canvas.camera.place(self.x, self.s)
        for low, high, row in ((0.0, 1.0, 0), (0.80, 0.90, 1)):
            tall = self.height * scale
            canvas.rectangle(u, self.half * scale, v - high * tall, v - low * tall, first + row)


RAIL_COATS = (
    table(STEEL._replace(red=0.72, green=0.73, blue=0.72, label=GUARDRAIL)),
    table(Material(0.82, 0.82, 0.78, GUARDRAIL, solar=4, over=-0.5, emissivity=0.9)),
)


@dataclass(frozen=True)
class Rail:
    """A stretch of guard rail along the road: ``beam`` is a solid band, else it is two pipes.

    What is below and between the pipes is labelled as guard rail too, as MFNet's annotators did.
    """

    materials: NDArray[np.float32]
    x: float
    s: float
    length: float
    beam: bool

    def draw(self, canvas: Canvas, first: int) -> None:
        """Draw posts and beam of that part which is ahead of the camera."""
        start, end = max(self.s - self.length / 2, canvas.camera.s + NEAR_M), self.s + self.length / 2
        if end - start < 0.05:
            return
        canvas.hull(self._band(canvas, start, end, (0.0, 0.8)), GUARDRAIL)
        for heights in ((0.42, 0.76),) if self.beam else ((0.42, 0.48), (0.78, 0.85)):
            canvas.polygon(self._band(canvas, start, end, heights), first)
        u, v, scale = canvas.camera.place(self.x, start)
        canvas.line((u, v), (u, v - 0.8 * scale), 0.07 * scale, first)

    def _band(
        self, canvas: Canvas, start: float, end: float, heights: tuple[float, float]
    ) -> list[tuple[float, float]]:
        low, high = heights
        corners = ((low, start), (low, end), (high, end), (high, start))
        return [canvas.camera.pixel(self.x, y, s) for y, s in corners]


_WALLS = ((0.62, 0.58, 0.50), (0.50, 0.30, 0.23), (0.72, 0.71, 0.68), (0.45, 0.44, 0.42), (0.66, 0.54, 0.40))
(_FRONT, _GABLE, _BASE, _DARK, _LIT) = range(5)


def wall_coat(rng: np.random.Generator, *, sunlit: bool) -> NDArray[np.float32]:
    """Walls, base, and windows of which some are lit."""
    tint = rng.uniform(0.75, 1.1)
    r, g, b = (tint * c for c in _WALLS[rng.integers(len(_WALLS))])
    wall = Material(r, g, b, solar=9 if sunlit else 2, stored=4, over=rng.uniform(-0.5, 1.5), emissivity=0.93)
    warm = rng.uniform(0.75, 1.0)
    return table(
        wall._replace(shade=0.9 if sunlit else 0.05),
        wall._replace(red=r * 0.9, green=g * 0.9, blue=b * 0.9, shade=0.3, solar=4),
        wall._replace(red=r * 0.6, green=g * 0.6, blue=b * 0.6, shade=0.3, over=0),
        GLASS._replace(over=rng.uniform(0, 3)),
        GLASS._replace(
            red=1.0, green=0.98, blue=0.85 * warm, glow=rng.uniform(0.35, 1.0), over=rng.uniform(2, 5)
        ),
    )


@dataclass(frozen=True)
class Building:
    """A building along the street: the wall at the street, and the gable that looks at the camera.

    Attributes:
        materials: from :func:`wall_coat`.
        x: of the street wall; the building lies on the far side of it.
        s: of its far end, by which it is ordered in depth.
        length, height: metres.
        lit: which windows are lit, shape (storeys, columns).
    """

    materials: NDArray[np.float32]
    x: float
    s: float
    length: float
    height: float
    lit: NDArray[np.bool_]

    def draw(self, canvas: Canvas, first: int) -> None:
        """Draw gable, wall, base and windows; what is behind the camera shrinks to a line beside it."""
        quads, parts = self._parts
        points = quads.copy()
        points[..., 2] = np.maximum(points[..., 2], canvas.camera.s + 2 * NEAR_M)
        pixels = canvas.camera.project(points)
        for row, of in parts:
            canvas.polygons(pixels[of], first + row)

    @cached_property
    def _parts(self) -> tuple[NDArray[np.float32], list[tuple[int, slice]]]:
        """All rectangles, shape (n, 4, 3), and which of them have which material, in the order of drawing."""
        near, away = self.s - self.length, self.x + 9.0 * np.sign(self.x)
        storeys, columns = self.lit.shape
        gable, front = (self.x, away, near, near), (self.x, self.x, near, self.s)
        lit = (self.lit, self.lit[:, np.arange(3) % columns])
        windows = [_windows(front, storeys, columns, self.height), _windows(gable, storeys, 3, self.height)]
        groups = [(_GABLE, _upright(gable, 0.0, self.height)), (_FRONT, _upright(front, 0.0, self.height))]
        groups.append((_BASE, _upright(front, 0.0, 0.8)))
        for quads, bright in zip(windows, lit, strict=True):
            groups += [(_DARK, quads[~bright.ravel()]), (_LIT, quads[bright.ravel()])]
        ends = np.cumsum([len(quads) for _, quads in groups]).tolist()
        parts = [(row, slice(end - len(quads), end)) for (row, quads), end in zip(groups, ends, strict=True)]
        return np.concatenate([quads for _, quads in groups]), [
            part for part in parts if part[1].start < part[1].stop
        ]


Ground = tuple[float, float, float, float]
"""A straight line on the ground, metres: x at both ends, s at both ends."""


def _upright(line: Ground, low: float, high: float) -> NDArray[np.float32]:
    """The rectangle that stands on a line, shape (1, 4, 3)."""
    xa, xb, sa, sb = line
    return _points((xa, low, sa), (xb, low, sb), (xb, high, sb), (xa, high, sa))[None]


def _windows(line: Ground, storeys: int, columns: int, height: float) -> NDArray[np.float32]:
    """Windows in rows and columns of the wall that stands on a line, shape (storeys * columns, 4, 3)."""
    storey, column = np.divmod(np.arange(storeys * columns), columns)
    xa, xb, sa, sb = line
    along = np.stack([(column + share) / columns for share in (0.22, 0.80, 0.80, 0.22)], axis=1)
    up = np.stack([(storey + share) * height / storeys for share in (0.35, 0.35, 0.85, 0.85)], axis=1)
    return np.stack([xa + (xb - xa) * along, up, sa + (sb - sa) * along], axis=2).astype(np.float32)
