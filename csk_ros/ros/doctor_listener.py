"""Listens to one of the node's inputs as the node itself does, and takes note of what comes."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.qos import ReliabilityPolicy

from csk_ros.messages import ImageError, check_image, read_eo, read_ir, stamp_to_ns
from csk_ros.modality import Modality
from csk_ros.ros.doctor_facts import Arrival, Picture, Publisher, Stream
from csk_ros.ros.endpoints import why_incompatible
from csk_ros.ros.image_input import ImageInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from rclpy.node import Node

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_SAMPLES = 4096
_STRIDE = 3  # odd, so that interlaced lines are both seen
_COLOURED = 3.0


class StreamListener:
    """Subscribes through :class:`ImageInput`, the node's own input.

    Args:
        node: subscribes; needs the ``qos_overrides`` of the segmenting node.
        modality: which input.
        topic: of the raw images, as the launch file takes it.
        compressed: whether to read ``topic/compressed``, as ``CompressedImage``.
        overrides: the segmenting node's parameter overrides.
    """

    def __init__(
        self, node: Node, modality: Modality, topic: str, *, compressed: bool, overrides: Mapping[str, Any]
    ) -> None:
        self._node, self._modality, self._compressed = node, modality, compressed
        names = [node.resolve_topic_name(name) for name in (topic, f"{topic}/compressed")]
        self._topic, self._sibling = reversed(names) if compressed else names
        prefix = f"qos_overrides.{self._topic}.subscription."
        overridden = any(name.startswith(prefix) for name in overrides)
        self._input = ImageInput(node, self._topic, compressed=compressed, overridden=overridden)
        self._input.registerCallback(self._receive)
        self.start()

    def start(self) -> None:
        """Forget what came so far."""
        self._arrivals: list[Arrival] = []
        self._contents: set[int] = set()
        self._refused = 0
        self._reason = ""
        self._last: Any = None

    def follow(self) -> None:
        """Subscribe as the publishers offer, as the node does every second."""
        self._input.follow()

    def close(self) -> None:
        """Unsubscribe."""
        self._input.close()

    def publishers(self) -> list[Publisher]:
        """Who publishes the topic."""
        return [
            Publisher(
                f"{info.node_namespace.rstrip('/')}/{info.node_name}",
                info.topic_type,
                info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
                why_incompatible(info.qos_profile, self._input.qos),
            )
            for info in self._node.get_publishers_info_by_topic(self._topic)
        ]

    def observed(self) -> Stream:
        """What came since the start."""
        sibling = self._node.get_publishers_info_by_topic(self._sibling)
        wanted = IMAGE_TYPES[not self._compressed]
        return Stream(
            modality=self._modality.value,
            topic=self._topic,
            compressed=self._compressed,
            publishers=self.publishers(),
            sibling=self._sibling if any(info.topic_type == wanted for info in sibling) else "",
            arrivals=self._arrivals,
            refused=self._refused,
            reason=self._reason,
            contents=len(self._contents),
            picture=None if self._last is None else look_at(self._last, self._modality),
        )

    def _receive(self, message: Any) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        self._arrivals.append(Arrival(time.monotonic_ns(), time.time_ns(), stamp_ns))
        try:
            check_image(message)
        except ImageError as error:
            self._refused += 1
            self._reason = self._reason or _one_line(error)
        data = np.frombuffer(message.data, np.uint8)
        self._contents.add(zlib.crc32(data[:: max(1, data.size // _SAMPLES)].tobytes()))
        self._last = message


def look_at(message: Any, modality: Modality) -> Picture:
    """What an ``Image`` or ``CompressedImage`` looks like to the node."""
    height, width = getattr(message, "height", 0), getattr(message, "width", 0)
    pixels: NDArray[Any] | None = None
    problem = ""
    try:
        pixels = (read_eo if modality is Modality.EO else read_ir)(message)
        height, width = pixels.shape[:2]
    except ImageError as error:
        problem = _one_line(error)
    return Picture(
        encoding=message.encoding if hasattr(message, "encoding") else message.format,
        height=int(height),
        width=int(width),
        size_bytes=len(message.data),
        problem=problem,
        colour=_has_colour(message),
        deep=_is_deep(message),
        spread=255.0 if pixels is None else _spread(pixels),
    )


def _one_line(error: ImageError) -> str:
    return " ".join(str(error).split())  # decoders' own texts may have several


def _has_colour(message: Any) -> bool:
    try:
        sample = read_eo(message)[::_STRIDE, ::_STRIDE].astype(np.float32)
    except ImageError:  # not readable, or 16 bit
        return False
    return float(np.ptp(sample, axis=2).mean()) > _COLOURED


def _is_deep(message: Any) -> bool:
    try:
        return read_ir(message).dtype == np.uint16
    except ImageError:
        return False


def _spread(pixels: NDArray[Any]) -> float:
    low, high = np.percentile(pixels[::_STRIDE, ::_STRIDE], (1, 99))
    return float(high - low)
