"""What goes into perception and what comes out: frames, decisions, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from csk_ros.modality import Modality, Route
    from csk_ros.perception.content import Look

T = TypeVar("T")


class Reason(str, Enum):
    """Why a decision took its route."""

    PAIRED = "paired"
    EO_STALE = "eo stale"
    EO_RETURNING = "eo back, not yet trusted"
    EO_UNUSABLE = "eo unusable"
    EO_ABSENT = "no eo since start"
    NO_MATCH = "no eo within slop"
    WAIT_ENDED = "no eo within slop in time"
    CROWDED = "too many ir frames waiting"
    NO_STAMP = "stamp missing or stuck"
    IR_STALE = "ir stale"
    IR_UNUSABLE = "ir unusable"
    NEITHER_USABLE = "neither stream usable"
    FORCED = "route forced"


class DropCause(str, Enum):
    """Why a frame got no mask."""

    SUPERSEDED = "superseded by a newer frame"
    UNREADABLE = "unreadable"
    ENGINE_FAILED = "engine failed"
    ENGINE_STUCK = "engine did not answer in time"
    FAILED = "unexpected error"
    OUT_OF_ORDER = "arrived out of order"
    DUPLICATE = "stamp repeated"
    NO_PAIR = "no pair for the forced fused route"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True)
class Frame(Generic[T]):
    """One image of one stream.

    Attributes:
        stamp_ns: time of capture from the message header; 0 or less means that it has none.
        arrival_ns: time of arrival on a steady clock, the one that is handed to `Perception.advance`.
        payload: whatever the caller wants back with the decision.
        look: what the image shows at a glance; None if nobody looked, which says nothing about it.
    """

    modality: Modality
    stamp_ns: int
    arrival_ns: int
    payload: T
    look: Look | None = None


@dataclass(frozen=True)
class Decision(Generic[T]):
    """What to segment. The caller owes each decision one `answered` or `dropped`."""

    eo: Frame[T] | None
    ir: Frame[T] | None
    route: Route
    reason: Reason
    decided_ns: int
    number: int

    @property
    def anchor(self) -> Frame[T]:
        """The frame that is answered: the IR frame if there is one, else the EO frame."""
        frame = self.ir or self.eo
        assert frame is not None, "a decision has a frame"  # noqa: S101 (an invariant, for the type)
        return frame
