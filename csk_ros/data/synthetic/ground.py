"""The ground plane: road, pavements, kerbs, lines, and what is painted on or raised from the road."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from csk_ros.data.synthetic import textures
from csk_ros.data.synthetic.camera import FAR_M, NEAR_M
from csk_ros.data.synthetic.materials import (
    ASPHALT,
    BUMP,
    CURVE,
    GRASS,
    KERB,
    PAINT,
    PAVING,
    SKY,
    Material,
    table,
)  # fmt: skip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csk_ros.data.synthetic.raster import Canvas

(
    SKY_ROW,
    _ROAD,
    _VERGE,
    _WALK,
    _KERB,
    _KERB_FACE,
    _LINE,
    _EDGE,
    _STRIPE_A,
    _STRIPE_B,
    _COVER,
    _FAR,
    _FAR_LIT,
) = range(13)
GROUND_ROWS = slice(_ROAD, _FAR)
_STATIONS = np.geomspace(NEAR_M, FAR_M, 20).astype(np.float32)
ZEBRA, BUMP_MARK, COVER, STOP_LINE = "zebra", "bump", "cover", "stop"


@dataclass(frozen=True)
class Section:
    """The street's cross-section, symmetric; metres.

    Attributes:
        half: from the middle to the kerb.
        walk: width of each pavement; 0 has none.
        kerb: width of the kerb stones; 0 has none.
        edge: width of the line beside the kerb; 0 has none.
        dashed: whether the middle line is dashed.
        dash: period of the dashes.
    """

    half: float
    walk: float
    kerb: float
    edge: float
    dashed: bool
    dash: float = 8.0


@dataclass(frozen=True)
class Mark:
    """Something flat across the road at ``s``: a zebra crossing, a bump, a stop line or a cover."""

    kind: str
    s: float
    x: float = 0.0


def coat(rng: np.random.Generator) -> NDArray[np.float32]:
    """The materials of sky, ground and backdrop."""
    asphalt = ASPHALT._replace(over=rng.uniform(-5, 3), red=rng.uniform(0.3, 0.42))
    asphalt = asphalt._replace(green=asphalt.red, blue=asphalt.red * rng.uniform(0.97, 1.06))
    walk = PAVING._replace(over=rng.uniform(-3, 2), red=rng.uniform(0.45, 0.6))
    verge = GRASS if rng.random() < 0.6 else PAVING._replace(red=0.42, green=0.40, blue=0.36)
    kerb = KERB._replace(over=rng.uniform(-2, 2))
    edge = PAINT._replace(label=CURVE, red=rng.uniform(0.7, 0.85), green=0.68, over=asphalt.over - 0.5)
    edge = edge._replace(blue=rng.choice([0.25, 0.75]))
    stripe = Material(0.82, 0.66, 0.10, BUMP, solar=7, over=rng.uniform(-3, 3), retro=1.0, ir_texture=0.5)
    line = PAINT._replace(over=asphalt.over - rng.uniform(0.3, 2.0))
    far = Material(0.26, 0.31, 0.24, solar=1, over=-0.5, shade=0.2)
    return table(
        SKY, asphalt, verge, walk, kerb, kerb._replace(red=0.42, green=0.41, blue=0.39, over=kerb.over - 1),
        line, edge, stripe, stripe._replace(red=0.15, green=0.15, blue=0.15),
        asphalt._replace(red=0.22, green=0.22, blue=0.22, over=asphalt.over + 3, emissivity=0.8),
        far, far._replace(red=0.5, green=0.48, blue=0.45, over=1.0),
    )  # fmt: skip


def sky(height: int, width: int, focal: float, rng: np.random.Generator) -> NDArray[np.int32]:
    """Codes of a sky whose lowest row is the horizon, shape (2 * height, width)."""
    above = np.clip(np.arange(2 * height, 0, -1, dtype=np.float32) / np.float32(focal), 0, 1)
    row = (above * 420).astype(np.int64) % textures.TILE
    column = (np.arange(width) * 320 // width + int(rng.integers(textures.TILE))) % textures.TILE
    return np.asarray(textures.sky_tile()[row[:, None], column], np.int32)


def draw_sky(canvas: Canvas, clouds: NDArray[np.int32], skyline: NDArray[np.float32]) -> None:
    """Fill the image down to the ground with sky, and the skyline in front of it.

    The skyline is two layers of tangents of elevation by bearing, shape (2, width).
    """
    camera = canvas.camera
    top = camera.first_ground_row()
    canvas.codes[:top] = clouds[len(clouds) - top :]
    bearing = int(camera.yaw * camera.focal)
    for layer, material in ((1, _FAR_LIT), (0, _FAR)):
        heights = np.roll(skyline[layer], -bearing)[: camera.width // 4] * camera.focal
        columns = np.linspace(0, camera.width, len(heights), dtype=np.float32)
        base = np.full_like(columns, top + 1)
        outline = np.concatenate(
            [np.stack([columns, camera.horizon - heights], 1), np.stack([columns, base], 1)[::-1]]
        )
        canvas.polygons(outline[None], material)


def draw_ground(canvas: Canvas, section: Section, marks: list[Mark], *, grain: float) -> None:
    """Draw the ground below the horizon, and its grain of relative strength ``grain`` near the camera."""
    camera = canvas.camera
    top = camera.first_ground_row()
    canvas.codes[top:] = _VERGE << 8
    road, kerb, walk = section.half, section.half + section.kerb, section.half + section.kerb + section.walk
    if section.walk:
        _strip(canvas, -walk, walk, _WALK)
    if section.kerb:
        _strip(canvas, -kerb, kerb, _KERB)
        for side in (-1, 1):
            _strip(canvas, side * road, side * (road + 0.35 * section.kerb), _KERB_FACE)
    _strip(canvas, -road, road, _ROAD)
    if section.edge:
        for side in (-1, 1):
            _strip(canvas, side * (road - 0.25), side * (road - 0.25 - section.edge), _EDGE)
    _middle_line(canvas, section)
    for mark in marks:
        _draw_mark(canvas, section, mark)
    _add_grain(canvas, top, grain)


def _strip(canvas: Canvas, left: float, right: float, material: int) -> None:
    ahead = _STATIONS + np.float32(canvas.camera.s)
    outline = np.zeros((2, len(ahead), 3), np.float32)
    outline[0, :, 0], outline[1, :, 0] = left, right
    outline[..., 2] = ahead
    outline[1] = outline[1, ::-1]
    canvas.polygons(canvas.camera.project(outline.reshape(1, -1, 3)), material, texture=0)


def _quads(canvas: Canvas, x: NDArray[np.float64], s: NDArray[np.float64], material: int) -> None:
    """Rectangles on the road, from lefts and rights (n, 2) and nears and fars (n, 2)."""
    near = np.maximum(s, canvas.camera.s + NEAR_M)
    keep = near[:, 1] - near[:, 0] > 1e-3
    if not keep.any():
        return
    quads = np.zeros((int(keep.sum()), 4, 3), np.float32)
    quads[..., 0] = x[keep][:, [0, 1, 1, 0]]
    quads[..., 2] = near[keep][:, [0, 0, 1, 1]]
    canvas.polygons(canvas.camera.project(quads), material, texture=0)


def _middle_line(canvas: Canvas, section: Section) -> None:
    if not section.dashed:
        return
    first = np.floor(canvas.camera.s / section.dash)
    starts = (first + np.arange(10)) * section.dash
    x = np.tile([-0.07, 0.07], (len(starts), 1))
    _quads(canvas, x, np.stack([starts, starts + 0.5 * section.dash], axis=1), _LINE)


def _draw_mark(canvas: Canvas, section: Section, mark: Mark) -> None:
    half = section.half - 0.3
    if mark.kind == ZEBRA:
        left = np.arange(-half, half - 0.45, 0.95)
        _quads(
            canvas, np.stack([left, left + 0.48], 1), np.tile([mark.s, mark.s + 3.2], (len(left), 1)), _LINE
        )
    elif mark.kind == BUMP_MARK:
        left = np.arange(-half, half, 0.6)
        for i, material in enumerate((_STRIPE_A, _STRIPE_B)):
            lefts = left[i::2]
            x = np.stack([lefts, np.minimum(lefts + 0.6, half)], 1)
            _quads(canvas, x, np.tile([mark.s, mark.s + 1.0], (len(x), 1)), material)
    elif mark.kind == STOP_LINE:
        _quads(canvas, np.array([[-half, 0.0]]), np.array([[mark.s, mark.s + 0.4]]), _LINE)
    else:
        u, v, scale = canvas.camera.place(mark.x, mark.s)
        ahead = mark.s - canvas.camera.s
        if ahead > 2:
            canvas.ellipse((u, v), (0.35 * scale, 0.35 * scale * canvas.camera.eye / ahead), _COVER)


def _add_grain(canvas: Canvas, top: int, strength: float) -> None:
    camera = canvas.camera
    rows = np.arange(top, camera.height, dtype=np.float32)[:, None]
    ahead = camera.ground_ahead(rows)
    per_metre = np.float32(textures.TILE_PER_METRE)
    aside = camera.ground_aside(np.arange(camera.width, dtype=np.float32), ahead)
    column = (aside * per_metre).astype(np.int32) & (textures.TILE - 1)
    along = ((ahead.astype(np.float64) + camera.s) * textures.TILE_PER_METRE).astype(np.int64)
    row = (along & (textures.TILE - 1)).astype(np.int32) * textures.TILE
    grain = np.take(textures.ground_tile().ravel(), row + column)
    fade = np.clip(14 / ahead, 0.12, 1) * strength
    weight = (fade * 256).astype(np.int32)
    target = canvas.codes[top:]
    target &= ~0xFF
    target |= ((grain - 128) * weight >> 8) + 128
