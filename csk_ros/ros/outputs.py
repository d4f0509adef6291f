"""What the node publishes about a frame: mask (also as PNG), confidence, overlay, route, label names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from csk_ros.inference.overlay import draw_overlay
from csk_ros.messages import fill_image
from csk_ros.ros.endpoints import NO_PUBLISHER_EVENTS, ProblemLog, subscription_problems
from csk_ros.ros.qos import LATCHED, OUTPUT

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rclpy.lifecycle import LifecycleNode

    from csk_ros.inference import Segmentation
    from csk_ros.labels import LabelSet
    from csk_ros.modality import Route

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ModuleNotFoundError:
    LabelInfo = None


class Outputs:
    """The output publishers of a lifecycle node; silent while it is not active.

    Args:
        node: the lifecycle node.
        label_set: names and colours of the classes.
        confidence: whether ``~/confidence`` is published.
        opacity: of the classes on ``~/overlay``, 0 to 1; may change.
    """

    def __init__(self, node: LifecycleNode, label_set: LabelSet, *, confidence: bool, opacity: float) -> None:
        self._node, self._label_set, self.opacity = node, label_set, opacity
        self._publishers: list[Any] = []
        self._log = ProblemLog(node.get_logger().warning)
        self._mask = self._publisher(Image, "~/mask", OUTPUT)
        self._compressed = self._publisher(CompressedImage, "~/mask/compressed", OUTPUT)
        self._confidence = self._publisher(Image, "~/confidence", OUTPUT) if confidence else None
        self._overlay = self._publisher(Image, "~/overlay", OUTPUT)
        self._route_publisher = self._publisher(String, "~/route", LATCHED)
        self._route: Route | None = None
        self._labels = self._publisher(LabelInfo, "~/label_info", LATCHED) if LabelInfo else None

    @property
    def confidence_is_heard(self) -> bool:
        """Whether anybody listens to the confidence, so that it is worth making."""
        return bool(self._confidence and self._confidence.get_subscription_count())

    def publish(
        self,
        segmentation: Segmentation,
        header: Any,
        *,
        eo: NDArray[Any] | None,
        ir: NDArray[Any] | None,
    ) -> None:
        """Publish one frame's results under the anchor's header; the route first where it changed."""
        if segmentation.route is not self._route:
            self._route = segmentation.route
            self._route_publisher.publish(String(data=segmentation.route.value))
        self._image(self._mask, segmentation.labels, "mono8", header)
        if self._compressed.get_subscription_count():
            self._compressed.publish(_png(segmentation.labels, header))
        if self._confidence and segmentation.confidence is not None:
            self._image(self._confidence, segmentation.confidence, "mono8", header)
        if self._overlay.get_subscription_count():
            picture = draw_overlay(segmentation.labels, self._label_set, eo=eo, ir=ir, opacity=self.opacity)
            self._image(self._overlay, picture, "rgb8", header)

    def publish_label_info(self) -> None:
        """Publish the latched class names, where vision_msgs is installed."""
        if self._labels:
            classes = [VisionClass(class_id=i, class_name=n) for i, n in enumerate(self._label_set.names)]
            self._labels.publish(LabelInfo(class_map=classes))

    def look_over(self) -> None:
        """Log who subscribes so that nothing can be sent to it."""
        problems: list[str] = []
        for publisher in self._publishers:
            subscriptions = self._node.get_subscriptions_info_by_topic(publisher.topic_name)
            problems += subscription_problems(publisher.topic_name, subscriptions, publisher.qos_profile)
        self._log.update(problems)

    def destroy(self) -> None:
        """Take the topics away."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def _publisher(self, message_type: type, topic: str, qos: Any) -> Any:
        publisher = self._node.create_lifecycle_publisher(
            message_type, topic, qos, event_callbacks=NO_PUBLISHER_EVENTS
        )
        self._publishers.append(publisher)
        return publisher

    @staticmethod
    def _image(publisher: Any, pixels: NDArray[Any], encoding: str, header: Any) -> None:
        message = Image()
        fill_image(message, pixels, encoding, header)
        publisher.publish(message)


def _png(labels: NDArray[Any], header: Any) -> CompressedImage:
    """As image_transport's compressed plugin writes it, so that its subscribers read it."""
    _, data = cv2.imencode(".png", labels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    message = CompressedImage(header=header, format="mono8; png compressed ")
    message.data.frombytes(data.tobytes())
    return message
