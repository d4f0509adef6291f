"""The node to compare with: RGB-thermal segmentation written the usual way.

What a good tutorial gives: approximate time pairing in a dictionary per topic, conversion as ``cv_bridge``
does it, the network in eager float32 torch, a ``MultiThreadedExecutor``. It answers pairs only. It reads the
topics that the node of this package reads and publishes masks where that does, with the same weights, so that
nothing differs but the way.

``csk bench`` runs it; by hand: python benchmarks/usual_node.py --ros-args -p checkpoint:=FILE -p device:=cpu
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
import torch
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from csk_ros.modality import Modality
from csk_ros.network import load_checkpoint
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUE = 10
SLOP_NS = 50_000_000


class ApproximatePairs:
    """Pairs messages of two topics by stamp, as the Python ``ApproximateTimeSynchronizer``.

    Args:
        callback: called with both messages of a pair, under the lock.
    """

    def __init__(self, callback: Callable[[Any, Any], None]) -> None:
        self._callback = callback
        self._queues: tuple[dict[int, Any], dict[int, Any]] = ({}, {})
        self._lock = threading.Lock()

    def add(self, message: Any, index: int) -> None:
        """Take a message of topic 0 or 1."""
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        with self._lock:
            queue, other = self._queues[index], self._queues[1 - index]
            queue[stamp] = message
            while len(queue) > QUEUE:
                del queue[min(queue)]
            near = [candidate for candidate in other if abs(candidate - stamp) <= SLOP_NS]
            if not near:
                return
            best = min(near, key=lambda candidate: abs(candidate - stamp))
            pair = (queue.pop(stamp), other.pop(best))
            self._callback(*(pair if index == 0 else pair[::-1]))


class UsualNode(Node):
    """Subscribes, pairs, segments, publishes."""

    def __init__(self) -> None:
        super().__init__("segment")
        checkpoint = self.declare_parameter("checkpoint", str(share_path(DEFAULT_CHECKPOINT))).value
        self._device = torch.device(self.declare_parameter("device", "cpu").value)
        loaded = load_checkpoint(checkpoint)
        self._network = loaded.network.eval().to(self._device)
        self._normalisation = loaded.normalisation
        self._publisher = self.create_publisher(Image, "~/mask", 10)
        pairs = ApproximatePairs(self._segment)
        group = ReentrantCallbackGroup()
        for index, topic in enumerate(("eo/image", "ir/image")):
            self.create_subscription(
                Image, topic, lambda message, index=index: pairs.add(message, index), 10, callback_group=group
            )

    def _segment(self, eo: Any, ir: Any) -> None:
        with torch.no_grad():
            logits = self._network(eo=self._input(eo, Modality.EO), ir=self._input(ir, Modality.IR))
            labels = logits.argmax(dim=1)[0].to(torch.uint8).cpu().numpy()
        answer = Image(header=ir.header, height=ir.height, width=ir.width, encoding="mono8", step=ir.width)
        answer.data.frombytes(labels.tobytes())
        self._publisher.publish(answer)

    def _input(self, message: Any, modality: Modality) -> torch.Tensor:
        channels = 3 if modality is Modality.EO else 1
        pixels = np.ndarray(
            (message.height, message.step // channels, channels), np.uint8, bytes(message.data)
        )
        image = torch.from_numpy(pixels[:, : message.width].copy()).permute(2, 0, 1)[None].to(self._device)
        image = image.float() / 255
        scale = self._normalisation[modality]
        mean, std = (
            torch.tensor(values, device=self._device)[None, :, None, None]
            for values in (scale.mean, scale.std)
        )
        return (image - mean) / std


def main() -> int:
    """Run the node until it is interrupted."""
    rclpy.init()
    node = UsualNode()
    executor = MultiThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
