"""What surfaces are made of, as both cameras see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csk_ros.labels import MFNET

if TYPE_CHECKING:
    from numpy.typing import NDArray

BACKGROUND, CAR, PERSON, BIKE, CURVE, CAR_STOP, GUARDRAIL, COLOR_CONE, BUMP = range(len(MFNET))


class Material(NamedTuple):
    """One surface. Colours are display values 0 to 1, heat is in kelvin.

    Attributes:
        red, green, blue: colour under white light.
        label: class id.
        glow: strength of its own light (in its colour); 1 is a lit window, 20 a headlight.
        body: how far its temperature lies from the air's (0) to that of skin (1).
        over: own heat over the air's temperature.
        solar: heating in full sun, gone with it.
        stored: heating by a sunny day that lasts into the night.
        emissivity: in the band 8 to 14 um; the rest is reflection.
        sky: share of the reflection that comes from the cold sky.
        eo_texture: relative brightness of the texture.
        ir_texture: kelvin of the texture.
        shade: share of the sun's direct light that reaches it.
        retro: how much stronger than a matt surface it throws headlights back.
    """

    red: float
    green: float
    blue: float
    label: int = BACKGROUND
    glow: float = 0.0
    body: float = 0.0
    over: float = 0.0
    solar: float = 0.0
    stored: float = 0.0
    emissivity: float = 0.95
    sky: float = 0.3
    eo_texture: float = 0.0
    ir_texture: float = 0.0
    shade: float = 0.6
    retro: float = 0.0


COLUMN = {name: index for index, name in enumerate(Material._fields)}


def table(*materials: Material) -> NDArray[np.float32]:
    """The materials of a thing as rows, shape (n, fields); faces refer to them by row."""
    return np.array(materials, np.float32)


SKY = Material(0.75, 0.85, 1.0, eo_texture=0.35, ir_texture=4.0)
ASPHALT = Material(0.36, 0.36, 0.37, solar=9, stored=5, eo_texture=0.22, ir_texture=0.9, shade=0.7)
PAVING = Material(0.52, 0.50, 0.46, solar=6, stored=3, eo_texture=0.25, ir_texture=0.8, shade=0.7)
GRASS = Material(0.24, 0.34, 0.13, solar=2, over=-1, eo_texture=0.7, ir_texture=1.0, shade=0.7)
PAINT = Material(0.85, 0.85, 0.82, solar=6, stored=4, eo_texture=0.15, ir_texture=0.5, retro=0.6)
KERB = Material(0.62, 0.61, 0.57, CURVE, solar=6, stored=3, eo_texture=0.15, ir_texture=0.4)
LEAVES = Material(0.22, 0.35, 0.12, solar=2.5, over=-0.5, eo_texture=1.0, ir_texture=2.2, shade=0.8)
BARK = Material(0.25, 0.20, 0.15, solar=1.5, stored=1.5, shade=0.3)
STEEL = Material(0.55, 0.56, 0.57, emissivity=0.75, solar=3, stored=-1, sky=0.4)
GLASS = Material(0.18, 0.21, 0.24, emissivity=0.8, sky=0.8, over=0.5, shade=0.3)
TYRE = Material(0.06, 0.06, 0.06, CAR, solar=3)
RUBBER = Material(0.07, 0.07, 0.07, BIKE, over=0.5, solar=2)
CHROME = Material(0.6, 0.6, 0.62, CAR, emissivity=0.6, sky=0.3)
SHADOW = Material(0.13, 0.13, 0.14, over=-1.0, stored=3, ir_texture=0.5, shade=0.05)
