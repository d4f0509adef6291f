"""What a replay gives, deterministic or live: a row per anchor frame, and what goes with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from csk_ros.evaluation.metrics import RouteScores
    from csk_ros.labels import LabelSet
    from csk_ros.modality import Modality, Route
    from csk_ros.replay.injection import Injection
    from csk_ros.replay.topics import InputTopics


@dataclass(frozen=True)
class FrameRow:
    """What became of one anchor frame.

    Attributes:
        seconds: when it was received, since the start of the bag.
        stamp_ns: its stamp in the bag (after injection).
        mask_stamp_ns: the stamp of its mask; a live run moves stamps to the present.
        anchor: its stream.
        eo_stamp_ns: the stamp in the bag of the optical image that went in; None without one.
        route: that made its mask; None: there is no mask.
        cause: why this route, or why no mask: the name of a ``Reason`` or ``DropCause``, or ``LOST`` for
            what a live run lost on the way.
        wait_ms: from its arrival to the decision what to do with it; None if not known.
        latency_ms: live: from its stamp to the receipt of its mask.
        compute_ms: deterministic: the Segmenter's time.
        miou: of its mask, 0 to 1, over the classes of its labels; None without labels.
    """

    seconds: float
    stamp_ns: int
    mask_stamp_ns: int
    anchor: Modality
    eo_stamp_ns: int | None
    route: Route | None
    cause: str
    wait_ms: float | None = None
    latency_ms: float | None = None
    compute_ms: float | None = None
    miou: float | None = None


@dataclass(frozen=True)
class StreamSample:
    """How a stream stood at one moment.

    Attributes:
        seconds: since the start of the bag.
        state: name of a ``StreamState``, such as ``ALIVE``.
        rate_hz: measured rate; 0 when stale.
        fault: what makes it unusable; empty while it is usable.
    """

    seconds: float
    state: str
    rate_hz: float
    fault: str = ""


@dataclass(frozen=True)
class ResourceSample:
    """What the node's process used at one moment of a live run.

    Attributes:
        seconds: since the start of the bag.
        cpu_percent: of one core; two busy cores are 200. None where the process cannot be seen.
        memory_mib: resident memory.
        gpu_percent: of the GPU; None without one.
        gpu_memory_mib: of the process on the GPU; None without one.
    """

    seconds: float
    cpu_percent: float | None
    memory_mib: float
    gpu_percent: float | None = None
    gpu_memory_mib: float | None = None


@dataclass(frozen=True)
class Agreement:
    """How far the fused route and thermal alone agree on the same frames.

    Attributes:
        frames: compared.
        pixels: share of pixels with the same class, 0 to 1.
        miou: mean IoU of the one against the other over the classes that either holds, 0 to 1.
    """

    frames: int
    pixels: float
    miou: float


@dataclass(frozen=True)
class Consistency:
    """How steady the masks of one route are in time: each against the one before, moved by optical flow.

    Attributes:
        pairs: of consecutive frames that were compared.
        miou: mean IoU over the classes that either holds, 0 to 1.
    """

    pairs: int
    miou: float


@dataclass(frozen=True)
class RouteSpan:
    """A stretch of masks of one route, in seconds since the bag's start; ``end_s`` is its last frame."""

    route: Route
    start_s: float
    end_s: float


@dataclass(frozen=True)
class ReplayResult:
    """A replay of a bag.

    Attributes:
        kind: ``offline``, deterministic without DDS; ``live``, through a running node.
        bag: what was replayed.
        masks: the bag with the masks.
        topics: of the bag.
        label_set: the classes.
        length_s: of the part that was replayed.
        start_s: where that part begins, in seconds since the start of the bag.
        complete: whether all of it was; False after an interruption or where the bag is damaged.
        interrupted: whether it was interrupted.
        problems: what could not be read, a line each.
        injections: what was done to the streams.
        labels: where labels came from, in words; empty without.
        rows: anchor frames in order of arrival.
        received: images that came, by stream.
        counts: what became of images apart from rows: name to count, such as ``eo_unused``.
        streams: how each stream stood, a sample per second and at each change.
        scores: against labels; None without.
        agreement: of the fused route with thermal alone; None if it was not measured.
        consistency: by route; empty if it was not measured.
        stages_ms: time of each stage of a frame: median by name.
        resources: of the node's process; empty offline.
        late_ms: live: how late each image was published.
        lost_ms: by loss of EO, from the last EO image before it (live: sent; offline: received) to the first
            IR_ONLY mask (live: received; offline: decided).
        returned_ms: by return of EO, from the first EO image after it to the first FUSED mask; likewise.
        configuration: what was run, by name.
        versions: software, by name.
    """

    kind: Literal["offline", "live"]
    bag: Path
    masks: Path
    topics: InputTopics
    label_set: LabelSet
    length_s: float
    start_s: float = 0.0
    complete: bool = True
    interrupted: bool = False
    problems: tuple[str, ...] = ()
    injections: tuple[Injection, ...] = ()
    labels: str = ""
    rows: tuple[FrameRow, ...] = ()
    received: Mapping[Modality, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    streams: Mapping[Modality, tuple[StreamSample, ...]] = field(default_factory=dict)
    scores: RouteScores | None = None
    agreement: Agreement | None = None
    consistency: Mapping[Route, Consistency] = field(default_factory=dict)
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    resources: tuple[ResourceSample, ...] = ()
    late_ms: tuple[float, ...] = ()
    lost_ms: tuple[float, ...] = ()
    returned_ms: tuple[float, ...] = ()
    configuration: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def answered(self) -> tuple[FrameRow, ...]:
        """The frames that got a mask."""
        return tuple(row for row in self.rows if row.route)

    @property
    def spans(self) -> tuple[RouteSpan, ...]:
        """The routes in the order of the frames."""
        runs = [(route, list(run)) for route, run in groupby(self.answered, key=lambda row: row.route)]
        return tuple(RouteSpan(route, run[0].seconds, run[-1].seconds) for route, run in runs if route)
