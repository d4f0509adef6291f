"""The executor that runs the node's callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.executors import SingleThreadedExecutor

from csk_ros.ros.parameters import EXECUTORS, ParameterError

try:
    from rclpy.experimental import EventsExecutor
except ModuleNotFoundError:  # rclpy before 7.1.4
    EventsExecutor = None

if TYPE_CHECKING:
    from rclpy.executors import Executor


def build_executor(kind: str) -> Executor:
    """Build rclpy's executor of one thread: ``events``, ``single_threaded``, or ``auto`` for what is faster.

    The middleware tells ``events`` what has come. ``single_threaded`` asks all entities of the node before
    each callback, in Python: the worker cannot begin with a frame while it does.

    Raises:
        ParameterError: for another name, and for ``events`` with an rclpy that lacks it.
    """
    if kind not in EXECUTORS:
        raise ParameterError(f"parameter 'executor' is '{kind}': use {' or '.join(EXECUTORS)}")
    if kind == "events" and not EventsExecutor:
        raise ParameterError("parameter 'executor' is 'events', which rclpy has from 7.1.4 on: use auto")
    if kind == "single_threaded" or not EventsExecutor:
        return SingleThreadedExecutor()
    return EventsExecutor()
