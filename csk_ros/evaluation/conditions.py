"""The conditions that a network is scored under: what happens to its images, and which routes then run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from csk_ros.evaluation import degradations
from csk_ros.modality import Modality, Route

if TYPE_CHECKING:
    from numpy.typing import NDArray

Part = Literal["modalities", "degradations", "missing", "noise", "speed"]
PARTS: tuple[Part, ...] = get_args(Part)
Images = dict[Modality, Any]
"""The images of one frame by modality, as :class:`~csk_ros.data.Sample` holds them."""

Change = Callable[[Images, np.random.Generator], Images]
Source = Callable[[int, int], "int | None"]

ZERO = "zero"
REGIONS = "missing_regions"
REGION_SHARES = (0.25, 0.5, 0.75)
SALT_AND_PEPPER = (0.05, 0.1, 0.2)
GAUSSIAN = (0.1, 0.2, 0.5)
LOSS_KINDS = ("darkness", "washout", "fog")
"""The degradations under which fused must not fall behind IR alone."""

_EO, _IR = Modality.EO, Modality.IR
_FUSED = (Route.FUSED,)


def _keep(images: Images, _: np.random.Generator) -> Images:
    return images


def _now(position: int, _: int) -> int:
    return position


@dataclass(frozen=True)
class Condition:
    """What happens to the images of a frame before a route sees them.

    Attributes:
        kind: what it is called.
        strength: how much, in ``unit``.
        unit: of the strength.
        hit: the modalities whose images change.
        routes: those worth running.
        change: makes the changed images; its only chance is the generator.
        source: from a frame's position in its sequence and the sequence's length, the position that the EO
            image comes from; None leaves the frame out.
    """

    kind: str
    strength: float
    unit: str
    hit: tuple[Modality, ...]
    routes: tuple[Route, ...] = _FUSED
    change: Change = _keep
    source: Source = _now

    @property
    def key(self) -> str:
        """Its own among all conditions: seeds its chance."""
        return f"{self.kind}:{self.strength:g}:{'+'.join(modality.value for modality in self.hit)}"


def choose_conditions(parts: frozenset[Part], *, gaussian: bool) -> list[Condition]:
    """The conditions of the chosen parts, in the order of the report.

    Args:
        parts: which; "speed" has none.
        gaussian: whether the noise part adds Gaussian noise to salt and pepper as well.
    """
    chosen: list[Condition] = []
    if parts & {"modalities", "missing"}:
        chosen += [_zero(_EO), _zero(_IR)]
    if "missing" in parts:
        chosen += [_regions(share, hit) for share in REGION_SHARES for hit in ((_EO,), (_IR,), (_EO, _IR))]
    if "noise" in parts:
        chosen += _noise("salt_and_pepper", (0, 0, 0))
        chosen += _noise("salt_and_pepper+gaussian", GAUSSIAN) if gaussian else []
    if "degradations" in parts:
        chosen += _degradations()
    return chosen


def _degradations() -> list[Condition]:
    table: tuple[tuple[str, str, Callable[[Any, float], Any], tuple[float, ...]], ...] = (
        ("darkness", "light left", degradations.darken, (0.5, 0.25, 0.1, 0.02)),
        ("washout", "contrast left", degradations.wash_out, (0.5, 0.25, 0.1, 0)),
        ("fog", "contrast left", degradations.fog, (0.5, 0.25, 0.1, 0)),
        ("overexposure", "gain", degradations.overexpose, (1.5, 2.5, 5)),
        ("motion_blur", "pixels", degradations.motion_blur, (9, 21, 41)),
        ("shift", "pixels", degradations.shift, (4, 8, 16)),
    )
    chosen = [
        Condition(kind, strength, unit, (_EO,), (Route.FUSED, Route.EO_ONLY), _on_eo(function, strength))
        for kind, unit, function, strengths in table
        for strength in strengths
    ]
    chosen += [Condition("frozen", n, "frames", (_EO,), source=_frozen(n)) for n in (5, 10)]
    chosen += [Condition("offset", k, "frames", (_EO,), source=_late(k)) for k in (1, 2, 5)]
    return chosen


def _zero(modality: Modality) -> Condition:
    def change(images: Images, _: np.random.Generator) -> Images:
        return {**images, modality: np.zeros_like(images[modality])}

    return Condition(ZERO, 1, "share", (modality,), change=change)


def _regions(share: float, hit: tuple[Modality, ...]) -> Condition:
    def change(images: Images, rng: np.random.Generator) -> Images:
        return {**images, **{m: degradations.lose_regions(images[m], share, rng) for m in hit}}

    return Condition(REGIONS, share, "share", hit, change=change)


def _noise(kind: str, sigmas: tuple[float, ...]) -> list[Condition]:
    return [
        Condition(kind, density, "density", (_EO, _IR), tuple(Route), _noisy(density, sigma))
        for density, sigma in zip(SALT_AND_PEPPER, sigmas, strict=True)
    ]


def _noisy(density: float, sigma: float) -> Change:
    def change(images: Images, rng: np.random.Generator) -> Images:
        return {m: degradations.add_noise(image, density, sigma, rng) for m, image in images.items()}

    return change


def _on_eo(function: Callable[[NDArray[np.uint8], float], NDArray[np.uint8]], strength: float) -> Change:
    def change(images: Images, _: np.random.Generator) -> Images:
        return {**images, _EO: function(images[_EO], strength)}

    return change


def _frozen(frames: int) -> Source:
    """The camera gives each image ``frames`` times, in sequences of at least that length."""
    return lambda position, length: position - position % frames if length >= frames else None


def _late(frames: int) -> Source:
    return lambda position, _: position - frames if position >= frames else None
