"""Cars, vans, trucks and buses as small meshes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csk_ros.data.synthetic.materials import CAR, CHROME, GLASS, SHADOW, TYRE, Material, table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csk_ros.data.synthetic.raster import Canvas

(_SIDE, _TOP, _END, _BONNET, _SCREEN, _WINDOW, _TYRE, _HUB, _HEAD, _TAIL, _GRILLE, _PLATE, _SHADE) = range(13)


class Shape(NamedTuple):
    """Measures of a vehicle in metres; z runs forward from its middle.

    Attributes:
        length, width: of the body.
        belt: height where the windows begin.
        roof: height of the roof.
        cabin: z of the cabin's rear and front at the belt.
        rake: how far the rear and front screens lean in.
        wheel: wheel radius.
    """

    length: float
    width: float
    belt: float
    roof: float
    cabin: tuple[float, float]
    rake: tuple[float, float]
    wheel: float


SHAPES = {
    "hatchback": Shape(3.9, 1.70, 0.92, 1.50, (-1.85, 1.00), (0.35, 0.75), 0.31),
    "sedan": Shape(4.6, 1.80, 0.92, 1.45, (-1.45, 1.05), (0.65, 0.85), 0.33),
    "kei": Shape(3.4, 1.48, 0.95, 1.75, (-1.65, 1.15), (0.12, 0.50), 0.28),
    "van": Shape(4.7, 1.75, 1.05, 1.95, (-2.30, 1.75), (0.12, 0.65), 0.33),
    "truck": Shape(6.0, 2.10, 1.25, 2.20, (1.35, 2.95), (0.0, 0.15), 0.42),
    "bus": Shape(9.5, 2.45, 1.20, 3.00, (-4.70, 4.70), (0.05, 0.15), 0.48),
}
_PAINTS = (
    (0.85, 0.86, 0.86), (0.70, 0.72, 0.74), (0.12, 0.12, 0.13), (0.30, 0.32, 0.35), (0.55, 0.10, 0.10),
    (0.12, 0.20, 0.45), (0.80, 0.78, 0.70), (0.15, 0.33, 0.25), (0.75, 0.60, 0.12),
)  # fmt: skip


class Mesh(NamedTuple):
    """Faces with their outward normals and middles, shape (F, 3) each, in the vehicle's own axes."""

    points: NDArray[np.float32]
    faces: tuple[NDArray[np.intp], ...]
    materials: NDArray[np.intp]
    normals: NDArray[np.float32]
    middles: NDArray[np.float32]


class _MeshMaker:
    def __init__(self) -> None:
        self._faces: list[tuple[NDArray[np.float32], int, NDArray[np.float32]]] = []

    def face(
        self, points: list[tuple[float, float, float]], material: int, inside: tuple[float, float]
    ) -> None:
        """A convex face that looks away from the point (height, z) ``inside`` on the middle plane."""
        corners = np.array(points, np.float32)
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        outward = corners.mean(axis=0) - np.array((0, *inside), np.float32)
        if float(normal @ outward) < 0:
            normal = -normal
        self._faces.append((corners, material, normal.astype(np.float32)))

    def both_sides(
        self, points: list[tuple[float, float, float]], material: int, inside: tuple[float, float]
    ) -> None:
        """The face, and its mirror image on the other side."""
        self.face(points, material, inside)
        self.face([(-x, y, z) for x, y, z in points], material, inside)

    def mesh(self) -> Mesh:
        sizes = [len(corners) for corners, _, _ in self._faces]
        starts = np.cumsum([0, *sizes])
        return Mesh(
            np.concatenate([corners for corners, _, _ in self._faces]),
            tuple(np.arange(a, b) for a, b in itertools.pairwise(starts)),
            np.array([material for _, material, _ in self._faces]),
            np.stack([normal for _, _, normal in self._faces]),
            np.stack([corners.mean(axis=0) for corners, _, _ in self._faces]),
        )


def _box(maker: _MeshMaker, w: float, y: tuple[float, float], z: tuple[float, float], top: int) -> None:
    (low, high), (rear, front) = y, z
    inside = ((low + high) / 2, (rear + front) / 2)
    tuck = 0.12
    maker.both_sides(
        [(w, low, rear + tuck), (w, low, front - tuck), (w, high, front), (w, high, rear)], _SIDE, inside
    )
    for end in (rear, front):
        maker.face([(-w, low, end), (w, low, end), (w, high, end), (-w, high, end)], _END, inside)
    maker.face([(-w, high, rear), (w, high, rear), (w, high, front), (-w, high, front)], top, inside)


def _cabin(maker: _MeshMaker, shape: Shape, w: float) -> None:
    belt, roof, (rear, front), (lean_rear, lean_front) = shape.belt, shape.roof, shape.cabin, shape.rake
    top = w * 0.86
    inside = ((belt + roof) / 2, (rear + front) / 2)
    roof_rear, roof_front = rear + lean_rear, front - lean_front
    maker.both_sides(
        [(w, belt, rear), (w, belt, front), (top, roof, roof_front), (top, roof, roof_rear)], _SIDE, inside
    )
    for low, high in ((rear, roof_rear), (front, roof_front)):
        maker.face([(-w, belt, low), (w, belt, low), (top, roof, high), (-top, roof, high)], _END, inside)
        a, b = low + 0.06 * (high - low), low + 0.88 * (high - low)
        ya, yb = belt + 0.06 * (roof - belt), belt + 0.88 * (roof - belt)
        maker.face(
            [(-w * 0.92, ya, a), (w * 0.92, ya, a), (top * 0.94, yb, b), (-top * 0.94, yb, b)],
            _SCREEN,
            inside,
        )
    maker.face(
        [(-top, roof, roof_rear), (top, roof, roof_rear), (top, roof, roof_front), (-top, roof, roof_front)],
        _TOP,
        inside,
    )
    _side_windows(maker, shape, w, top)


def _side_windows(maker: _MeshMaker, shape: Shape, w: float, top: float) -> None:
    (rear, front), (lean_rear, lean_front) = shape.cabin, shape.rake
    count = max(1, round((front - rear) / 1.1))
    inside = (shape.belt, (rear + front) / 2)
    ya, yb = shape.belt + 0.05, shape.roof - 0.14 * (shape.roof - shape.belt)
    share = (yb - shape.belt) / (shape.roof - shape.belt)
    xa, xb = w * 0.995, w + (top - w) * share
    low = np.linspace(rear + 0.12, front - 0.12, count + 1)
    high = np.linspace(rear + 0.10 + lean_rear * share, front - 0.10 - lean_front * share, count + 1)
    for i in range(count):
        a, b, c, d = low[i] + 0.04, low[i + 1] - 0.04, high[i + 1] - 0.04, high[i] + 0.04
        maker.both_sides([(xa, ya, a), (xa, ya, b), (xb, yb, c), (xb, yb, d)], _WINDOW, inside)


def _wheels(maker: _MeshMaker, shape: Shape, w: float) -> None:
    angles = np.arange(12) * (np.pi / 6)
    for z in (-shape.length * 0.31, shape.length * 0.33):
        for radius, x, material in ((1.0, w + 0.01, _TYRE), (0.6, w + 0.02, _HUB)):
            r = radius * shape.wheel
            disc = [(x, float(shape.wheel + r * np.sin(a)), float(z + r * np.cos(a))) for a in angles]
            maker.both_sides(disc, material, (shape.wheel, z))


def _treads(maker: _MeshMaker, shape: Shape, w: float) -> None:
    """The tyres as seen from the front and the rear, below the body."""
    for z in (-shape.length * 0.31 - 0.9 * shape.wheel, shape.length * 0.33 + 0.9 * shape.wheel):
        tread = [(w - 0.02, 0.0, z), (w - 0.2, 0.0, z), (w - 0.2, 0.3, z), (w - 0.02, 0.3, z)]
        maker.both_sides(tread, _TYRE, (0.3, 0.0))


def _lights(maker: _MeshMaker, shape: Shape, w: float) -> None:
    top = shape.belt - 0.08
    for z, lamp, height in ((shape.length / 2 + 0.01, _HEAD, 0.17), (-shape.length / 2 - 0.01, _TAIL, 0.15)):
        corner = [
            (w * 0.95, top, z),
            (w * 0.62, top, z),
            (w * 0.66, top - height, z),
            (w * 0.95, top - height, z),
        ]
        maker.both_sides(corner, lamp, (0.5, 0.0))
    front, rear = shape.length / 2 + 0.01, -shape.length / 2 - 0.01
    grille = [
        (-w * 0.55, top - 0.05, front),
        (w * 0.55, top - 0.05, front),
        (w * 0.6, 0.36, front),
        (-w * 0.6, 0.36, front),
    ]
    maker.face(grille, _GRILLE, (0.5, 0.0))
    for z in (front + 0.01, rear):
        maker.face([(-0.17, 0.55, z), (0.17, 0.55, z), (0.17, 0.72, z), (-0.17, 0.72, z)], _PLATE, (0.5, 0.0))


@lru_cache(maxsize=len(SHAPES))
def mesh(kind: str) -> Mesh:
    """The mesh of a kind of vehicle (a key of ``SHAPES``)."""
    shape, maker = SHAPES[kind], _MeshMaker()
    w, half = shape.width / 2, shape.length / 2
    a, b = w + 0.05, half + 0.05
    maker.face([(-a, 0, -b), (a, 0, -b), (a, 0, b), (-a, 0, b)], _SHADE, (-1.0, 0.0))
    _treads(maker, shape, w)
    _box(maker, w, (0.26, shape.belt), (-half, half), _BONNET)
    _wheels(maker, shape, w)
    _lights(maker, shape, w)
    if kind == "truck":
        _box(maker, w, (0.75, 2.75), (-half, 1.1), _TOP)
    _cabin(maker, shape, w)
    return maker.mesh()


def coat(rng: np.random.Generator, *, running: bool) -> NDArray[np.float32]:
    """The materials of a vehicle; a running one has hot tyres, bonnet, grille and ground, and lit lights."""
    r, g, b = _PAINTS[rng.integers(len(_PAINTS))]
    dark = 1.3 - 0.8 * (r + g + b) / 3
    heat = rng.uniform(0.7, 1.3) if running else rng.choice([0.0, 0.0, 0.35])
    night_cooling = 0.0 if running else -1.5
    paint = Material(r, g, b, CAR, emissivity=0.88, solar=6 * dark, over=night_cooling + 2.5 * heat, sky=0.35)
    lamp = 1.0 if running else 0.0
    beam = rng.uniform(6, 14) * lamp
    return table(
        paint,
        paint._replace(shade=1.0, sky=0.85, emissivity=0.8, solar=8 * dark),
        paint._replace(red=r * 0.85, green=g * 0.85, blue=b * 0.85, shade=0.35, over=3 * heat),
        paint._replace(shade=0.95, over=7 * heat, sky=0.6, solar=8 * dark),
        GLASS._replace(label=CAR, sky=0.95, emissivity=0.72),
        GLASS._replace(label=CAR, sky=0.4, emissivity=0.85, over=1 + heat),
        TYRE._replace(over=11 * heat),
        CHROME._replace(over=13 * heat),
        Material(1.0, 0.97, 0.88, CAR, glow=beam, over=6 * heat, retro=1.5),
        Material(0.75, 0.06, 0.05, CAR, glow=1.4 * lamp, over=1 * heat, retro=3.0),
        Material(0.10, 0.10, 0.11, CAR, over=15 * heat),
        Material(0.85, 0.85, 0.80, CAR, retro=2.0, emissivity=0.8, over=heat),
        SHADOW._replace(over=-1.0 + 5 * heat),
    )


@dataclass(frozen=True)
class Vehicle:
    """A vehicle at a place.

    Attributes:
        kind: key of ``SHAPES``.
        materials: from :func:`coat`.
        x, s: its middle, metres.
        heading: 0 drives along the street, pi towards the camera, radians.
    """

    kind: str
    materials: NDArray[np.float32]
    x: float
    s: float
    heading: float

    def moved(self, way: float, _t: float) -> Vehicle:
        """The same vehicle ``way`` metres on."""
        return Vehicle(self.kind, self.materials, self.x, self.s + way, self.heading)

    def draw(self, canvas: Canvas, first: int) -> None:
        """Draw its shadow and those faces that look at the camera."""
        model, camera = mesh(self.kind), canvas.camera
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], np.float32)
        place = np.array([self.x, 0, self.s], np.float32)
        eye = np.array([camera.x + camera.bend * (self.s - camera.s) ** 2, camera.eye, camera.s], np.float32)
        towards = eye - (model.middles @ turn + place)
        seen = ((model.normals @ turn) * towards).sum(axis=1) > 0
        chosen = np.flatnonzero(seen).tolist()
        canvas.faces(model.points @ turn + place, model.faces, (model.materials + first).tolist(), chosen)
