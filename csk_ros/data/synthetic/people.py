"""Walking people, and cyclists on their bikes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from csk_ros.data.synthetic.materials import BIKE, PERSON, RUBBER, SHADOW, STEEL, Material, table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csk_ros.data.synthetic.raster import Canvas

    Joint = tuple[float, float, float]

(_SKIN, _HAIR, _TOP, _SHIRT, _LEGS, _SHOES, _BAG, _SHADE) = range(8)
_FRAME, _WHEEL, _FLOOR = range(3)
_FAR_PIXELS = 24
_CLOTHES = (
    (0.08, 0.08, 0.10), (0.12, 0.14, 0.22), (0.75, 0.75, 0.73), (0.35, 0.33, 0.30), (0.50, 0.12, 0.12),
    (0.18, 0.28, 0.20), (0.25, 0.35, 0.55), (0.60, 0.52, 0.38), (0.15, 0.15, 0.16),
)  # fmt: skip
_LEGWEAR = (
    (0.07, 0.07, 0.09),
    (0.12, 0.15, 0.25),
    (0.20, 0.20, 0.20),
    (0.45, 0.40, 0.32),
    (0.10, 0.10, 0.11),
)
_SKINS = ((0.85, 0.66, 0.55), (0.75, 0.56, 0.44), (0.50, 0.35, 0.27), (0.35, 0.24, 0.18))


def _cloth(color: tuple[float, float, float], warmth: float) -> Material:
    return Material(*color, PERSON, body=warmth, solar=3, shade=0.6, emissivity=0.97)


def wardrobe(rng: np.random.Generator) -> NDArray[np.float32]:
    """The materials of a person: thick and thin clothes show more or less of the body's heat."""
    coat = rng.uniform(0.22, 0.6)
    top = _CLOTHES[rng.integers(len(_CLOTHES))]
    return table(
        Material(*_SKINS[rng.integers(len(_SKINS))], PERSON, body=rng.uniform(0.85, 0.95), solar=1),
        Material(0.08, 0.07, 0.06, PERSON, body=rng.uniform(0.45, 0.7), solar=5),
        _cloth(top, coat),
        _cloth(_CLOTHES[rng.integers(len(_CLOTHES))], coat + rng.uniform(0.0, 0.2)),
        _cloth(_LEGWEAR[rng.integers(len(_LEGWEAR))], rng.uniform(0.4, 0.68)),
        Material(0.10, 0.09, 0.09, PERSON, body=rng.uniform(0.15, 0.4), solar=3),
        Material(*_CLOTHES[rng.integers(len(_CLOTHES))], PERSON, body=rng.uniform(0, 0.2), solar=3),
        SHADOW,
    )


def _limb(root: Joint, angle: float, length: float) -> Joint:
    """The end of a limb that hangs from ``root`` and swings in the plane of travel."""
    return (root[0], root[1] - length * math.cos(angle), root[2] + length * math.sin(angle))


def _bent(a: Joint, b: Joint, out: float, up: float, forward: float) -> Joint:
    """The joint between two others, off their middle."""
    return ((a[0] + b[0]) / 2 + out, (a[1] + b[1]) / 2 + up, (a[2] + b[2]) / 2 + forward)


@dataclass(frozen=True)
class Figure:
    """A person at a place, on foot or (``seat`` above 0) on a bike.

    Attributes:
        materials: from :func:`wardrobe`.
        x, s: where they are, metres.
        heading: 0 along the street, pi towards the camera, radians.
        stature: height, metres.
        phase: of the step or the pedals, radians.
        pace: how fast the phase runs, rad/s.
        stride: how far the legs swing, radians; near 0 stands.
        bag: 0 none, 1 on the back, 2 at the side.
        seat: height of the saddle, metres; 0 on foot.
    """

    materials: NDArray[np.float32]
    x: float
    s: float
    heading: float
    stature: float
    phase: float
    pace: float
    stride: float = 0.45
    bag: int = 0
    seat: float = 0.0

    def moved(self, way: float, t: float) -> Figure:
        """The same person ``way`` metres on, ``t`` seconds later."""
        return replace(self, s=self.s + way, phase=self.phase + self.pace * t)

    def joints(self) -> dict[str, Joint]:
        """Joints in the person's own axes (right, up, forward), metres; -1 is left, 1 is right."""
        tall = self.stature
        walking_hip = 0.52 * tall - 0.03 * self.stride * abs(math.cos(self.phase))
        hip_height, lean = (self.seat + 0.06, 0.28) if self.seat else (walking_hip, 0.0)
        joints: dict[str, Joint] = {}
        for side in (-1, 1):
            hip = (side * 0.055 * tall, hip_height, 0.0)
            shoulder = (side * 0.115 * tall, hip_height + 0.31 * tall, lean)
            joints |= self._leg(side, hip) | self._arm(side, shoulder)
        joints["head"] = (0.0, hip_height + 0.41 * tall, lean * 1.2)
        joints["neck"] = (0.0, hip_height + 0.34 * tall, lean * 1.2)
        return joints

    def _leg(self, side: int, hip: Joint) -> dict[str, Joint]:
        if self.seat:
            pedal = self.phase + (0 if side > 0 else math.pi)
            foot = (hip[0], 0.30 + 0.17 * math.sin(pedal), 0.12 + 0.17 * math.cos(pedal))
            knee = _bent(hip, foot, 0.0, 0.12, 0.20)
        else:
            swing = self.stride * math.sin(self.phase) * side
            lift = self.stride * 1.4 * max(0.0, math.cos(self.phase) * side)
            knee = _limb(hip, swing + lift * 0.4, 0.25 * self.stature)
            foot = _limb(knee, swing - lift * 0.8, 0.25 * self.stature)
        toe = (foot[0], foot[1] - 0.01, foot[2] + 0.11)
        return {f"hip{side}": hip, f"knee{side}": knee, f"foot{side}": foot, f"toe{side}": toe}

    def _arm(self, side: int, shoulder: Joint) -> dict[str, Joint]:
        if self.seat:
            hand = (side * 0.26, self.seat + 0.18, 0.52)
            elbow = _bent(shoulder, hand, side * 0.05, -0.07, 0.0)
        else:
            swing = -0.8 * self.stride * math.sin(self.phase) * side
            hanging = _limb(shoulder, swing - 0.05, 0.17 * self.stature)
            elbow = (hanging[0] + side * 0.04, hanging[1], hanging[2])
            hand = _limb(elbow, swing + 0.25, 0.15 * self.stature)
        return {f"shoulder{side}": shoulder, f"elbow{side}": elbow, f"hand{side}": hand}

    def draw(self, canvas: Canvas, first: int) -> None:
        """Draw back to front: the limbs that are farther away, the body, the nearer limbs, the head."""
        u, v, metre = canvas.camera.place(self.x, self.s)
        if metre * self.stature < _FAR_PIXELS:
            self._draw_far(canvas, first, u, v, metre)
            return
        cos, sin, pixel = math.cos(self.heading), math.sin(self.heading), canvas.camera.pixel
        at = {
            name: pixel(self.x + right * cos + forward * sin, up, self.s - right * sin + forward * cos)
            for name, (right, up, forward) in self.joints().items()
        }
        if not self.seat:
            canvas.ellipse((u, v), (0.28 * metre, 0.06 * metre), first + _SHADE)
        brush, near, facing = (
            _Brush(canvas, first, at, metre * self.stature),
            1 if sin > 0 else -1,
            cos < -0.3,
        )
        brush.limbs(-near)
        if self.bag == 1 and facing:
            brush.bag(at["neck"], 0.10, 0.24)
        brush.torso(facing=facing)
        if self.bag == 1 and not facing:
            brush.bag(at["neck"], 0.085, 0.22)
        brush.limbs(near)
        if self.bag == 2:
            brush.bag(at[f"elbow{near}"], 0.06, 0.15)
        brush.head(facing=facing)

    def _draw_far(self, canvas: Canvas, first: int, u: float, v: float, metre: float) -> None:
        """Legs, trunk and head of somebody too small for more."""
        tall = metre * self.stature
        hip = v - (self.seat + 0.06) * metre if self.seat else v - 0.52 * tall
        swing = 0.45 * self.stride * math.sin(self.phase) * tall * (0.35 + 0.65 * abs(math.sin(self.heading)))
        foot = v - 0.3 * metre if self.seat else v
        for side in (-1, 1):
            canvas.line((u + side * 0.04 * tall, hip), (u + side * swing, foot), 0.07 * tall, first + _LEGS)
        canvas.line((u, hip - 0.28 * tall), (u, hip), 0.2 * tall, first + _TOP)
        canvas.ellipse((u, hip - 0.41 * tall), (0.048 * tall, 0.065 * tall), first + _SKIN)


@dataclass(frozen=True)
class _Brush:
    canvas: Canvas
    first: int
    at: dict[str, tuple[float, float]]
    scale: float

    def _line(self, start: str, end: str, width: float, material: int) -> None:
        self.canvas.line(self.at[start], self.at[end], width * self.scale, self.first + material)

    def limbs(self, side: int) -> None:
        self._line(f"foot{side}", f"toe{side}", 0.045, _SHOES)
        self._line(f"hip{side}", f"knee{side}", 0.085, _LEGS)
        self._line(f"knee{side}", f"foot{side}", 0.06, _LEGS)
        self._line(f"shoulder{side}", f"elbow{side}", 0.055, _TOP)
        self._line(f"elbow{side}", f"hand{side}", 0.045, _TOP)
        self.canvas.ellipse(
            self.at[f"hand{side}"], (self.scale * 0.024, self.scale * 0.028), self.first + _SKIN
        )

    def torso(self, *, facing: bool) -> None:
        at, scale = self.at, self.scale
        pelvis, chest = _middle(at["hip-1"], at["hip1"]), _middle(at["shoulder-1"], at["shoulder1"])
        self.canvas.line(chest, pelvis, 0.12 * scale, self.first + _TOP)
        out = math.copysign(0.03 * scale, at["hip1"][0] - at["hip-1"][0])
        (a, b), (c, d) = ((at[f"{joint}{side}"] for side in (-1, 1)) for joint in ("shoulder", "hip"))
        rise = 0.02 * scale
        corners = (
            (a[0] - out, a[1] - rise),
            (b[0] + out, b[1] - rise),
            (d[0] + out, d[1]),
            (c[0] - out, c[1]),
        )
        self.canvas.polygon(corners, self.first + _TOP)
        if facing:
            self.canvas.line(chest, pelvis, 0.045 * scale, self.first + _SHIRT)

    def head(self, *, facing: bool) -> None:
        (u, v), scale = self.at["head"], self.scale
        self.canvas.line((u, v), self.at["neck"], 0.055 * scale, self.first + _SKIN)
        self.canvas.ellipse((u, v), (0.046 * scale, 0.062 * scale), self.first + (_SKIN if facing else _HAIR))
        self.canvas.ellipse((u, v - 0.028 * scale), (0.049 * scale, 0.042 * scale), self.first + _HAIR)

    def bag(self, top: tuple[float, float], half: float, height: float) -> None:
        bottom = top[1] + height * self.scale
        self.canvas.rectangle(
            top[0], half * self.scale, top[1] + 0.01 * self.scale, bottom, self.first + _BAG
        )


def _middle(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)


def bike_coat(rng: np.random.Generator) -> NDArray[np.float32]:
    """The materials of a bike."""
    r, g, b = rng.uniform(0.1, 0.7, 3)
    return table(STEEL._replace(red=r, green=g, blue=b, label=BIKE), RUBBER, SHADOW)


@dataclass(frozen=True)
class Bike:
    """A bike at a place; its outline is labelled filled, as MFNet's annotators did."""

    materials: NDArray[np.float32]
    x: float
    s: float
    heading: float

    def draw(self, canvas: Canvas, first: int) -> None:
        """Draw wheels, frame and handlebar."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], np.float32)
        place = np.array([self.x, 0, self.s], np.float32)
        points = _BIKE_POINTS @ turn + place
        pixels = canvas.camera.project(points)
        for rim in (_REAR, _FRONT):
            canvas.hull(pixels[rim], BIKE)
            canvas.ring(points[rim], 0.045, first + _WHEEL)
        at, scale = pixels[_TUBES].tolist(), canvas.camera.place(self.x, self.s).scale
        canvas.hull((at[0], at[3], at[2], at[1]), BIKE)
        for start, end in _FRAME_TUBES:
            canvas.line(at[start], at[end], 0.04 * scale, first + _FRAME)

    def moved(self, way: float, _t: float) -> Bike:
        """The same bike ``way`` metres on."""
        return Bike(self.materials, self.x, self.s + way, self.heading)


_SPOKES = 14
_REAR, _FRONT, _TUBES = slice(_SPOKES), slice(_SPOKES, 2 * _SPOKES), slice(2 * _SPOKES, None)
_ANGLES = np.arange(_SPOKES) * (2 * np.pi / _SPOKES)
_RIM = np.stack([0 * _ANGLES, 0.34 + 0.33 * np.sin(_ANGLES), 0.33 * np.cos(_ANGLES)], axis=1)
_FRAME_POINTS = [
    (0, 0.34, -0.52), (0, 0.34, 0.52), (0, 0.82, 0.38), (0, 0.86, -0.16), (0, 0.32, -0.02),
    (-0.25, 1.0, 0.38), (0.25, 1.0, 0.38), (-0.05, 0.93, -0.28), (0.05, 0.93, -0.02),
]  # fmt: skip
_BIKE_POINTS = np.vstack(
    [_RIM - np.array((0, 0, 0.52)), _RIM + np.array((0, 0, 0.52)), _FRAME_POINTS]
).astype(np.float32)
_FRAME_TUBES = ((0, 3), (0, 4), (3, 4), (4, 2), (3, 2), (2, 1), (5, 6), (7, 8))
