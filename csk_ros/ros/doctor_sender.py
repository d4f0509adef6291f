"""Sends large best-effort images to ``csk doctor`` from a process of its own.

A process of its own, because within one process Fast DDS hands messages over without any transport.
"""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

COUNT = 30
PERIOD_S = 1 / 30
MATCH_S = 10.0
PROBE_QOS = QoSProfile(depth=COUNT, reliability=ReliabilityPolicy.BEST_EFFORT)
_SETTLE_S = 0.3


def main() -> int:
    """Send ``COUNT`` images to the topic of the first argument, of as many bytes as the second says.

    Each carries the steady clock's time of sending as its stamp. Returns 1 if nobody subscribes.
    """
    topic, size = sys.argv[1], int(sys.argv[2])
    rclpy.init(args=[])
    node = rclpy.create_node(
        f"{topic.rsplit('/', 1)[-1]}_sender", start_parameter_services=False, enable_rosout=False
    )
    publisher = node.create_publisher(Image, topic, PROBE_QOS)
    end = time.monotonic() + MATCH_S
    while not publisher.get_subscription_count():
        if time.monotonic() > end:
            return 1
        time.sleep(0.02)
    time.sleep(_SETTLE_S)  # the subscriber may not know the publisher yet
    message = Image()
    message.data.frombytes(bytes(size))
    for _ in range(COUNT):
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.monotonic_ns(), 1_000_000_000)
        publisher.publish(message)
        time.sleep(PERIOD_S)
    time.sleep(_SETTLE_S)  # what was sent lies in this process's segment
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
