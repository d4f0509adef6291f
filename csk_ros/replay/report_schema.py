"""The schema of ``report.json``: one dataclass per object, explained field by field in ``docs/report.md``.

Units are in the names: ``_s`` seconds since the start of the bag, ``_ms`` milliseconds, ``_hz`` per second.
Scores and shares are 0 to 1. A figure that does not exist is ``null``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

SCHEMA = 2
"""Rises when a field of the report changes its meaning or goes."""


class ReportError(ValueError):
    """A report that cannot be read; the message is one line and names the file."""


@dataclass(frozen=True)
class Spread:
    """How values spread: how many there are, their mean, percentiles and greatest."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Self | None:
        """The spread of the values that are known, rounded to thousandths; None without any."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        p50, p95, p99 = (round(float(value), 3) for value in np.percentile(known, (50, 95, 99)))
        return cls(len(known), round(float(np.mean(known)), 3), p50, p95, p99, round(max(known), 3))


@dataclass(frozen=True)
class BagFacts:
    """What was replayed."""

    name: str
    start_s: float
    length_s: float
    topics: dict[str, str | None]


@dataclass(frozen=True)
class InjectionFacts:
    """What was done to a stream, in words, and when."""

    modality: str
    kind: str
    text: str
    spans_s: list[tuple[float, float]]


@dataclass(frozen=True)
class Span:
    """A stretch of masks of one route; ``end_s`` is the time of its last frame."""

    route: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Frames:
    """The account: anchors = masks_out + dropped + lost_in_transport."""

    eo_in: int
    ir_in: int
    anchors: int
    masks_out: int
    masks_hz: float | None
    dropped: int
    lost_in_transport: int
    by_route: dict[str, int]
    dropped_by: dict[str, int]
    not_fused_by: dict[str, int]
    apart: dict[str, int]


@dataclass(frozen=True)
class Switch:
    """How fast the route changed, a number per loss and per return of EO."""

    eo_loss_to_ir_only_ms: list[float]
    eo_return_to_fused_ms: list[float]


@dataclass(frozen=True)
class StateSpan:
    """A stretch in which a stream stood in one way."""

    state: str
    fault: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Stream:
    """How one stream did."""

    received: int
    rate_hz: float | None
    share: dict[str, float]
    states: list[StateSpan]


@dataclass(frozen=True)
class RouteScore:
    """Scores of one route's masks against labels."""

    frames: int
    miou: float | None
    miou_absent_zero: float | None
    pixel_accuracy: float | None
    iou: dict[str, float | None]
    confusion: list[list[int]]


@dataclass(frozen=True)
class AgreementFacts:
    """How far FUSED and IR_ONLY agree on the same frames."""

    frames: int
    pixels: float | None
    miou: float | None


@dataclass(frozen=True)
class ConsistencyFacts:
    """How steady the masks of a route are in time."""

    pairs: int
    miou: float | None


@dataclass(frozen=True)
class Timing:
    """Speed of the Segmenter on this machine; like ``versions.machine`` it may differ between equal runs."""

    compute_ms: Spread | None
    compute_ms_by_route: dict[str, Spread]
    stages_ms: dict[str, float]
    segmenter_hz: float | None


@dataclass(frozen=True)
class Report:
    """Everything in ``report.json``."""

    schema: int
    kind: Literal["offline", "live"]
    bag: BagFacts
    complete: bool
    problems: list[str]
    injections: list[InjectionFacts]
    labels: str | None
    classes: list[str]
    frames: Frames
    routes: list[Span]
    switch: Switch
    streams: dict[str, Stream]
    wait_ms: Spread | None
    latency_ms: Spread | None
    latency_ms_by_route: dict[str, Spread]
    player_late_ms: Spread | None
    miou: dict[str, float | None]
    scores: dict[str, RouteScore]
    agreement: AgreementFacts | None
    consistency: dict[str, ConsistencyFacts]
    resources: dict[str, Spread]
    timing: Timing
    configuration: dict[str, str]
    versions: dict[str, str]


def read_report(path: str | Path) -> dict[str, Any]:
    """The document in a ``report.json``, or in the folder that holds one.

    Raises:
        ReportError: if it is missing, foreign, or of another schema.
    """
    path = Path(path)
    path = path / "report.json" if path.is_dir() else path
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path} is no report: it is not JSON ({error})") from error
    if not isinstance(document, dict) or not isinstance(document.get("schema"), int):
        raise ReportError(f"{path} is no report of a replay: it names no schema")
    if document["schema"] != SCHEMA:
        raise ReportError(
            f"{path} is of schema {document['schema']}, this csk reads {SCHEMA}: replay the bag again"
        )
    missing = Report.__dataclass_fields__.keys() - document.keys()
    if missing:
        raise ReportError(f"{path} is no whole report: it lacks {', '.join(sorted(missing))}")
    return document
