"""Cameras that are set up wrongly, over real DDS, as a process of its own.

    python faulty_cameras.py '[{"topic": "/a/ir/image", "encoding": "mono8"}, ...]'

Prints ``ready`` when all publishers stand, and publishes until it is killed or its standard input ends.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass

import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from csk_ros.messages import fill_image

CHANNELS = {"rgb8": 3, "mono8": 1, "mono16": 2, "no_such_encoding": 3}


@dataclass
class Camera:
    """One publisher and what is wrong with it."""

    topic: str
    encoding: str = "mono8"
    kind: str = "Image"
    node: str = "driver"
    height: int = 64
    width: int = 96
    rate: float = 20.0
    reliable: bool = True
    stamp: str = "clock"  # clock, zero, or stuck
    offset_s: float = 0.0
    delay_s: float = 0.0
    frozen: bool = False
    silent: bool = False

    def start(self):
        """Make the node and its timer."""
        self._node = rclpy.create_node(self.node)
        policy = ReliabilityPolicy.RELIABLE if self.reliable else ReliabilityPolicy.BEST_EFFORT
        kind = {"Image": Image, "CompressedImage": CompressedImage, "String": String}[self.kind]
        self._publisher = self._node.create_publisher(
            kind, self.topic, QoSProfile(depth=5, reliability=policy)
        )
        self._generator = np.random.default_rng(len(self.topic))
        if not self.silent:
            self._node.create_timer(1 / self.rate, self._publish)
        return self._node

    def _publish(self):
        if self.kind == "String":
            self._publisher.publish(String(data="not an image"))
            return
        header = Header(frame_id="camera")
        now_ns = time.time_ns() if self.stamp == "clock" else 1_700_000_000_000_000_000
        if self.stamp != "zero":
            stamp_ns = now_ns + int((self.offset_s - self.delay_s) * 1e9)
            header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        channels = CHANNELS[self.encoding]
        shape = (self.height, self.width) if channels == 1 else (self.height, self.width, channels)
        value = 128 if self.frozen else int(self._generator.integers(128, 200))
        pixels = np.full(shape, value, np.uint8)
        pixels[: self.height // 2] = 40  # not uniform
        if channels == 3:
            pixels[..., 0] = 255 - pixels[..., 0]  # not grey
        if self.kind == "CompressedImage":
            data = cv2.imencode(".png", pixels)[1].tobytes()
            self._publisher.publish(CompressedImage(header=header, format="png", data=data))
            return
        message = Image()
        fill_image(message, pixels, self.encoding, header)
        self._publisher.publish(message)


def main():
    """Publish until standard input ends, as it does when the parent dies."""
    rclpy.init(args=[])
    executor = SingleThreadedExecutor()
    for camera in json.loads(sys.argv[1]):
        executor.add_node(Camera(**camera).start())
    threading.Thread(target=lambda: (sys.stdin.read(), rclpy.try_shutdown()), daemon=True).start()
    print("ready", flush=True)
    try:
        executor.spin()
    except ExternalShutdownException:
        return


if __name__ == "__main__":
    main()
