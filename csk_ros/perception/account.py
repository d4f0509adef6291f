"""The account of every frame: what came, what was answered, what was dropped and why, and how fast."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from csk_ros.modality import Modality, Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csk_ros.perception.frames import Decision, DropCause, Reason

T = TypeVar("T")

_PRECISION_BITS = 8


@dataclass(frozen=True)
class Percentiles:
    """A distribution of durations in nanoseconds; all 0 when `count` is 0. Errors are below 1 %."""

    count: int
    p50_ns: int
    p95_ns: int
    p99_ns: int
    greatest_ns: int

    def as_dict(self) -> dict[str, float]:
        """The same in milliseconds, ready for JSON."""
        durations = {
            "p50": self.p50_ns, "p95": self.p95_ns, "p99": self.p99_ns, "max": self.greatest_ns,
        }  # fmt: skip
        return {"count": self.count} | {name: ns / 1e6 for name, ns in durations.items()}


class Durations:
    """Durations in buckets whose width grows with the value, so memory is bounded however many come."""

    def __init__(self) -> None:
        self._buckets: Counter[tuple[int, int]] = Counter()
        self._greatest = 0

    def add(self, duration_ns: int) -> None:
        """Counts one duration; below zero counts as zero."""
        duration = max(duration_ns, 0)
        shift = max(duration.bit_length() - _PRECISION_BITS, 0)
        self._buckets[shift, duration >> shift] += 1
        self._greatest = max(self._greatest, duration)

    def percentiles(self) -> Percentiles:
        """The distribution so far."""
        count = self._buckets.total()
        p50, p95, p99 = (self._value_at(-(-count * percent // 100)) for percent in (50, 95, 99))
        return Percentiles(count, p50, p95, p99, self._greatest)

    def _value_at(self, rank: int) -> int:
        seen = 0
        for (shift, value), count in sorted(self._buckets.items()):
            seen += count
            if seen >= rank:
                return min((value << shift) + ((1 << shift) >> 1), self._greatest)
        return 0


@dataclass(frozen=True)
class StreamAccount:
    """The frames of one stream.

    `received` is the sum of all other counts: refused before perception saw them, taken as anchors,
    used or unused as the partner of an anchor, set aside because their stream was unusable, or still held
    for a pair.
    """

    received: int
    refused: Mapping[DropCause, int]
    anchors: int
    used: int
    unused: int
    held: int
    unusable: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every frame is accounted for."""
        as_partner = self.used + self.unused + self.unusable + self.held
        return self.received == sum(self.refused.values()) + self.anchors + as_partner


@dataclass(frozen=True)
class Account:
    """A snapshot of all counts.

    Attributes:
        streams: what came, by stream.
        answered: anchor frames that got a mask, by the route that made it.
        dropped: anchor frames that got none, by cause.
        waiting: anchor frames that wait for a partner.
        unanswered: decisions whose outcome the caller has not told yet.
        reasons: decisions by reason.
        wait: arrival to decision, of anchor frames.
        latency: arrival to answer, of anchor frames.
    """

    streams: Mapping[Modality, StreamAccount]
    answered: Mapping[Route, int]
    dropped: Mapping[DropCause, int]
    waiting: int
    unanswered: int
    reasons: Mapping[Reason, int]
    wait: Percentiles
    latency: Percentiles

    @property
    def anchors(self) -> int:
        """Number of anchor frames received."""
        return sum(stream.anchors for stream in self.streams.values())

    @property
    def in_hand(self) -> int:
        """Anchor frames without an outcome yet."""
        return self.waiting + self.unanswered

    @property
    def balanced(self) -> bool:
        """Whether received = answered + dropped + in hand, and every frame of each stream is known."""
        known = sum(self.answered.values()) + sum(self.dropped.values()) + self.in_hand
        return self.anchors == known and all(stream.balanced for stream in self.streams.values())

    def as_dict(self) -> dict[str, Any]:
        """The account in plain types, ready for JSON; times in milliseconds."""
        return {
            "streams": {
                modality.value: {
                    "received": stream.received, "refused": _plain(stream.refused),
                    "anchors": stream.anchors, "used": stream.used, "unused": stream.unused,
                    "unusable": stream.unusable, "held": stream.held,
                }
                for modality, stream in self.streams.items()
            },
            "answered": _plain(self.answered), "dropped": _plain(self.dropped), "in_hand": self.in_hand,
            "reasons": _plain(self.reasons),
            "wait_ms": self.wait.as_dict(), "latency_ms": self.latency.as_dict(),
        }  # fmt: skip


class Ledger:
    """Keeps the counts; every number in the account is counted on its own, so that it can disagree."""

    def __init__(self) -> None:
        self.received: Counter[Modality] = Counter()
        self.refused: dict[Modality, Counter[DropCause]] = {modality: Counter() for modality in Modality}
        self.anchors: Counter[Modality] = Counter()
        self.unused: Counter[Modality] = Counter()
        self.unusable: Counter[Modality] = Counter()
        self.answered: Counter[Route] = Counter()
        self.dropped: Counter[DropCause] = Counter()
        self._reasons: Counter[Reason] = Counter()
        self._open: set[int] = set()
        self._wait = Durations()
        self._latency = Durations()

    def decided(self, decision: Decision[T]) -> None:
        """Opens a decision: its outcome is owed from here."""
        self._open.add(decision.number)
        self._reasons[decision.reason] += 1
        self._wait.add(decision.decided_ns - decision.anchor.arrival_ns)

    def close_answered(self, decision: Decision[T], route: Route, now_ns: int) -> None:
        """Books a mask, made by `route`."""
        self._close(decision)
        self.answered[route] += 1
        self._latency.add(now_ns - decision.anchor.arrival_ns)

    def close_dropped(self, decision: Decision[T], cause: DropCause) -> None:
        """Books a decision that led to no mask."""
        self._close(decision)
        self.dropped[cause] += 1

    def close_all(self, cause: DropCause) -> None:
        """Books every open decision as dropped."""
        self.dropped[cause] += len(self._open)
        self._open.clear()

    def snapshot(self, *, waiting: int, eo_used: int, eo_unused: int, eo_held: int) -> Account:
        """The counts as they stand, with those that the pairing keeps."""
        partners = {Modality.EO: (eo_used, eo_unused, eo_held), Modality.IR: (0, 0, 0)}
        streams = {
            modality: StreamAccount(
                received=self.received[modality],
                refused=dict(self.refused[modality]),
                anchors=self.anchors[modality],
                used=used,
                unused=unused + self.unused[modality],
                held=held,
                unusable=self.unusable[modality],
            )
            for modality, (used, unused, held) in partners.items()
        }
        return Account(
            streams=streams,
            answered=dict(self.answered),
            dropped=dict(self.dropped),
            waiting=waiting,
            unanswered=len(self._open),
            reasons=dict(self._reasons),
            wait=self._wait.percentiles(),
            latency=self._latency.percentiles(),
        )

    def _close(self, decision: Decision[T]) -> None:
        if decision.number not in self._open:
            raise ValueError(f"decision {decision.number} is not open: its outcome has been told already")
        self._open.remove(decision.number)


def _plain(counts: Mapping[Any, int]) -> dict[str, int]:
    return {key.name: count for key, count in counts.items() if count}
