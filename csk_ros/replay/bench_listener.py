"""Notes masks and what the node says of its speed: ``python -m csk_ros.replay.bench_listener FOLDER``.

Until its input is closed.
"""

from __future__ import annotations

import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
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
_AROUND = "around_p95_ms"


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


class Heard:
    """What a listener has written so far.

    Args:
        folder: its own.
    """

    def __init__(self, folder: Path) -> None:
        self._masks, self._around = folder / "masks", folder / "around"

    def forget(self) -> None:
        """Before another listener writes there."""
        for file in (self._masks, self._around):
            file.unlink(missing_ok=True)

    def receipts(self) -> list[Receipt]:
        """The masks, as they came."""
        return [Receipt(int(stamp), int(received), route) for stamp, received, route in _fields(self._masks)]

    def around(self, begin_ns: int, end_ns: int) -> list[float]:
        """Milliseconds around the network, the 95th percentile of each report in a span of the wall clock."""
        return [float(ms) for at, ms in _fields(self._around) if begin_ns <= int(at) < end_ns]


def _fields(path: Path) -> list[list[str]]:
    *lines, _ = path.read_text(encoding="ascii").split("\n") if path.exists() else [""]
    return [line.split(" ") for line in lines]


def main(arguments: Sequence[str]) -> int:
    """Listen until the input is closed."""
    (folder,) = map(Path, arguments)
    rclpy.init()
    node = rclpy.create_node("bench_listener")
    route = ""

    def on_route(message: String) -> None:
        nonlocal route
        route = message.data

    with (
        (folder / "masks").open("w", encoding="ascii", buffering=1) as masks,
        (folder / "around").open("w", encoding="ascii", buffering=1) as around,
    ):

        def on_mask(data: bytes) -> None:
            received_ns = time.time_ns()
            masks.write(f"{read_stamp(data)} {received_ns} {route}\n")

        def on_diagnostics(message: DiagnosticArray) -> None:
            for item in (item for status in message.status for item in status.values):
                if item.key == _AROUND:
                    around.write(f"{time.time_ns()} {item.value}\n")

        node.create_subscription(String, "segment/route", on_route, _ROUTES)
        node.create_subscription(Image, "segment/mask", on_mask, _MASKS, raw=True)
        # a node that may make the confidence makes it only for somebody who listens
        node.create_subscription(Image, "segment/confidence", lambda _: None, _MASKS, raw=True)
        node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not select.select([sys.stdin], [], [], 0)[0]:
            executor.spin_once(_LOOK_S)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
