"""Tries again and again, with growing pauses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rclpy.clock import Clock, ClockType

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

_FIRST_S = 1.0
_LONGEST_S = 60.0
_FORGET_AFTER_S = 120.0


class Recovery:
    """Calls ``attempt`` after a pause, until it says that things are settled.

    The first pause is 1 s, each further one twice as long, 60 s at most; after two quiet minutes they start
    at 1 s again.

    Args:
        node: runs the timer, on a steady clock.
        attempt: returns whether it is settled.
    """

    def __init__(self, node: Node, attempt: Callable[[], bool]) -> None:
        self._node = node
        self._attempt = attempt
        self._pause_s = _FIRST_S
        self._last = 0.0
        self._timer = node.create_timer(1.0, self._run, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()

    def schedule(self) -> None:
        """Attempt after the next pause."""
        now = time.monotonic()
        if now - self._last > _FORGET_AFTER_S:
            self._pause_s = _FIRST_S
        self._last = now
        self._node.get_logger().warning(f"trying again in {self._pause_s:.0f} s")
        self._timer.timer_period_ns = int(self._pause_s * 1e9)
        self._timer.reset()
        self._pause_s = min(2 * self._pause_s, _LONGEST_S)

    def cancel(self) -> None:
        """Attempt no more."""
        self._timer.cancel()

    def _run(self) -> None:
        self._timer.cancel()
        if not self._attempt():
            self.schedule()
