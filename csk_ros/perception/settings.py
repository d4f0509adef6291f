"""The settings of pairing, fallback and stream health."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from csk_ros.modality import Modality, Route
from csk_ros.perception.content import EO_CONTENT, IR_CONTENT, ContentSettings
from csk_ros.perception.health import HealthSettings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_MS = 1_000_000
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class PerceptionSettings:
    """How frames pair and when a stream counts as stale. All times are integer nanoseconds.

    Attributes:
        slop_ns: greatest stamp difference of a pair.
        eo_offset_ns: added to an EO stamp before it is compared with an IR stamp.
        max_wait_ns: longest time that an IR frame waits for an EO frame, from its arrival.
        stale_periods: EO is stale this many of its own periods after its last frame.
        ir_stale_periods: the same for IR. Losing IR moves the anchor, and a late IR frame is answered
            anyway, so IR is given longer: one late frame must not bring an EO-only mask in between.
        first_timeout_ns: a stream is stale after this time as long as no period is measured, from the
            start on before its first frame. Longer gaps never count as a period.
        return_frames: after an outage, EO counts as alive from its n-th frame in rhythm on.
        jump_back_ns: a stamp that is older than its predecessor by more than this is a new start
            (a bag that loops, a clock that was set); by less, it is a frame that arrived out of order.
        eo_buffer: most EO frames held.
        max_waiting: most IR frames that wait at a time; with one more, the oldest is decided at once.
        route: the only route to use, or None for the best one of what is there. With FUSED, anchor
            frames without a pair are dropped. What images show does not matter to a forced route.
        eo_content: when EO is unusable though its frames come. In 8 bit levels.
        ir_content: the same for IR. What levels a 16 bit camera gives to dark and bright is its own affair,
            so these are not checked; a sensor that is published several times over is no frozen one.

    Raises:
        ValueError: if a value is out of range; the message names the field.
    """

    slop_ns: int = 50 * _MS
    eo_offset_ns: int = 0
    max_wait_ns: int = 100 * _MS
    stale_periods: float = 1.5
    ir_stale_periods: float = 3.0
    first_timeout_ns: int = 1000 * _MS
    return_frames: int = 2
    jump_back_ns: int = 500 * _MS
    eo_buffer: int = 32
    max_waiting: int = 32
    route: Route | None = None
    eo_content: ContentSettings = EO_CONTENT
    ir_content: ContentSettings = IR_CONTENT

    def health(self, modality: Modality) -> HealthSettings:
        """What of these settings concerns the health of one stream; IR is back with its first frame."""
        heed = self.route is None
        if modality is Modality.EO:
            return HealthSettings(
                self.stale_periods, self.first_timeout_ns, self.return_frames, self.eo_content, heed
            )
        return HealthSettings(self.ir_stale_periods, self.first_timeout_ns, 1, self.ir_content, heed)

    def __post_init__(self) -> None:
        least = {
            "slop_ns": 0, "max_wait_ns": 0, "first_timeout_ns": 1, "return_frames": 1, "jump_back_ns": 0,
            "eo_buffer": 1, "max_waiting": 1,
        }  # fmt: skip
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} is {getattr(self, name)}: must be at least {bound}")
        for name in ("stale_periods", "ir_stale_periods"):
            if not 1 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}: must be more than 1 and finite")

    def held_to(self, routes: Collection[Route]) -> PerceptionSettings:
        """The same for a network with these routes; one that has a single route is never asked for another.

        Raises:
            ValueError: if the route that is forced is none of them.
        """
        if self.route is None and len(routes) == 1:
            return replace(self, route=next(iter(routes)))
        if self.route and self.route not in routes:
            names = ", ".join(sorted(route.value.lower() for route in routes))
            raise ValueError(f"'route' is '{self.route.value.lower()}': this network runs {names}")
        return self

    @classmethod
    def from_parameters(cls, values: Mapping[str, Any]) -> PerceptionSettings:
        """The settings that the node's parameters make; those that are not given keep their default.

        Args:
            values: parameters by name, such as ``slop`` (seconds) or ``eo_dark``; others are left alone.

        Raises:
            ValueError: for values that mean nothing together.
        """
        seconds = {
            "slop": "slop_ns",
            "eo_time_offset": "eo_offset_ns",
            "max_wait": "max_wait_ns",
            "first_timeout": "first_timeout_ns",
        }
        chosen: dict[str, Any] = {
            field: int(values[name] * _SECOND) for name, field in seconds.items() if name in values
        }
        if "return_frames" in values:
            chosen["return_frames"] = values["return_frames"]
        if values.get("route", "auto") != "auto":
            chosen["route"] = Route[values["route"].upper()]
        return cls(
            **chosen,
            eo_content=_content(EO_CONTENT, "eo", values),
            ir_content=_content(IR_CONTENT, "ir", values),
        )


def _content(defaults: ContentSettings, prefix: str, values: Mapping[str, Any]) -> ContentSettings:
    names = {
        field.name: values.get(f"{prefix}_{field.name}", values.get(field.name)) for field in fields(defaults)
    }
    return replace(defaults, **{name: value for name, value in names.items() if value is not None})
