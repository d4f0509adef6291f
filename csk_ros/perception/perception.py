"""From arrivals to decisions: drives pairing, stream health and the account; node and replay use it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from csk_ros.modality import Modality, Route
from csk_ros.perception.account import Account, Ledger
from csk_ros.perception.frames import Decision, DropCause, Frame, Reason
from csk_ros.perception.health import StreamHealth, StreamReport, StreamState
from csk_ros.perception.pairing import Pair, Pairer
from csk_ros.perception.settings import PerceptionSettings
from csk_ros.perception.stamps import StampOrder, StampVerdict

if TYPE_CHECKING:
    from csk_ros.perception.content import Fault

T = TypeVar("T")


class Perception(Generic[T]):
    """Turns frames as they arrive into decisions, exactly one or a counted drop for every anchor frame.

    The anchor is the stream that paces the output: IR while it lives and is usable, else EO. EO frames that
    arrived while IR was the anchor are not answered later; IR is the anchor again with its first frame. An
    unusable IR remains the anchor as long as EO is no better: a bad image is answered rather than none.

    Frames pair by stamp, whether a stream lives is judged by arrival, whether it is usable by the looks at
    its frames and by the messages that were refused. An unusable EO is treated like a stale one.

    All times are integer nanoseconds. The clock of `arrive`, `advance` and `answered` must be steady: one
    that goes back stands still here until it has caught up. Call `advance` at `next_deadline_ns`; calling it
    at other times changes nothing. Not for use from several threads at once.

    Args:
        settings: see `PerceptionSettings`.
        start_ns: the moment from which both streams are awaited; default: the first event.
    """

    def __init__(self, settings: PerceptionSettings | None = None, *, start_ns: int | None = None) -> None:
        self._settings = settings or PerceptionSettings()
        self._pairer: Pairer[T] = Pairer(self._settings)
        self._ledger = Ledger()
        self._orders = {modality: StampOrder() for modality in Modality}
        self._health: dict[Modality, StreamHealth] = {}
        self._now_ns = 0
        self._number = 0
        self._route: Route | None = None
        if start_ns is not None:
            self._tick(start_ns)

    @property
    def settings(self) -> PerceptionSettings:
        """The settings in force; `configure` changes them."""
        return self._settings

    @property
    def route(self) -> Route | None:
        """The route of the latest decision, None before the first."""
        return self._route

    @property
    def account(self) -> Account:
        """The account of every frame so far."""
        pairer = self._pairer
        return self._ledger.snapshot(
            waiting=pairer.waiting, eo_used=pairer.used, eo_unused=pairer.unused, eo_held=pairer.held
        )

    def arrive(self, frame: Frame[T]) -> list[Decision[T]]:
        """Takes a frame at its arrival; returns what is decided by it, in order."""
        now = self._tick(frame.arrival_ns)
        decisions = self._decide(now)
        self._ledger.received[frame.modality] += 1
        verdict = self._orders[frame.modality].judge(frame.stamp_ns, jump_back_ns=self._settings.jump_back_ns)
        if verdict is not StampVerdict.REPEATED:
            self._health[frame.modality].arrive(now)
            self._see(frame)
        take = self._arrive_eo if frame.modality is Modality.EO else self._arrive_ir
        decisions += take(frame, verdict, now)
        decisions += self._decide(now)
        return decisions

    def advance(self, now_ns: int) -> list[Decision[T]]:
        """Lets time pass; returns what is decided by it, in order."""
        return self._decide(self._tick(now_ns))

    def next_deadline_ns(self) -> int | None:
        """When to call `advance` at the latest if nothing arrives; None when nothing waits."""
        return self._pairer.next_deadline_ns(self._health[Modality.EO]) if self._health else None

    def refused(
        self, modality: Modality, now_ns: int, cause: DropCause = DropCause.UNREADABLE
    ) -> list[Decision[T]]:
        """Counts a message that could not be used; it does not keep its stream alive.

        Several unreadable ones make their stream unusable; returns what is decided by it, in order.
        """
        now = self._tick(now_ns)
        decisions = self._decide(now)
        self._ledger.received[modality] += 1
        self._ledger.refused[modality][cause] += 1
        if cause is DropCause.UNREADABLE:
            self._health[modality].refuse(now)
            self._forget_unusable()
        return decisions + self._decide(now)

    def answered(self, decision: Decision[T], now_ns: int, *, route: Route | None = None) -> None:
        """Books the mask of a decision; `route` if another route than decided made it.

        Raises:
            ValueError: if the outcome of this decision has been told already.
        """
        self._ledger.close_answered(decision, route or decision.route, now_ns)

    def dropped(self, decision: Decision[T], cause: DropCause) -> None:
        """Books that a decision led to no mask.

        Raises:
            ValueError: if the outcome of this decision has been told already.
        """
        self._ledger.close_dropped(decision, cause)

    def shutdown(self, cause: DropCause = DropCause.SHUTDOWN) -> Account:
        """Books all that is in hand as dropped; the account is final and nothing is in hand."""
        self._ledger.dropped[cause] += self._pairer.abandon()
        self._ledger.close_all(cause)
        return self.account

    def configure(self, settings: PerceptionSettings, now_ns: int) -> list[Decision[T]]:
        """Changes the settings; frames that wait are decided now, under the settings they came under."""
        now = self._tick(now_ns)
        decisions = self._decide(now) + self._conclude(self._pairer.flush(Reason.WAIT_ENDED), now)
        self._settings = self._pairer.settings = settings
        for modality, health in self._health.items():
            health.configure(settings.health(modality))
        self._forget_unusable()
        return decisions

    def stream(self, modality: Modality, now_ns: int) -> StreamReport | None:
        """State, rate and age of a stream for diagnostics; None before the first event."""
        health = self._health.get(modality)
        return health.report(max(now_ns, self._now_ns)) if health else None

    def fault(self, modality: Modality) -> Fault | None:
        """What made a stream unusable when its last messages came; None if they are usable."""
        health = self._health.get(modality)
        return health.content.fault if health else None

    def anchor(self, now_ns: int) -> Modality:
        """The stream that paces the output at `now_ns`."""
        if self._settings.route is not None:
            return Modality.EO if self._settings.route is Route.EO_ONLY else Modality.IR
        if not self._health:
            return Modality.IR
        absent = now_ns >= self._health[Modality.IR].arriving_until_ns
        return Modality.EO if absent or self._eo_is_better(now_ns) else Modality.IR

    def _arrive_eo(self, frame: Frame[T], verdict: StampVerdict, now: int) -> list[Decision[T]]:
        anchored = self.anchor(now) is Modality.EO
        if self._health[Modality.EO].usable:
            self._pairer.add_eo(frame, verdict, counted=anchored)
        elif not anchored:
            self._ledger.unusable[Modality.EO] += 1
        if not anchored:
            return []
        self._ledger.anchors[Modality.EO] += 1
        if verdict is StampVerdict.REPEATED:
            return self._drop(DropCause.DUPLICATE)
        if verdict is StampVerdict.OLDER:
            return self._drop(DropCause.OUT_OF_ORDER)
        return [self._decision(frame, None, self._reason_without_ir(now), now)]

    def _arrive_ir(self, frame: Frame[T], verdict: StampVerdict, now: int) -> list[Decision[T]]:
        if self._settings.route is Route.EO_ONLY:
            self._ledger.unused[Modality.IR] += 1
            return []
        if self._eo_is_better(now):
            self._ledger.unusable[Modality.IR] += 1
            return []
        self._ledger.anchors[Modality.IR] += 1
        if verdict is StampVerdict.REPEATED or self._pairer.is_waiting(frame.stamp_ns):
            return self._drop(DropCause.DUPLICATE)
        if verdict is StampVerdict.MISSING:
            return self._conclude([Pair(frame, None, Reason.NO_STAMP)], now)
        if not self._pairer.add_ir(frame, verdict, now):
            return self._drop(DropCause.OUT_OF_ORDER)
        return []

    def _see(self, frame: Frame[T]) -> None:
        if frame.look:
            self._health[frame.modality].content.see(frame.look)
            self._forget_unusable()

    def _forget_unusable(self) -> None:
        eo = self._health.get(Modality.EO)
        if eo and not eo.usable:
            self._pairer.forget_eo()

    def _eo_is_better(self, now: int) -> bool:
        """Whether IR is unusable and EO is not."""
        ir, eo = self._health[Modality.IR], self._health[Modality.EO]
        return not ir.usable and eo.state(now) is StreamState.ALIVE

    def _reason_without_ir(self, now: int) -> Reason:
        if self._settings.route is not None:
            return Reason.FORCED
        if not self._health[Modality.EO].usable:
            return Reason.NEITHER_USABLE
        unusable = self._health[Modality.IR].state(now) is StreamState.UNUSABLE
        return Reason.IR_UNUSABLE if unusable else Reason.IR_STALE

    def _reason_without_eo(self, reason: Reason) -> Reason:
        without = reason in (Reason.EO_STALE, Reason.EO_RETURNING, Reason.EO_ABSENT, Reason.EO_UNUSABLE)
        return Reason.NEITHER_USABLE if without and not self._health[Modality.IR].usable else reason

    def _decide(self, now: int) -> list[Decision[T]]:
        if self._settings.route is Route.IR_ONLY:
            return self._conclude(self._pairer.flush(Reason.FORCED, match=False), now)
        return self._conclude(self._pairer.decide(now, self._health[Modality.EO]), now)

    def _conclude(self, pairs: list[Pair[T]], now: int) -> list[Decision[T]]:
        decisions: list[Decision[T]] = []
        for pair in pairs:
            if pair.eo is None and self._settings.route is Route.FUSED:
                self._drop(DropCause.NO_PAIR)
            else:
                reason = self._reason_without_eo(pair.reason)
                decisions.append(self._decision(pair.eo, pair.ir, reason, now))
        return decisions

    def _decision(self, eo: Frame[T] | None, ir: Frame[T] | None, reason: Reason, now: int) -> Decision[T]:
        self._number += 1
        self._route = Route.of(eo=eo is not None, ir=ir is not None)
        decision = Decision(eo, ir, self._route, reason, now, self._number)
        self._ledger.decided(decision)
        return decision

    def _drop(self, cause: DropCause) -> list[Decision[T]]:
        self._ledger.dropped[cause] += 1
        return []

    def _tick(self, now_ns: int) -> int:
        self._now_ns = max(self._now_ns, now_ns)
        if not self._health:
            self._health = {
                modality: StreamHealth(self._settings.health(modality), start_ns=self._now_ns)
                for modality in Modality
            }
        return self._now_ns
