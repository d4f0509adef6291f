"""Pairing with fallback as a ``message_filters`` filter."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from rclpy.clock import Clock, ClockType

from csk_ros.looking import Looker
from csk_ros.messages import MAX_PIXELS, ImageError, check_header, stamp_to_ns
from csk_ros.modality import Modality
from csk_ros.perception import DropCause, Frame, Perception, PerceptionSettings
from csk_ros.ros.filters import SimpleFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from csk_ros.modality import Route
    from csk_ros.perception import Account, Decision, Fault, StreamReport


class Received(NamedTuple):
    """What a decision's frames carry: the message, and what its pixels are to be read from."""

    message: Any
    image: Any


class FallbackSynchronizer(SimpleFilter):
    """Takes EO and IR images from two filters and calls back once per anchor frame, with or without a pair.

    Callbacks get ``(eo | None, ir | None, route)``. Inputs behave as ``message_filters.Subscriber``; their
    callbacks and the node's timers must run in one thread (one callback group). Outcomes may be reported
    from any thread. Each image is looked at as it arrives; a stream that turns unusable, or usable again, is
    logged once with the reason.

    Args:
        node: runs the steady timer that releases frames whose partner did not come, and logs.
        settings: what pairing goes by.
        deliver: called with each :class:`Decision` in place of the callbacks; who passes it reports each
            outcome with :meth:`answered` or :meth:`dropped`.
        refuse: called with the modality and the reason of a message that cannot be an image.
        max_pixels: largest image that is taken.
    """

    def __init__(
        self,
        node: Node,
        settings: PerceptionSettings | None = None,
        *,
        deliver: Callable[[Decision[Received]], None] | None = None,
        refuse: Callable[[Modality, str], None] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__()
        self._node = node
        self._perception: Perception[Received] = Perception(settings or PerceptionSettings())
        self._lookers = {modality: Looker(max_pixels) for modality in Modality}
        self._faults: dict[Modality, Fault | None] = dict.fromkeys(Modality)
        self._lock = threading.Lock()
        self._deliver = deliver or self._signal
        self._refuse = refuse
        self._timer = node.create_timer(1.0, self._wake, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()

    def connect(self, modality: Modality, source: SimpleFilter) -> None:
        """Take the images of one modality from a filter."""
        source.registerCallback(self._arrive, modality)

    def answered(self, decision: Decision[Received], *, route: Route | None = None) -> None:
        """Count a decision whose mask was published; ``route`` if another one than decided made it."""
        with self._lock:
            self._perception.answered(decision, time.monotonic_ns(), route=route)

    def dropped(self, decision: Decision[Received], cause: DropCause) -> None:
        """Count a decision that got no mask."""
        with self._lock:
            self._perception.dropped(decision, cause)

    def account(self) -> Account:
        """What became of every frame so far."""
        with self._lock:
            return self._perception.account

    def streams(self) -> dict[Modality, StreamReport | None]:
        """How each stream stands now; None before the first frame of either."""
        with self._lock:
            now = time.monotonic_ns()
            return {modality: self._perception.stream(modality, now) for modality in Modality}

    def configure(self, settings: PerceptionSettings) -> None:
        """Go by other settings from now on; frames that wait are decided first."""
        with self._lock:
            decisions = self._perception.configure(settings, time.monotonic_ns())
        self._hand_over(decisions)

    def close(self, cause: DropCause = DropCause.SHUTDOWN) -> Account:
        """Stop; frames that still wait are counted as dropped. Returns the final account."""
        self._node.destroy_timer(self._timer)
        with self._lock:
            return self._perception.shutdown(cause)

    def _arrive(self, message: Any, modality: Modality) -> None:
        now = time.monotonic_ns()
        try:
            check_header(message.header)
            look, image = self._lookers[modality].look(message)
        except ImageError as error:
            with self._lock:
                decisions = self._perception.refused(modality, now)
            if self._refuse:
                self._refuse(modality, str(error))
        else:
            stamp_ns = stamp_to_ns(message.header.stamp)
            frame = Frame(modality, stamp_ns, now, Received(message, image), look)
            with self._lock:
                decisions = self._perception.arrive(frame)
        self._log_switch(modality)
        self._hand_over(decisions)

    def _log_switch(self, modality: Modality) -> None:
        with self._lock:
            fault = self._perception.fault(modality)
        before, self._faults[modality] = self._faults[modality], fault
        if fault and not before:
            self._node.get_logger().warning(f"{modality.value} unusable: {fault.value}")
        elif before and not fault:
            self._node.get_logger().info(f"{modality.value} usable again")

    def _wake(self) -> None:
        with self._lock:
            decisions = self._perception.advance(time.monotonic_ns())
        self._hand_over(decisions)

    def _hand_over(self, decisions: list[Decision[Received]]) -> None:
        for decision in decisions:
            self._deliver(decision)
        with self._lock:
            deadline = self._perception.next_deadline_ns()
        if deadline is None:
            self._timer.cancel()
        else:
            self._timer.timer_period_ns = max(deadline - time.monotonic_ns(), 1)
            self._timer.reset()

    def _signal(self, decision: Decision[Received]) -> None:
        eo, ir = (frame.payload.message if frame else None for frame in (decision.eo, decision.ir))
        self.signalMessage(eo, ir, decision.route)
        self.answered(decision)
