"""Plays the cameras and the listener beside a node under test, over real DDS."""

from __future__ import annotations

import threading
import time
from collections import defaultdict

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from csk_ros.messages import fill_image
from csk_ros.ros.executor import build_executor

HEIGHT, WIDTH = 64, 96
PERIOD = 50_000_000
START = 1_700_000_000_000_000_000
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Peer:
    """Publishes images, collects what the node under test publishes, and spins both."""

    def __init__(self, qos=RELIABLE, namespace="", executor="auto"):
        self.node = rclpy.create_node("peer", namespace=namespace)
        self.prefix = f"{namespace}/segment: ".lstrip("/")
        self.executor = build_executor(executor)
        self.executor.add_node(self.node)
        self.heard = defaultdict(list)
        self.cameras = {
            name: self.node.create_publisher(Image, f"{name}/image", qos) for name in ("eo", "ir")
        }
        self.listen(Image, "segment/mask", 50)
        self.listen(String, "segment/route", LATCHED)
        self.listen(DiagnosticArray, "/diagnostics", 10)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._spin)
        self.thread.start()

    def listen(self, kind, topic, qos):
        self.node.create_subscription(kind, topic, self.heard[topic].append, qos)

    def publish(self, name, stamp_ns, **changes):
        channels = 3 if name == "eo" else 1
        shape = (HEIGHT, WIDTH, 3) if channels == 3 else (HEIGHT, WIDTH)
        message = Image()
        header = Header(frame_id=f"{self.prefix.partition('segment')[0]}{name}_camera")
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        pixels = np.random.default_rng(stamp_ns).integers(0, 255, shape, dtype=np.uint8)
        fill_image(message, pixels, "rgb8" if channels == 3 else "mono8", header)
        for field, value in changes.items():
            setattr(message, field, value)
        self.cameras[name].publish(message)

    def masks(self):
        return self.heard["segment/mask"]

    def routes(self):
        return [message.data for message in self.heard["segment/route"]]

    def status(self, name):
        """The latest diagnostics of a name: (level, message, values)."""
        for array in reversed(self.heard["/diagnostics"]):
            for status in array.status:
                if status.name == self.prefix + name:
                    return status.level, status.message, {v.key: v.value for v in status.values}
        return None

    def count(self, key):
        status = self.status("frames")
        return int(status[2][key]) if status else 0

    def balanced(self):
        """Whether every anchor was answered or dropped; EO frames become anchors if this machine stalls."""
        count = {key: int(value) for key, value in self.status("frames")[2].items() if value.isdigit()}
        anchors = count["ir_received"] + count["eo_anchors"] - count["ir_unusable"] - count["ir_unused"]
        dropped = sum(number for key, number in count.items() if key.startswith("dropped_"))
        return count["answered"] + dropped == anchors

    def wait_for(self, condition, timeout=20.0):
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"waited in vain; heard {self.account()}"
            time.sleep(0.01)

    def account(self):
        """How many messages came on each topic, and the latest count of frames."""
        status = self.status("frames")
        heard = {topic: len(messages) for topic, messages in self.heard.items()}
        return heard | (status[2] if status else {})

    def connected(self):
        return all(camera.get_subscription_count() for camera in self.cameras.values())

    def stop(self):
        """Stop spinning, so that nodes can be destroyed without the executor being in the middle of them."""
        self.stopping.set()
        self.thread.join()
        self.executor.shutdown()

    def _spin(self):
        while not self.stopping.is_set():
            self.executor.spin_once(0.1)

    def close(self):
        self.stop()
        self.node.destroy_node()


def play(peer, frames, *, eo=True, first=0, changes=None):
    """Publish frames at 20 Hz in real time; returns the IR stamps."""
    stamps = [START + (first + n) * PERIOD for n in range(frames)]
    for stamp in stamps:
        if eo:
            peer.publish("eo", stamp)
        peer.publish("ir", stamp, **(changes or {}))
        time.sleep(PERIOD / 1e9)
    return stamps
