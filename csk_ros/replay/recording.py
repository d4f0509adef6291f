"""What happened while a drive was played to a node, and the figures that follow from it. No ROS here."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from csk_ros.modality import Modality, Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class RecordingError(ValueError):
    """A recording that does not show what it has to; the message is one line."""


@dataclass(frozen=True)
class SentFrame:
    """One camera image that was published.

    Attributes:
        modality: its camera.
        stamp_ns: its stamp as published.
        sent_ns: when it was published, on the clock of the stamps.
        late_ns: how much later than the drive's own pace.
    """

    modality: Modality
    stamp_ns: int
    sent_ns: int
    late_ns: int


@dataclass(frozen=True)
class RouteChange:
    """The node's announcement of a route, with the time at which it left the node."""

    source_ns: int
    route: Route


@dataclass(frozen=True)
class ReceivedMask:
    """One mask as it came back.

    Attributes:
        stamp_ns: stamp of the image that it segments.
        source_ns: when it left the node.
        received_ns: when it was received.
    """

    stamp_ns: int
    source_ns: int
    received_ns: int


@dataclass(frozen=True)
class Span:
    """A stretch of masks of one route, in seconds since the drive's start; ``end_s`` is its last frame."""

    route: Route
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Recording:
    """A drive and what a node made of it. All times are nanoseconds on the clock of the live stamps.

    Attributes:
        drive: bag that was played.
        masks_bag: bag with the recorded masks.
        start_ns: when the drive's first message was due; stamps less this are times into the drive.
        offset_ns: live stamp less the stamp in the drive.
        cuts: stretches without EO, as (from, to) in seconds since the drive's start.
        sent: published images in order.
        masks: received masks in order of receipt.
        routes: announced routes in order of departure.
        account: counters of the node's diagnostics over the run, by name.
    """

    drive: Path
    masks_bag: Path
    start_ns: int
    offset_ns: int
    cuts: tuple[tuple[float, float], ...]
    sent: tuple[SentFrame, ...]
    masks: tuple[ReceivedMask, ...]
    routes: tuple[RouteChange, ...]
    account: dict[str, int] = field(default_factory=dict)

    def seconds(self, time_ns: int) -> float:
        """A time as seconds since the drive's start."""
        return (time_ns - self.start_ns) / 1e9

    @cached_property
    def route_of(self) -> dict[int, Route]:
        """Route by mask stamp: the last one announced before the mask left the node.

        Raises:
            RecordingError: if a mask left before any route was announced.
        """
        departures = [change.source_ns for change in self.routes]
        found: dict[int, Route] = {}
        for mask in self.masks:
            position = bisect.bisect_right(departures, mask.source_ns) - 1
            if position < 0:
                raise RecordingError("a mask came before the node announced its route")
            found[mask.stamp_ns] = self.routes[position].route
        return found

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """The routes in the order of the images."""
        stamps = sorted(self.route_of)
        runs = ((route, list(run)) for route, run in groupby(stamps, key=self.route_of.__getitem__))
        return tuple(Span(route, self.seconds(run[0]), self.seconds(run[-1])) for route, run in runs)

    @property
    def latencies_ms(self) -> list[float]:
        """Time from stamp to receipt of every mask, in milliseconds."""
        return [(mask.received_ns - mask.stamp_ns) / 1e6 for mask in self.masks]

    @property
    def sent_ir(self) -> int:
        """Thermal images published."""
        return sum(frame.modality is Modality.IR for frame in self.sent)

    def eo_loss_to_ir_only_ms(self) -> list[float]:
        """From publishing the last EO image before a cut to receiving the first IR_ONLY mask in it.

        One number per cut; a cut in which no such mask came has none.
        """
        times = (
            self._first_mask_ms(Route.IR_ONLY, last.sent_ns, back.sent_ns if back else None)
            for last, back in self._eo_edges()
        )
        return [ms for ms in times if ms is not None]

    def eo_return_to_fused_ms(self) -> list[float]:
        """From publishing the first EO image after a cut to receiving the first FUSED mask; as above."""
        returns = [back for _, back in self._eo_edges() if back is not None]
        times = (self._first_mask_ms(Route.FUSED, back.sent_ns, None) for back in returns)
        return [ms for ms in times if ms is not None]

    def _first_mask_ms(self, route: Route, from_ns: int, until_ns: int | None) -> float | None:
        for mask in self.masks:
            in_time = from_ns <= mask.received_ns and (until_ns is None or mask.received_ns < until_ns)
            if in_time and self.route_of[mask.stamp_ns] is route:
                return (mask.received_ns - from_ns) / 1e6
        return None

    def _eo_edges(self) -> list[tuple[SentFrame, SentFrame | None]]:
        """The last EO image before each cut and the first one after it."""
        eo = [frame for frame in self.sent if frame.modality is Modality.EO]
        edges = []
        for start_s, end_s in self.cuts:
            before = [frame for frame in eo if self.seconds(frame.stamp_ns) < start_s]
            after = [frame for frame in eo if self.seconds(frame.stamp_ns) >= end_s]
            if before:
                edges.append((before[-1], after[0] if after else None))
        return edges


def count_dropped(account: dict[str, int]) -> int:
    """All images that the node dropped, whatever the cause."""
    return sum(count for name, count in account.items() if name.startswith("dropped_"))


def percentiles(values: Sequence[float], at: Iterable[int]) -> dict[str, float]:
    """``{"p50": ...}`` for each percentile in ``at``."""
    return {f"p{q}": float(np.percentile(values, q)) for q in at}
