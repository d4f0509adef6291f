"""A place in DDS from which a bag is played to a running node."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import rclpy
from lifecycle_msgs.srv import GetState
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rclpy.node import Node
    from typing_extensions import Self

_IMAGE_TYPES = {"sensor_msgs/msg/Image": "raw", "sensor_msgs/msg/CompressedImage": "compressed"}
_POLL_S = 0.02
_LOOK_EVERY_S = 0.1


class LiveError(RuntimeError):
    """The node did not do its part; the message is one line."""


class LiveSession:
    """A ROS node of its own, with a thread that receives; a context manager.

    Args:
        segment: name of the lifecycle node that segments, with its namespace if it has one:
            ``front/segment``.
    """

    def __init__(self, segment: str = "segment") -> None:
        self.segment = "/" + segment.strip("/")
        self.namespace, _, self._name = self.segment.rpartition("/")

    def __enter__(self) -> Self:
        """Join DDS."""
        self._context = Context()
        rclpy.init(context=self._context)
        self.node: Node = rclpy.create_node("csk_player", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._leaving = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="csk_recorder")
        self._spinning = self._pool.submit(self._spin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave DDS; an error of the receiving thread surfaces here."""
        # the thread first: rclpy's shutdown takes away what it may be about to wait for
        self._leaving.set()
        self._pool.shutdown()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)
        self._context.destroy()
        if kind is None:
            self._spinning.result()

    @property
    def receiving(self) -> bool:
        """Whether the receiving thread still runs; if not, leaving tells why."""
        return not self._spinning.done()

    def wait_until_active(self, alive: Callable[[], bool], timeout_s: float) -> None:
        """Wait until the node's lifecycle state is ACTIVE.

        Args:
            alive: whether the node's process still runs.
            timeout_s: how long to wait at most, in seconds.

        Raises:
            LiveError: after the time-out, or once the process has ended.
        """
        client = self.node.create_client(GetState, f"{self.segment}/get_state")
        deadline = time.monotonic() + timeout_s
        state = "not seen"
        while state != "active":
            if not alive():
                raise LiveError(f"the node {self.segment} ended before it was active")
            if time.monotonic() > deadline:
                raise LiveError(f"the node {self.segment} was not active after {timeout_s:.0f} s ({state})")
            if client.service_is_ready():
                answer = client.call_async(GetState.Request())
                self.wait(answer.done, max(min(deadline - time.monotonic(), 2), 0))
                state = str(answer.result().current_state.label) if answer.done() else "no answer"
            time.sleep(_POLL_S)
        self.node.destroy_client(client)

    def inputs(self) -> dict[str, str]:
        """The image topics that the node subscribes to, with their transport: ``raw`` or ``compressed``.

        Empty while the node is not to be seen.
        """
        return {
            topic: _IMAGE_TYPES[kind]
            for topic, kinds in self.node.get_topic_names_and_types()
            for kind in kinds
            if kind in _IMAGE_TYPES and self._subscribes(topic)
        }

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for a condition; whether it came true in time."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline or not self.receiving:
                return False
            time.sleep(_POLL_S)
        return True

    def _subscribes(self, topic: str) -> bool:
        # Not by the node's own list of subscriptions: it may be that of a namesake that has gone.
        own = (self._name, self.namespace or "/")
        subscribers = self.node.get_subscriptions_info_by_topic(topic)
        return any((info.node_name, info.node_namespace) == own for info in subscribers)

    def _spin(self) -> None:
        try:
            while not self._leaving.is_set():
                self._executor.spin_once(_LOOK_EVERY_S)
        except ExternalShutdownException:
            return
