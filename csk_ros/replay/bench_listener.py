"""Notes when masks arrive: ``python -m csk_ros.replay.bench_listener MASKS``, until its input is closed."""

from __future__ import annotations

import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String

from csk_ros.replay.stamps import read_stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

_MASKS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
_ROUTES = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_LOOK_S = 0.1


class Receipt(NamedTuple):
    """A mask that arrived.

    Attributes:
        stamp_ns: of the image that it segments.
        received_ns: when it arrived, on the wall clock.
        route: that the node had announced last; empty if it announces none.
    """

    stamp_ns: int
    received_ns: int
    route: str


def receipts(path: Path) -> list[Receipt]:
    """What a listener has written so far."""
    *lines, _ = path.read_text(encoding="ascii").split("\n") if path.exists() else [""]
    fields = (line.split(" ") for line in lines)
    return [Receipt(int(stamp), int(received), route) for stamp, received, route in fields]


def main(arguments: Sequence[str]) -> int:
    """Listen until the input is closed."""
    (path,) = arguments
    rclpy.init()
    node = rclpy.create_node("bench_listener")
    route = ""

    def on_route(message: String) -> None:
        nonlocal route
        route = message.data

    with Path(path).open("w", encoding="ascii", buffering=1) as log:

        def on_mask(data: bytes) -> None:
            received_ns = time.time_ns()
            log.write(f"{read_stamp(data)} {received_ns} {route}\n")

        node.create_subscription(String, "segment/route", on_route, _ROUTES)
        node.create_subscription(Image, "segment/mask", on_mask, _MASKS, raw=True)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not select.select([sys.stdin], [], [], 0)[0]:
            executor.spin_once(_LOOK_S)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
