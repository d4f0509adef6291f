"""A camera that publishes real images with any mix of faults over time, the same for the same seed.

Publishes eo/image or ir/image. The header's frame_id says which frame it is and when it was sent:
"ir 1234 567890" is frame 1234, sent at 567890 ns of the steady clock; the node hands it on with the mask.

Usage: python benchmarks/fault_injector.py --stream eo [--seed 0] [--seconds 60] [--rate 30]
       [--data scenes:height=240,width=320,frames=24] [--kinds black,stopped] [--list]
"""

from __future__ import annotations

import argparse
import os
import struct
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from fault_images import CameraImages, fill, save_images
from fault_schedule import CAMERAS, KINDS, FaultSchedule, named_kinds
from fault_timeline import timeline
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fault_schedule import Fault
    from fault_timeline import Shot

DATA = "scenes:seed=3,frames=24,height=240,width=320,light=dusk"

_COUNTS = struct.Struct("=qqq")
_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
_SKIP_AFTER_S = 0.5
_OF_PUBLISHER = ("publisher restarted", "other qos", "second publisher")


class SentCounts:
    """Messages begun and done and the time of the last one, in a file that outlives SIGKILL.

    Args:
        path: created if missing, else continued.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self.begun, self.done, self.last_ns = _read_counts(self._file)

    def begin(self) -> None:
        """Before a message is sent."""
        self.begun += 1
        self._write()

    def end(self) -> None:
        """After it was sent."""
        self.done, self.last_ns = self.done + 1, time.monotonic_ns()
        self._write()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self) -> None:
        os.pwrite(self._file, _COUNTS.pack(self.begun, self.done, self.last_ns), 0)

    @staticmethod
    def read(path: Path) -> tuple[int, int, int]:
        """Begun, done, and the steady time of the last message in nanoseconds; zeros if there is none."""
        if not path.exists():
            return 0, 0, 0
        file = os.open(path, os.O_RDONLY)
        try:
            return _read_counts(file)
        finally:
            os.close(file)


def _read_counts(file: int) -> tuple[int, int, int]:
    data = os.pread(file, _COUNTS.size, 0)
    return _COUNTS.unpack(data) if len(data) == _COUNTS.size else (0, 0, 0)


class FaultyCamera:
    """One camera as a ROS node.

    Args:
        stream: "eo" or "ir".
        schedule: its faults.
        images: what it shows.
        start_ns: the beginning on the steady clock; may lie in the past.
        counts: keeps count of what is sent.
    """

    def __init__(
        self, stream: str, schedule: FaultSchedule, images: CameraImages, *, start_ns: int, counts: SentCounts
    ) -> None:
        self._stream, self._images, self._counts = stream, images, counts
        self._start_ns = start_ns
        self._wall_ns = time.time_ns() - (time.monotonic_ns() - start_ns)
        self._node = rclpy.create_node(f"{stream}_camera")
        self._publisher = self._new_publisher(_RELIABLE)
        self._second: Any = None
        self._running: list[Fault] = []
        self._todo = [f for f in schedule.faults if f.stream == stream and f.kind in _OF_PUBLISHER]

    def run(self, shots: Iterable[Shot]) -> None:
        """Send everything at its time; what is overdue by half a second, as after a restart, is left out."""
        for shot in shots:
            left_s = shot.send_s - self._now_s
            if left_s < -_SKIP_AFTER_S:
                continue
            if left_s > 0:
                time.sleep(left_s)
            self._change_publishers()
            for _ in range(shot.copies):
                self._send(shot)

    def close(self) -> None:
        """Leave the graph."""
        self._node.destroy_node()

    def wait_until_matched(self) -> None:
        """Until somebody subscribes."""
        while not self._publisher.get_subscription_count():
            time.sleep(0.002)

    @property
    def _now_s(self) -> float:
        return (time.monotonic_ns() - self._start_ns) / 1e9

    def _new_publisher(self, qos: QoSProfile) -> Any:
        return self._node.create_publisher(Image, f"{self._stream}/image", qos)

    def _replace_publisher(self, qos: QoSProfile) -> None:
        self._node.destroy_publisher(self._publisher)
        self._publisher = self._new_publisher(qos)

    def _change_publishers(self) -> None:
        now = self._now_s
        while self._todo and self._todo[0].start_s <= now:
            fault = self._todo.pop(0)
            if now < fault.end_s:
                self._begin(fault)
                self._running.append(fault)
        for fault in [fault for fault in self._running if fault.end_s <= now]:
            self._running.remove(fault)
            self._end(fault)

    def _begin(self, fault: Fault) -> None:
        if fault.kind == "publisher restarted":
            self._replace_publisher(_RELIABLE)
        elif fault.kind == "other qos":
            self._replace_publisher(_BEST_EFFORT)
        elif self._second is None:
            self._second = self._new_publisher(_RELIABLE)

    def _end(self, fault: Fault) -> None:
        if fault.kind == "other qos":
            self._replace_publisher(_RELIABLE)
        elif fault.kind == "second publisher" and self._second is not None:
            self._node.destroy_publisher(self._second)
            self._second = None

    def _send(self, shot: Shot) -> None:
        pixels = self._images.pixels(shot.content)
        for publisher in filter(None, (self._publisher, self._second)):
            message = Image()
            header = Header(frame_id=f"{self._stream} {shot.number} {time.monotonic_ns()}")
            if shot.stamp_s is not None:
                stamp_ns = self._wall_ns + int(shot.stamp_s * 1e9)
                header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 10**9)
            fill(message, pixels, header, shot.spoilt)
            self._counts.begin()
            publisher.publish(message)
            self._counts.end()


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--stream", choices=CAMERAS)
    made.add_argument("--seed", type=int, default=0, help="of the faults (default: 0)")
    made.add_argument("--seconds", type=float, default=60.0, help="length (default: 60)")
    made.add_argument("--rate", type=float, default=30.0, help="frames per second (default: 30)")
    made.add_argument("--every", type=float, default=4.0, help="seconds between two faults (default: 4)")
    made.add_argument("--kinds", help="comma-separated; default: all; none: no faults")
    made.add_argument("--data", default=DATA, help=f"what is shown (default: {DATA})")
    made.add_argument(
        "--images", type=Path, help="an .npz file of fault_images.save_images in place of --data"
    )
    made.add_argument("--start-ns", type=int, help="beginning on the steady clock (default: now)")
    made.add_argument("--counts", type=Path, help="file that keeps count of what was sent")
    made.add_argument("--on-go", action="store_true", help="publish when a line comes on standard input")
    made.add_argument("--list", action="store_true", help="print the kinds or, with --stream, the schedule")
    return made


def schedule_of(options: argparse.Namespace) -> FaultSchedule:
    """The schedule that the options name."""
    return FaultSchedule(
        options.seed, options.seconds, every_s=options.every, kinds=named_kinds(options.kinds)
    )


def main() -> int:
    """Publish until the schedule is over."""
    options = parser().parse_args()
    try:
        schedule = schedule_of(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.list:
        _print_list(schedule, options.stream)
    elif options.stream is None:
        print("error: --stream is missing: eo or ir", file=sys.stderr)
        return 2
    else:
        with TemporaryDirectory() as folder:
            _publish(options, schedule, Path(folder))
    return 0


def _print_list(schedule: FaultSchedule, stream: str | None) -> None:
    if stream is None:
        for name, kind in KINDS.items():
            print(f"{name:20} {'/'.join(kind.streams):6} {kind.what}")
    for fault in schedule.faults if stream else ():
        if fault.stream == stream:
            print(f"{fault.start_s:8.2f} {fault.end_s:8.2f} {fault.kind} {dict(fault.parameters)}")


def _publish(options: argparse.Namespace, schedule: FaultSchedule, folder: Path) -> None:
    path = options.images or folder / "images.npz"
    if options.images is None:
        save_images(options.data, path)
    with np.load(path) as arrays:
        images = CameraImages(arrays[options.stream])
    counts = SentCounts(options.counts or folder / "counts")
    rclpy.init()
    if options.on_go:
        print("ready", flush=True)
        sys.stdin.readline()
    start_ns = options.start_ns or time.monotonic_ns()
    camera = FaultyCamera(options.stream, schedule, images, start_ns=start_ns, counts=counts)
    try:
        camera.wait_until_matched()
        camera.run(timeline(schedule, options.stream, options.rate, seed=options.seed))
    except KeyboardInterrupt:
        pass
    finally:
        camera.close()
        counts.close()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
