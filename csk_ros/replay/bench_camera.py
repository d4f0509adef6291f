"""A pair of cameras for a bench: ``python -m csk_ros.replay.bench_camera IMAGES RATE SENT``.

Publishes the pairs of ``IMAGES`` (``.npz`` with ``eo`` uint8 (N, H, W, 3) and ``ir`` uint8 (N, H, W)) in
turn, both with the stamp of the moment, ``RATE`` times a second until its input is closed. Writes
the stamp of each pair to ``SENT``.
"""

from __future__ import annotations

import select
import sys
import time
from itertools import count, cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from csk_ros.messages import fill_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_ENCODINGS = {"eo": "rgb8", "ir": "mono8"}


def sent_stamps(path: Path) -> list[int]:
    """The stamps that a camera has written so far, nanoseconds."""
    *lines, _ = path.read_text(encoding="ascii").split("\n") if path.exists() else [""]
    return [int(line) for line in lines]


def main(arguments: Sequence[str]) -> int:
    """Publish until the input is closed."""
    images, rate, sent = arguments
    with np.load(images) as pairs:
        messages = {stream: _messages(pairs[stream], _ENCODINGS[stream]) for stream in _ENCODINGS}
    rclpy.init()
    node = rclpy.create_node("bench_camera")
    publishers = {stream: node.create_publisher(Image, f"{stream}/image", _QOS) for stream in messages}
    with Path(sent).open("w", encoding="ascii", buffering=1) as log:
        for _, eo, ir in zip(_ticks(float(rate)), cycle(messages["eo"]), cycle(messages["ir"]), strict=False):
            stamp_ns = time.time_ns()
            for stream, message in (("eo", eo), ("ir", ir)):
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
                publishers[stream].publish(message)
            log.write(f"{stamp_ns}\n")
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def _messages(images: NDArray[np.uint8], encoding: str) -> list[Any]:
    made = [Image() for _ in images]
    for message, pixels in zip(made, images, strict=True):
        fill_image(message, pixels, encoding, Header(frame_id="bench"))
    return made


def _ticks(rate_hz: float) -> Iterator[int]:
    """Numbers when they are due, until the input is closed."""
    start = time.monotonic()
    for number in count():
        left_s = start + number / rate_hz - time.monotonic()
        if select.select([sys.stdin], [], [], max(left_s, 0))[0]:
            return
        yield number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
