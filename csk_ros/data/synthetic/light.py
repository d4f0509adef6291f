"""Sun, sky and weather: what the time of day does to light and to temperatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIGHTS = ("day", "dusk", "night", "night-to-day", "random")
_NIGHT_TO_DAY_DEG = (-11.0, 22.0)


@dataclass(frozen=True)
class Weather:
    """What stays the same over one drive.

    Attributes:
        air: temperature at night, degrees Celsius.
        warming: what a day adds to it, kelvin.
        clouds: cover, 0 to 1.
        fog: optical extinction, 1/m.
        heat_left: how much of a day's heat is left in the ground at night, 0 to 1.
    """

    air: float
    warming: float
    clouds: float
    fog: float
    heat_left: float


@dataclass(frozen=True)
class Light:
    """The light and heat of one moment; colours are linear, shape (3,).

    Attributes:
        ambient: diffuse light.
        sun: direct light.
        sky: colour of the sky.
        artificial: how much lamps and headlights show, 0 by day to 1 at night.
        air: temperature of the air, degrees Celsius.
        sky_temperature: apparent temperature of the sky at the horizon, degrees Celsius.
        solar: share of full sunshine that heats surfaces.
        stored: share of a full day's heat that the ground holds.
        fog: optical extinction, 1/m.
    """

    ambient: NDArray[np.float32]
    sun: NDArray[np.float32]
    sky: NDArray[np.float32]
    artificial: float
    air: float
    sky_temperature: float
    solar: float
    stored: float
    fog: float


def draw_weather(rng: np.random.Generator, fog: float | None) -> Weather:
    """The weather of a drive; without a given ``fog`` one drive in six has some."""
    drawn = float(rng.uniform(0.008, 0.035)) if rng.random() < 1 / 6 else 0.0
    return Weather(
        air=float(rng.uniform(2, 24)),
        warming=float(rng.uniform(3, 10)),
        clouds=float(rng.uniform(0, 0.9)),
        fog=drawn if fog is None else fog,
        heat_left=float(rng.uniform(0.1, 0.9)),
    )


def sun_elevation(kind: str, rng: np.random.Generator, progress: float) -> float:
    """Degrees above the horizon, for a kind of light at ``progress`` 0 to 1 of the drive."""
    kind = str(rng.choice(["day", "dusk", "night"], p=[0.45, 0.15, 0.4])) if kind == "random" else kind
    if kind == "night-to-day":
        low, high = _NIGHT_TO_DAY_DEG
        return low + (high - low) * progress
    if kind == "dusk":
        return float(rng.uniform(-3.0, 4.0)) - 2.0 * progress
    return float(rng.uniform(18, 50)) if kind == "day" else -18.0


def light_at(elevation: float, weather: Weather) -> Light:
    """Light and heat under that sun."""
    day = _smooth(elevation, -10.0, 8.0)
    direct = _smooth(elevation, 0.0, 16.0) * (1 - 0.85 * weather.clouds)
    low_sun = 1 - _smooth(elevation, 3.0, 22.0)
    twilight = _smooth(elevation, -9.0, -1.0) * (1 - _smooth(elevation, 3.0, 16.0))
    level = 10 ** (-2.5 * (1 - day)) * 0.5
    tint = _mix((0.85, 1.0, 0.78), (0.93, 1.0, 1.08), day) * _mix((1, 1, 1), (0.9, 0.95, 1.25), twilight)
    horizon = _mix((0.9, 0.95, 1.0), (1.25, 0.85, 0.6), twilight * (1 - 0.7 * weather.clouds))
    return Light(
        ambient=(level * tint).astype(np.float32),
        sun=(0.95 * direct * _mix((1.0, 0.97, 0.9), (1.15, 0.85, 0.55), low_sun)).astype(np.float32),
        sky=(level * 2.2 * horizon * (0.6 + 0.4 * weather.clouds)).astype(np.float32),
        artificial=1 - _smooth(elevation, -4.0, 6.0),
        air=weather.air + weather.warming * day,
        sky_temperature=weather.air + weather.warming * day - 4 - 22 * (1 - weather.clouds),
        solar=direct,
        stored=weather.heat_left * (1 - 0.5 * day) + day * (1 - 0.7 * weather.clouds) * 0.8,
        fog=weather.fog,
    )


def _smooth(value: float, low: float, high: float) -> float:
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


def _mix(a: tuple[float, ...], b: tuple[float, ...], share: float) -> NDArray[np.float64]:
    return np.array(a) * (1 - share) + np.array(b) * share
