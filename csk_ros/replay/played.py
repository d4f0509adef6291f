"""What happened while a bag was played to a node, before figures are made of it. No ROS here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csk_ros.labels import LabelSet
    from csk_ros.modality import Modality, Route


class Sent(NamedTuple):
    """One image that was published.

    Attributes:
        modality: its camera.
        turn: how often the bag had been played before.
        seconds: when it was due, in seconds of the bag since its start; goes on from turn to turn.
        stamp_ns: its stamp in the bag, after injection.
        live_ns: its stamp as published.
        moment_ns: the moment of its stamp on the wall clock; latency counts from here.
        sent_ns: when it was published, on the wall clock.
        late_ns: how much later than due.
    """

    modality: Modality
    turn: int
    seconds: float
    stamp_ns: int
    live_ns: int
    moment_ns: int
    sent_ns: int
    late_ns: int


class Mask(NamedTuple):
    """One mask as it came back.

    Attributes:
        stamp_ns: of the image that it segments, as published.
        source_ns: when it left the node, on the wall clock.
        received_ns: when it was received, on the wall clock.
    """

    stamp_ns: int
    source_ns: int
    received_ns: int


class Announced(NamedTuple):
    """A route that the node announced, and when that left the node, on the wall clock."""

    source_ns: int
    route: Route


class Standing(NamedTuple):
    """How a stream stood when the node reported; fields as in ``StreamSample``, time on the wall clock."""

    wall_ns: int
    state: str
    rate_hz: float
    fault: str


class Usage(NamedTuple):
    """What the node's process used; fields as in ``ResourceSample``, the time on the wall clock."""

    wall_ns: int
    cpu_percent: float | None
    memory_mib: float
    gpu_percent: float | None = None
    gpu_memory_mib: float | None = None


@dataclass(frozen=True)
class NodeReports:
    """What the node's diagnostics said over a run.

    Attributes:
        account: what its counters counted over the run, by name; empty if it never told.
        streams: how each stream stood, by report.
        stages_ms: of each stage, the medians of all reports.
        facts: what it last said of itself, such as engine and device.
        memory: what it said of its memory.
        restarts: how often its counters began anew.
    """

    account: Mapping[str, int] = field(default_factory=dict)
    streams: Mapping[Modality, tuple[Standing, ...]] = field(default_factory=dict)
    stages_ms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    memory: tuple[Usage, ...] = ()
    restarts: int = 0


@dataclass(frozen=True)
class Played:
    """A run.

    Attributes:
        start_ns: when the first moment of the bag was due, on the wall clock.
        start_s: that moment, in seconds since the bag's start.
        rate: how much faster than recorded.
        length_s: of what was played, in seconds of the bag, all turns together.
        complete: whether all of it was.
        sent: published images, in order.
        masks: received masks, in order of receipt.
        routes: announced routes, in order of departure.
        reports: what the node said.
        usage: what its process used; empty where it cannot be seen.
        label_set: the classes of the masks.
        facts: what the node is, by name, for people.
        problems: what went wrong on the way, a line each.
        ending: why a node of its own did not end as it should; empty if it did.
    """

    start_ns: int
    start_s: float
    rate: float
    length_s: float
    complete: bool
    sent: tuple[Sent, ...]
    masks: tuple[Mask, ...]
    routes: tuple[Announced, ...]
    reports: NodeReports
    label_set: LabelSet
    usage: tuple[Usage, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    ending: str = ""

    def seconds(self, wall_ns: int) -> float:
        """A moment on the wall clock in seconds of the bag."""
        return self.start_s + (wall_ns - self.start_ns) / 1e9 * self.rate
