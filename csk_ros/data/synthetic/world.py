"""What is in the street: fixed things by block, moving things as functions of time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from csk_ros.data.synthetic import furniture as f
from csk_ros.data.synthetic import people, vehicles
from csk_ros.data.synthetic.ground import BUMP_MARK, COVER, STOP_LINE, ZEBRA, Mark, Section
from csk_ros.data.synthetic.materials import STEEL, Material, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from csk_ros.data.synthetic.raster import Canvas

    Maker = Callable[[np.random.Generator, float], list["Mover"]]

BLOCK_M = 24.0
SEEN_M = 95.0
_BEHIND_M = 1.2
_WALK_M_S = 1.3
_POSITIVE = 1 << 24  # seeds must not be negative, blocks and slots may be


class Thing(Protocol):
    """Something that stands in the street and draws itself; ``materials`` are its rows."""

    @property
    def materials(self) -> NDArray[np.float32]:
        """Rows of the material table."""
        ...

    @property
    def x(self) -> float:
        """Lateral place, metres."""
        ...

    @property
    def s(self) -> float:
        """Place along the street, metres."""
        ...

    def draw(self, canvas: Canvas, first: int) -> None:
        """Draw with the material rows from ``first`` on."""
        ...


class Mover(Thing, Protocol):
    """A thing that moves."""

    def moved(self, way: float, t: float, /) -> Mover:
        """The same thing ``way`` metres on and ``t`` seconds later."""
        ...


class Lane:
    """Moving things one behind another at one speed, ``spacing`` metres apart on average.

    Args:
        seed: numbers that make this lane differ from all others.
        speed: along the street, m/s.
        spacing: metres per slot; slot ``j`` starts at ``j * spacing`` at time 0.
        filled: share of slots that hold something.
        make: what is in a filled slot at time 0, from a generator and a place.
    """

    def __init__(
        self, seed: tuple[int, ...], speed: float, spacing: float, filled: float, make: Maker
    ) -> None:
        self._seed, self._speed, self._spacing = seed, speed, spacing
        self._filled, self._make = filled, make
        self._slot = lru_cache(maxsize=64)(self._make_slot)

    def _make_slot(self, slot: int) -> list[Mover]:
        rng = np.random.default_rng((*self._seed, slot + _POSITIVE))
        if rng.random() >= self._filled:
            return []
        return self._make(rng, (slot + 0.8 * rng.random()) * self._spacing)

    def at(self, t: float, low: float, high: float) -> Iterator[Mover]:
        """What of the lane lies between ``low`` and ``high`` at time ``t``."""
        way = self._speed * t
        first, last = math.floor((low - way) / self._spacing) - 1, math.floor((high - way) / self._spacing)
        for slot in range(first, last + 1):
            yield from (m.moved(way, t) for m in self._slot(slot) if low < m.s + way < high)


@dataclass(frozen=True)
class Block:
    """The fixed things of one stretch of the street."""

    marks: tuple[Mark, ...]
    things: tuple[Thing, ...]
    crossers: tuple[tuple[float, people.Figure], ...]


class Street:
    """One street with all that is in it.

    Args:
        seed: of everything.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = np.random.default_rng((seed, 1))
        self.left_hand = 1 if rng.random() < 0.5 else -1
        self.speed = float(rng.uniform(2.5, 8.5))
        self.parking = int(rng.integers(0, 4))
        self.urban = float(rng.uniform(0, 1))
        self.greenery = float(rng.uniform(0.35, 1))
        self.crowd = float(rng.uniform(0.35, 1))
        self.rail_beam = bool(rng.random() < 0.5)
        self.lamp_side = int(rng.choice([-1, 1]))
        self.section = self._draw_section(rng)
        self.block = lru_cache(maxsize=64)(self._make_block)

    def _draw_section(self, rng: np.random.Generator) -> Section:
        kerb = float(rng.choice([0.0, 0.22, 0.3], p=[0.15, 0.45, 0.4]))
        return Section(
            half=float(rng.uniform(2.8, 4.2)) + (1.0 if self.parking else 0.0),
            walk=float(rng.uniform(1.4, 3.5)) if rng.random() < 0.85 else 0.0,
            kerb=kerb,
            edge=float(rng.uniform(0.12, 0.2)) if rng.random() < 0.6 or not kerb else 0.0,
            dashed=bool(rng.random() < 0.6),
        )

    @cached_property
    def ego_x(self) -> float:
        """Where the camera drives."""
        return -self.left_hand * 0.42 * (self.section.half - (1.0 if self.parking else 0.0))

    def ego_s(self, t: float) -> float:
        """How far the camera has come; its speed varies slowly."""
        return self.speed * (t + 1.6 * math.sin(0.25 * t))

    def ego_time(self, s: float) -> float:
        """About when the camera comes by ``s``."""
        return s / self.speed

    def lamps(self, s: float) -> NDArray[np.float32]:
        """The lamps around ``s`` as (x, s), shape (n, 2)."""
        first = int(s // BLOCK_M) - 1
        found = [
            (thing.x + thing.reach, thing.s)
            for index in range(first, first + 5)
            for thing in self.block(index).things
            if isinstance(thing, f.Lamp)
        ]
        return np.array(found, np.float32).reshape(-1, 2)

    def at(self, t: float) -> tuple[list[Mark], list[Thing]]:
        """Marks and things that the camera may see at time ``t``, things from far to near."""
        s = self.ego_s(t)
        low, high = s + _BEHIND_M, s + SEEN_M
        blocks = [self.block(i) for i in range(int(s // BLOCK_M) - 1, int(high // BLOCK_M) + 1)]
        things = [thing for block in blocks for thing in block.things if low < thing.s < high]
        for lane in self._lanes:
            things += lane.at(t, low, high)
        for block in blocks:
            things += [person for person in self._crossers(block, t) if low < person.s < high]
        for gap, leader in self._leaders:
            things.append(leader.moved(s + gap + 2.5 * math.sin(0.35 * t + gap), t))
        things.sort(key=lambda thing: -thing.s)
        return [mark for block in blocks for mark in block.marks], things

    @cached_property
    def _lanes(self) -> tuple[Lane, ...]:
        rng = np.random.default_rng((self.seed, 2))
        walkway = self.section.half + self.section.kerb + max(self.section.walk, 1.2) * 0.5
        lanes = [self._lane(1, -float(rng.uniform(4, 11)), 38, float(rng.uniform(0.2, 0.8)), self._driver)]
        for key, (x, direction) in enumerate(((-walkway, 1), (-walkway, -1), (walkway, 1), (walkway, -1))):
            speed = direction * float(rng.uniform(1.0, 1.5))
            walkers = partial(self._walkers, x, speed)
            lanes.append(self._lane(10 + key, speed, float(rng.uniform(14, 34)), self.crowd, walkers))
        for key, direction in enumerate((1, -1)):
            x = -self.left_hand * direction * (self.section.half - 0.7)
            riders = partial(self._cyclist, x, 0.0 if direction > 0 else np.pi)
            lanes.append(self._lane(20 + key, direction * float(rng.uniform(2.5, 5)), 34, 0.45, riders))
        return tuple(lanes)

    def _lane(self, key: int, speed: float, spacing: float, filled: float, make: Maker) -> Lane:
        return Lane((self.seed, 7, key), speed, spacing, filled, make)

    @cached_property
    def _leaders(self) -> tuple[tuple[float, vehicles.Vehicle], ...]:
        """Vehicles ahead in the camera's lane, with their distance from it."""
        rng = np.random.default_rng((self.seed, 9))
        gaps = [g for g in (float(rng.uniform(9, 26)), float(rng.uniform(36, 80))) if rng.random() < 0.45]
        return tuple((gap, _vehicle(rng, self.ego_x, 0.0, 0.0)) for gap in gaps)

    def _driver(self, rng: np.random.Generator, s: float) -> list[Mover]:
        return [_vehicle(rng, -self.ego_x, s, np.pi)]

    def _walkers(self, x: float, speed: float, rng: np.random.Generator, s: float) -> list[Mover]:
        count = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
        spread = max(self.section.walk, 1.2) * 0.5 - 0.2
        heading = 0.0 if speed > 0 else np.pi
        return [
            _person(rng, x + float(rng.uniform(-spread, spread)), s + 0.5 * i, heading, abs(speed))
            for i in range(count)
        ]

    def _cyclist(self, x: float, heading: float, rng: np.random.Generator, s: float) -> list[Mover]:
        nearer = -0.02
        rider = people.Figure(
            people.wardrobe(rng), x, s + nearer, heading, float(rng.uniform(1.55, 1.8)),
            phase=0.0, pace=5.0, bag=1, seat=0.88,
        )  # fmt: skip
        return [people.Bike(people.bike_coat(rng), x, s, heading), rider]

    def _crossers(self, block: Block, t: float) -> Iterator[Thing]:
        """Those who cross the road before the camera comes; before and after they stand at the kerb."""
        edge = self.section.half + 0.8
        for middle, person in block.crossers:
            direction = math.copysign(1.0, person.heading)
            x = direction * _WALK_M_S * (t - middle)
            spot = replace(person.moved(0, t), x=min(max(x, -edge), edge))
            yield spot if abs(x) < edge else replace(spot, stride=0.06, phase=person.phase)

    def _make_crossers(self, rng: np.random.Generator, s: float) -> Iterator[tuple[float, people.Figure]]:
        for _ in range(int(rng.integers(1, 4))):
            middle = self.ego_time(s) - float(rng.uniform(1.5, 7))
            heading = float(rng.choice([-1, 1])) * np.pi / 2
            yield middle, _person(rng, 0.0, s + float(rng.uniform(0.4, 2.8)), heading, _WALK_M_S)

    def _make_block(self, index: int) -> Block:
        rng = np.random.default_rng((self.seed, 3, index + _POSITIVE))
        start = index * BLOCK_M
        marks: list[Mark] = []
        things: list[Thing] = [*self._backdrop(rng, start)]
        crossers: tuple[tuple[float, people.Figure], ...] = ()
        if index > 0 and rng.random() < 0.28:
            crossing = start + 4.0
            crossers = tuple(self._make_crossers(rng, crossing))
            marks += [Mark(ZEBRA, crossing), Mark(STOP_LINE, crossing - 1.6)]
        elif rng.random() < 0.38:
            marks.append(Mark(BUMP_MARK, start + float(rng.uniform(3, 20))))
        if rng.random() < 0.5:
            marks.append(Mark(COVER, start + float(rng.uniform(0, 24)), float(rng.uniform(-2, 2))))
        for side in (-1, 1):
            things += self._kerbside(rng, start, side)
        return Block(tuple(marks), tuple(things), crossers)

    def _backdrop(self, rng: np.random.Generator, start: float) -> Iterator[Thing]:
        border = self.section.half + self.section.kerb + self.section.walk
        for side in (-1, 1):
            setback = border + float(rng.uniform(0.4, 3.5))
            if rng.random() < self.urban:
                length = float(rng.uniform(0.6, 0.98)) * BLOCK_M
                storeys, columns = int(rng.integers(2, 7)), int(length // rng.uniform(2.2, 4))
                lit = rng.random((storeys, columns)) < rng.uniform(0.05, 0.6)
                coat = f.wall_coat(rng, sunlit=side == self.lamp_side)
                yield f.Building(coat, side * (setback + 1.5), start + length, length, storeys * 3.2, lit)
            step = 6.0 / self.greenery
            for i in range(int(BLOCK_M / step)):
                s = start + (i + float(rng.uniform(0.1, 0.9))) * step
                away = float(rng.uniform(0.4, 1.8)) if rng.random() < 0.6 else float(rng.uniform(4, 14))
                size = float(rng.uniform(3.5, 9.0))
                trunk = float(rng.uniform(1.8, 3.2))
                yield f.Tree(f.tree_coat(rng), side * (border + away), s, trunk, size, int(rng.integers(6)))
            if rng.random() < self.greenery * 0.7:
                coat = f.tree_coat(rng)
                height = float(rng.uniform(0.8, 1.7))
                for s in np.arange(start, start + BLOCK_M, 1.7 * height):
                    yield f.Tree(coat, side * (border + 0.5 * height), float(s), 0.0, height * 1.1, 0)
        things = f.Lamp(f.LAMP_COAT, self.lamp_side * (border + 0.2), start + 9.0, -1.4 * self.lamp_side)
        yield things

    def _kerbside(self, rng: np.random.Generator, start: float, side: int) -> Iterator[Thing]:
        edge = self.section.half
        if self.parking & (1 if side > 0 else 2):
            yield from self._parked(rng, start, side * (edge - 1.05))
        kind = rng.choice(
            ["cones", "bollards", "rail", "bikes", "sign", "none"], p=[0.2, 0.22, 0.22, 0.12, 0.1, 0.14]
        )
        beside = side * (edge + self.section.kerb + 0.15)
        yield from _ROADSIDE[str(kind)](rng, _Spot(start, side, edge, beside, self.rail_beam))

    def _parked(self, rng: np.random.Generator, start: float, x: float) -> Iterator[Thing]:
        heading = 0.0 if rng.random() < 0.75 else np.pi
        for i in range(3):
            if rng.random() < 0.55:
                kind = str(rng.choice(["hatchback", "sedan", "kei", "van"]))
                jitter = float(rng.uniform(-0.15, 0.15))
                place = start + 3.5 + 7.5 * i + float(rng.uniform(0, 1.5))
                running = bool(rng.random() < 0.12)
                yield vehicles.Vehicle(
                    kind, vehicles.coat(rng, running=running), x + jitter, place, heading + 0.1 * jitter
                )


def _vehicle(rng: np.random.Generator, x: float, s: float, heading: float) -> vehicles.Vehicle:
    kind = str(rng.choice(list(vehicles.SHAPES), p=[0.28, 0.25, 0.15, 0.17, 0.1, 0.05]))
    return vehicles.Vehicle(kind, vehicles.coat(rng, running=True), x, s, heading)


def _person(rng: np.random.Generator, x: float, s: float, heading: float, speed: float) -> people.Figure:
    return people.Figure(
        materials=people.wardrobe(rng), x=x, s=s, heading=heading, stature=float(rng.uniform(1.52, 1.86)),
        phase=float(rng.uniform(0, 6)), pace=float(rng.uniform(3.6, 4.4)) * speed,
        stride=float(rng.uniform(0.35, 0.5)), bag=int(rng.integers(0, 3)),
    )  # fmt: skip


class _Spot(NamedTuple):
    """A stretch of roadside: its start, side (-1 left), the road's edge, x beside the kerb, kind of rail."""

    start: float
    side: int
    edge: float
    x: float
    beam: bool


def _cones(rng: np.random.Generator, spot: _Spot) -> Iterator[Thing]:
    coat, gap = f.cone_coat(rng), float(rng.uniform(1.5, 3.5))
    for i in range(int(rng.integers(3, 7))):
        yield f.Cone(coat, spot.side * (spot.edge - 0.5 - 0.12 * i), spot.start + 2 + gap * i)


def _bollards(rng: np.random.Generator, spot: _Spot) -> Iterator[Thing]:
    coat, gap = f.bollard_coat(rng), float(rng.uniform(1.4, 2.6))
    post = (float(rng.uniform(0.07, 0.16)), float(rng.uniform(0.7, 1.0)))
    half, height = (0.3, 0.22) if rng.random() < 0.25 else post
    for i in range(int(rng.integers(5, 11))):
        yield f.Bollard(coat, spot.x, spot.start + gap * i, half, height)


def _rails(rng: np.random.Generator, spot: _Spot) -> Iterator[Thing]:
    for i in range(int(rng.integers(6, 13))):
        yield f.Rail(f.RAIL_COATS[0 if spot.beam else 1], spot.x, spot.start + 2 * i + 1, 2.0, spot.beam)


def _bikes(rng: np.random.Generator, spot: _Spot) -> Iterator[Thing]:
    for i in range(int(rng.integers(3, 8))):
        heading = spot.side * float(rng.uniform(1.2, 1.8))
        yield people.Bike(people.bike_coat(rng), spot.x + spot.side * 0.9, spot.start + 2 + 0.7 * i, heading)


def _sign(rng: np.random.Generator, spot: _Spot) -> Iterator[Thing]:
    rim, inner = (f.SIGN_COLORS[i] for i in rng.permutation(4)[:2])
    plates = [Material(*color, retro=5.0, emissivity=0.85, over=-1.0) for color in (rim, inner)]
    place = spot.start + float(rng.uniform(2, 20))
    yield f.Sign(table(STEEL, *plates), spot.x, place, float(rng.uniform(2.2, 2.9)))


def _nothing(_rng: np.random.Generator, _spot: _Spot) -> Iterator[Thing]:
    yield from ()


_ROADSIDE: dict[str, Callable[[np.random.Generator, _Spot], Iterator[Thing]]] = {
    "cones": _cones, "bollards": _bollards, "rail": _rails, "bikes": _bikes, "sign": _sign, "none": _nothing,
}  # fmt: skip
