"""Pairing with fallback as a ``message_filters`` filter."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType

from csk_ros.messages import MAX_PIXELS, ImageError, check_header, check_image, stamp_to_ns
from csk_ros.modality import Modality
from csk_ros.perception import DropCause, Frame, Perception, PerceptionSettings
from csk_ros.ros.filters import SimpleFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from csk_ros.modality import Route
    from csk_ros.perception import Account, Decision, StreamReport


class FallbackSynchronizer(SimpleFilter):
    """Takes EO and IR images from two filters and calls back once per anchor frame, with or without a pair.

    Callbacks get ``(eo | None, ir | None, route)``. Inputs behave as ``message_filters.Subscriber``; their
    callbacks and the node's timers must run in one thread (one callback group). Outcomes may be reported
    from any thread.

    Args:
        node: runs the steady timer that releases frames whose partner did not come.
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
        deliver: Callable[[Decision[Any]], None] | None = None,
        refuse: Callable[[Modality, str], None] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__()
        self._node = node
        self._perception: Perception[Any] = Perception(settings or PerceptionSettings())
        self._lock = threading.Lock()
        self._deliver = deliver or self._signal
        self._refuse = refuse
        self._max_pixels = max_pixels
        self._timer = node.create_timer(1.0, self._wake, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()

    def connect(self, modality: Modality, source: SimpleFilter) -> None:
        """Take the images of one modality from a filter."""
        source.registerCallback(self._arrive, modality)

    def answered(self, decision: Decision[Any], *, route: Route | None = None) -> None:
        """Count a decision whose mask was published; ``route`` if another one than decided made it."""
        with self._lock:
            self._perception.answered(decision, time.monotonic_ns(), route=route)

    def dropped(self, decision: Decision[Any], cause: DropCause) -> None:
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

    def close(self) -> Account:
        """Stop; frames that still wait are counted as dropped by the shutdown. Returns the final account."""
        self._node.destroy_timer(self._timer)
        with self._lock:
            return self._perception.shutdown()

    def _arrive(self, message: Any, modality: Modality) -> None:
        now = time.monotonic_ns()
        try:
            check_header(message.header)
            check_image(message, max_pixels=self._max_pixels)
        except ImageError as error:
            with self._lock:
                self._perception.refused(modality)
            if self._refuse:
                self._refuse(modality, str(error))
            return
        frame = Frame(modality, stamp_to_ns(message.header.stamp), now, message)
        with self._lock:
            decisions = self._perception.arrive(frame)
        self._hand_over(decisions)

    def _wake(self) -> None:
        with self._lock:
            decisions = self._perception.advance(time.monotonic_ns())
        self._hand_over(decisions)

    def _hand_over(self, decisions: list[Decision[Any]]) -> None:
        for decision in decisions:
            self._deliver(decision)
        with self._lock:
            deadline = self._perception.next_deadline_ns()
        if deadline is None:
            self._timer.cancel()
        else:
            self._timer.timer_period_ns = max(deadline - time.monotonic_ns(), 1)
            self._timer.reset()

    def _signal(self, decision: Decision[Any]) -> None:
        eo, ir = (frame.payload if frame else None for frame in (decision.eo, decision.ir))
        self.signalMessage(eo, ir, decision.route)
        self.answered(decision)
