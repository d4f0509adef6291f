"""Pairs EO with IR frames by stamp, waiting no longer than it pays."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from csk_ros.perception.frames import Frame, Reason
from csk_ros.perception.health import StreamHealth, StreamState
from csk_ros.perception.stamps import StampVerdict

if TYPE_CHECKING:
    from csk_ros.perception.settings import PerceptionSettings

T = TypeVar("T")

_STAMP_GAPS = 7

_REASON_OF = {
    StreamState.STALE: Reason.EO_STALE,
    StreamState.RETURNING: Reason.EO_RETURNING,
    StreamState.UNUSABLE: Reason.EO_UNUSABLE,
}


@dataclass(frozen=True)
class Pair(Generic[T]):
    """An IR frame, the EO frame found for it, and why."""

    ir: Frame[T]
    eo: Frame[T] | None
    reason: Reason


@dataclass
class _Held(Generic[T]):
    frame: Frame[T]
    counted: bool


@dataclass
class _Waiting(Generic[T]):
    frame: Frame[T]
    until_ns: int


class Pairer(Generic[T]):
    """Holds EO frames and waiting IR frames; `decide` yields the IR frames whose time has come, in order.

    An EO frame is unused when it leaves the buffer without having been part of a pair.
    """

    def __init__(self, settings: PerceptionSettings) -> None:
        self.settings = settings
        self.used = 0
        self.unused = 0
        self._eo: list[_Held[T]] = []  # in stamp order
        self._eo_unstamped = False
        self._stamp_gaps: deque[int] = deque(maxlen=_STAMP_GAPS)
        self._stamp_period_ns: int | None = None
        self._waiting: list[_Waiting[T]] = []  # in stamp order, the waiting times too
        self._decided_stamp_ns: int | None = None
        self._out: list[Pair[T]] = []

    @property
    def waiting(self) -> int:
        """Number of IR frames that wait."""
        return len(self._waiting)

    @property
    def buffered(self) -> int:
        """Number of EO frames in the buffer."""
        return len(self._eo)

    @property
    def held(self) -> int:
        """Number of EO frames in the buffer that count as neither used nor unused yet."""
        return sum(not held.counted for held in self._eo)

    def add_eo(self, frame: Frame[T], verdict: StampVerdict, *, counted: bool) -> None:
        """Takes an EO frame. With `counted` it is accounted for elsewhere: neither used nor unused here."""
        self._eo_unstamped = verdict is StampVerdict.MISSING
        if self._eo_unstamped or verdict is StampVerdict.REPEATED:
            self.unused += not counted
            return
        if verdict is StampVerdict.JUMPED_BACK:
            self._settle_before_jump(frame.stamp_ns)
            self._keep_eo([])
        if verdict is StampVerdict.NEWER and self._eo:
            self._stamp_gaps.append(frame.stamp_ns - self._eo[-1].frame.stamp_ns)
            self._stamp_period_ns = sorted(self._stamp_gaps)[len(self._stamp_gaps) // 2]
        insort(self._eo, _Held(frame, counted), key=_stamp)
        if len(self._eo) > self.settings.eo_buffer:
            self._keep_eo(self._eo[-self.settings.eo_buffer :])

    def forget_eo(self) -> None:
        """Drops all EO frames from the buffer: they are not to be paired any more."""
        self._keep_eo([])

    def add_ir(self, frame: Frame[T], verdict: StampVerdict, now_ns: int) -> bool:
        """Takes an IR frame with a stamp; False if it is too late, a newer one being decided already."""
        if verdict is StampVerdict.JUMPED_BACK:
            self._jump_back(self._target(frame))
        elif self._decided_stamp_ns is not None and frame.stamp_ns <= self._decided_stamp_ns:
            return False
        place = bisect_left(self._waiting, frame.stamp_ns, key=_stamp)
        until = now_ns + self.settings.max_wait_ns
        if place < len(self._waiting):
            until = min(until, self._waiting[place].until_ns)
        self._waiting.insert(place, _Waiting(frame, until))
        return True

    def is_waiting(self, stamp_ns: int) -> bool:
        """Whether an IR frame with this stamp waits."""
        place = bisect_left(self._waiting, stamp_ns, key=_stamp)
        return place < len(self._waiting) and _stamp(self._waiting[place]) == stamp_ns

    def decide(self, now_ns: int, eo: StreamHealth) -> list[Pair[T]]:
        """The IR frames for which waiting is over at `now_ns`, in stamp order."""
        if not self._waiting and not self._out:
            return []
        alive_until = eo.alive_until_ns
        while self._waiting:
            head = self._waiting[0]
            due = min(head.until_ns, alive_until) <= now_ns
            if due and alive_until <= head.until_ns:
                self._settle(None, _absence(eo, now_ns))
            elif self._is_settled(head, eo):
                self._settle(self._best(head.frame), self._without_match)
            elif due:
                self._settle(self._best(head.frame), Reason.WAIT_ENDED)
            elif len(self._waiting) > self.settings.max_waiting:
                self._settle(self._best(head.frame), Reason.CROWDED)
            else:
                break
        out, self._out = self._out, []
        return out

    def flush(self, without: Reason, *, match: bool = True) -> list[Pair[T]]:
        """Decides all waiting IR frames now: with what is at hand, or with `match` false alone."""
        self._settle_all(without, match=match)
        out, self._out = self._out, []
        return out

    def abandon(self) -> int:
        """Forgets all waiting IR frames and says how many there were."""
        count = len(self._waiting)
        self._waiting.clear()
        return count

    def next_deadline_ns(self, eo: StreamHealth) -> int | None:
        """When `decide` has something to say even if nothing arrives; None when nothing waits."""
        return min(self._waiting[0].until_ns, eo.alive_until_ns) if self._waiting else None

    @property
    def _without_match(self) -> Reason:
        return Reason.NO_STAMP if self._eo_unstamped else Reason.NO_MATCH

    def _target(self, ir: Frame[T]) -> int:
        """The EO stamp that would match exactly."""
        return ir.stamp_ns - self.settings.eo_offset_ns

    def _best(self, ir: Frame[T]) -> _Held[T] | None:
        target = self._target(ir)
        place = bisect_left(self._eo, target, key=_stamp)
        near = self._eo[max(0, place - 1) : place + 1]
        best = min(near, key=lambda held: abs(_stamp(held) - target), default=None)
        if best is None or abs(_stamp(best) - target) > self.settings.slop_ns:
            return None
        return best

    def _is_settled(self, anchor: _Waiting[T], eo: StreamHealth) -> bool:
        """Whether no EO frame is to be expected in time that would match better than those at hand."""
        if self._eo_unstamped:
            return True
        if not self._eo:
            return False
        ahead = self._target(anchor.frame) - _stamp(self._eo[-1])
        period = self._stamp_period_ns
        if ahead <= 0 or not period:
            return ahead <= 0
        steps = max(1, (ahead + period // 2) // period)
        if eo.period_ns and eo.last_arrival_ns is not None:
            left = anchor.until_ns - eo.last_arrival_ns + eo.period_ns // 2
            steps = min(steps, left // eo.period_ns)
        if steps < 1:
            return True
        distance, tolerance = abs(steps * period - ahead), period // 8
        if ahead <= self.settings.slop_ns:
            return distance + tolerance >= ahead
        return distance - tolerance > self.settings.slop_ns

    def _settle(self, match: _Held[T] | None, without: Reason) -> None:
        ir = self._waiting.pop(0).frame
        self._decided_stamp_ns = ir.stamp_ns
        if match is None:
            self._out.append(Pair(ir, None, without))
        else:
            self.used += not match.counted
            match.counted = True
            self._out.append(Pair(ir, match.frame, Reason.PAIRED))
        # Anchors only get newer from here: of the EO frames before, the last one is the nearest to all.
        place = bisect_right(self._eo, self._target(ir), key=_stamp)
        if place > 1:
            self._keep_eo(self._eo[place - 1 :])

    def _settle_before_jump(self, eo_stamp_ns: int) -> None:
        """Decides the waiting IR frames, unless IR has jumped back to about the same time already."""
        if self._waiting:
            ahead = self._target(self._waiting[-1].frame) - eo_stamp_ns
            if ahead > self.settings.jump_back_ns:
                self._settle_all(Reason.NO_MATCH)

    def _settle_all(self, without: Reason, *, match: bool = True) -> None:
        while self._waiting:
            self._settle(self._best(self._waiting[0].frame) if match else None, without)

    def _jump_back(self, target: int) -> None:
        """Starts anew at the EO stamp `target`; EO frames near it may have come ahead and are kept."""
        self._settle_all(Reason.NO_MATCH)
        self._decided_stamp_ns = None
        near = self.settings.jump_back_ns
        self._keep_eo([held for held in self._eo if abs(_stamp(held) - target) <= near])

    def _keep_eo(self, kept: list[_Held[T]]) -> None:
        uncounted = self.held
        self._eo = kept
        self.unused += uncounted - self.held


def _stamp(entry: _Held[T] | _Waiting[T]) -> int:
    return entry.frame.stamp_ns


def _absence(eo: StreamHealth, now_ns: int) -> Reason:
    state = eo.state(now_ns)
    if eo.last_arrival_ns is None and state is not StreamState.UNUSABLE:
        return Reason.EO_ABSENT
    return _REASON_OF[state]
