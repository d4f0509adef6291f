"""A stand-in for the segmenting node: one mask per thermal image, whose pixels tell its route."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from csk_ros.messages import fill_image, read_ir, stamp_to_ns
from csk_ros.modality import Route

AROUND_MS = "1.5"
PIXEL = {Route.FUSED: 0, Route.IR_ONLY: 1}


class EchoNode:
    """A context manager; drops every ``drop_every``-th thermal image and says so, or forgets to."""

    def __init__(
        self,
        period_ns: int,
        drop_every: int = 0,
        *,
        honest: bool = True,
        compressed: bool = False,
        die_at: int = 0,
    ) -> None:
        self._die_at = die_at
        self._honest = honest
        self._compressed = compressed
        self.images = []
        self._period_ns = period_ns
        self._drop_every = drop_every
        self._eo_stamp_ns = 0
        self._route = None
        self._counters = {"ir_received": 0, "eo_received": 0, "answered": 0, "dropped_superseded": 0}

    def __enter__(self):
        self._context = Context()
        rclpy.init(context=self._context)
        node = self._node = LifecycleNode("segment", context=self._context)
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._mask = node.create_publisher(Image, "~/mask", 5)
        self._routes = node.create_publisher(String, "~/route", latched)
        self._health = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        kind, end = (CompressedImage, "/compressed") if self._compressed else (Image, "")
        node.create_subscription(kind, f"eo/image{end}", self._on_eo, 10)
        node.create_subscription(kind, f"ir/image{end}", self._on_ir, 10)
        node.create_timer(0.1, self._report)
        node.trigger_configure()
        node.trigger_activate()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        self._leaving = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._done = self._pool.submit(self._spin)
        return self

    def __exit__(self, *_):
        self._leaving.set()
        self._pool.shutdown()
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)
        self._context.destroy()
        self._done.result()
        # A lifecycle node is a reference cycle: its participant stays in DDS until it is collected, and then
        # goes while the next one is being discovered, which is sometimes never discovered after that.
        del self._node, self._mask, self._routes, self._health, self._executor
        gc.collect()

    def _spin(self):
        try:
            while not self._leaving.is_set():
                self._executor.spin_once(0.1)
        except ExternalShutdownException:
            return

    def _on_eo(self, message):
        self._counters["eo_received"] += 1
        self._eo_stamp_ns = stamp_to_ns(message.header.stamp)

    def _on_ir(self, message):
        self.images.append(message)
        if len(self.images) == self._die_at:
            os._exit(7)
        self._counters["ir_received"] += 1
        if self._drop_every and self._counters["ir_received"] % self._drop_every == 0:
            self._counters["dropped_superseded"] += self._honest
        else:
            self._answer(message)

    def _report(self):
        values = [KeyValue(key=key, value=str(count)) for key, count in self._counters.items()]
        frames = DiagnosticStatus(name="segment: frames", values=values)
        speed = DiagnosticStatus(
            name="segment: speed", values=[KeyValue(key="around_p95_ms", value=AROUND_MS)]
        )
        self._health.publish(DiagnosticArray(status=[frames, speed]))

    def _answer(self, message):
        age_ns = stamp_to_ns(message.header.stamp) - self._eo_stamp_ns
        route = Route.FUSED if age_ns < 1.5 * self._period_ns else Route.IR_ONLY
        if route is not self._route:
            self._route = route
            self._routes.publish(String(data=route.value))
        pixels = np.full_like(read_ir(message), PIXEL[route])
        mask = Image()
        fill_image(mask, pixels, "mono8", message.header)
        self._counters["answered"] += 1
        self._mask.publish(mask)


def main():
    """Run as the demo's node; takes its ways from the environment."""
    ways = dict(way.split("=") for way in os.environ["ECHO_WAYS"].split(","))
    node = EchoNode(
        int(ways["period_ns"]),
        int(ways["drop_every"]),
        honest=ways["honest"] == "yes",
        die_at=int(ways.get("die_at", 0)),
    )
    with node, contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    return int(ways["exit_code"])


if __name__ == "__main__":
    sys.exit(main())
