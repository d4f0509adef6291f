"""One camera's images, from a subscription that follows its publishers' QoS without losing a frame."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from rclpy import get_rmw_implementation_identifier
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

from csk_ros.messages import stamp_to_ns
from csk_ros.ros.endpoints import NO_SUBSCRIPTION_EVENTS, ProblemLog, publisher_problems
from csk_ros.ros.filters import SimpleFilter, Subscriber
from csk_ros.ros.qos import publisher_matched_qos

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.qos import QoSProfile

_REMEMBERED = 32


class ImageInput(SimpleFilter):
    """A ``message_filters`` filter whose output is the images of one topic.

    Subscribes as the topic's publishers offer. When they come to offer something else, :meth:`follow`
    subscribes anew and keeps the old subscription until both have delivered the same frame: to end the one
    before the other is matched would lose frames. What both deliver comes out once.

    What is wrong with the publishers is logged once and stands in :attr:`problems`.

    Args:
        node: subscribes.
        topic: such as ``ir/image``.
        compressed: whether the messages are ``CompressedImage``.
        overridden: take the QoS from the node's ``qos_overrides`` parameters, whatever publishers offer.
    """

    def __init__(self, node: Node, topic: str, *, compressed: bool, overridden: bool) -> None:
        super().__init__()
        self._node = node
        self._type = CompressedImage if compressed else Image
        self._topic = topic
        self._overridden = overridden
        self._current: Subscriber | None = None
        self._outgoing: Subscriber | None = None
        self._recent: deque[int] = deque(maxlen=_REMEMBERED)
        self._skips = 0
        self._largest = 0
        self._last = time.monotonic()
        self._log = ProblemLog(node.get_logger().warning)
        self.qos = self._offered()
        self._subscribe()

    @property
    def problems(self) -> list[str]:
        """What is wrong with the publishers, a line each."""
        return self._log.problems

    def follow(self) -> None:
        """Subscribe anew if the publishers offer something else than the subscription has; look them over."""
        self._look_over()
        offered = self._offered()
        if self._overridden or offered == self.qos:
            return
        self.qos = offered
        self._retire()
        self._outgoing = self._current
        self._skips = _REMEMBERED
        self._subscribe()

    def close(self) -> None:
        """Unsubscribe."""
        self._retire()
        self._outgoing, self._current = self._current, None
        self._retire()

    def _look_over(self) -> None:
        topic = self._node.resolve_topic_name(self._topic)
        self._log.update(
            publisher_problems(
                topic,
                self._node.get_publishers_info_by_topic(topic),
                asked=self._current.sub.qos_profile if self._current and self._overridden else None,
                largest=self._largest,
                silent_s=time.monotonic() - self._last,
                fast_dds="fastrtps" in get_rmw_implementation_identifier(),
            )
        )

    def _offered(self) -> QoSProfile:
        return publisher_matched_qos(self._node, self._node.resolve_topic_name(self._topic))

    def _subscribe(self) -> None:
        subscriber = Subscriber(
            self._node,
            self._type,
            self._topic,
            qos_profile=self.qos,
            event_callbacks=NO_SUBSCRIPTION_EVENTS,
            qos_overriding_options=QoSOverridingOptions.with_default_policies() if self._overridden else None,
        )
        self._current = subscriber
        subscriber.registerCallback(self._receive, subscriber)

    def _receive(self, message: Any, source: Subscriber) -> None:
        if source is not self._current and source is not self._outgoing:
            return  # was in the executor's hands when it was retired
        self._last = time.monotonic()
        self._largest = max(self._largest, len(message.data))
        stamp_ns = stamp_to_ns(message.header.stamp)
        # Bounded, so that a camera whose stamp stands still is not taken for an overlap without end.
        if self._skips and stamp_ns in self._recent:
            self._skips -= 1
            self._retire()
            return
        if self._outgoing is None:
            self._skips = 0
        self._recent.append(stamp_ns)
        self.signalMessage(message)

    def _retire(self) -> None:
        if self._outgoing:
            self._node.destroy_subscription(self._outgoing.sub)
            self._outgoing = None
