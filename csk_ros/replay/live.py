"""Plays a bag in real time to a running node over DDS and records what comes back.

Images keep their spacing and get live stamps: a constant is added to every stamp of the drive, such that
an image is stamped with the moment at which it is due. So stamp to mask is what a user of a camera would
measure, and EO and IR images of one moment still carry equal stamps.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from tqdm import tqdm

from csk_ros.modality import Modality, Route
from csk_ros.replay.bag import COMPRESSED_IMAGE, IMAGE, STRING, BagReader, BagWriter
from csk_ros.replay.recording import ReceivedMask, Recording, RouteChange, SentFrame
from csk_ros.replay.samples import image_topic
from csk_ros.replay.stamps import read_stamp, set_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from rclpy.node import Node
    from typing_extensions import Self

DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
START_KEY = "csk_ros.drive_start_ns"
OFFSET_KEY = "csk_ros.drive_offset_ns"

_RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_PUBLISHED = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_IMAGE_TYPES = {IMAGE: Image, COMPRESSED_IMAGE: CompressedImage}
# From the call of play to the first image, so that the first one is not late already.
_LEAD_NS = 200_000_000
_POLL_S = 0.02


class LiveError(RuntimeError):
    """The node did not do its part; the message is one line."""


class LiveSession:
    """A ROS node of its own, with a thread that receives; a context manager.

    Args:
        segment: name of the lifecycle node that segments.
    """

    def __init__(self, segment: str = "segment") -> None:
        self.segment = segment

    def __enter__(self) -> Self:
        """Join DDS."""
        self._context = Context()
        rclpy.init(context=self._context)
        self.node: Node = rclpy.create_node("csk_player", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="csk_recorder")
        self._spinning = self._pool.submit(self._spin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave DDS; an error of the receiving thread surfaces here."""
        self._executor.shutdown()
        self._pool.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)
        if kind is None:
            self._spinning.result()

    def wait_until_active(self, alive: Callable[[], bool], timeout_s: float) -> None:
        """Wait until the node's lifecycle state is ACTIVE.

        Args:
            alive: whether the node's process still runs.
            timeout_s: how long to wait at most, in seconds.

        Raises:
            LiveError: after the time-out, or once the process has ended.
        """
        client = self.node.create_client(GetState, f"{self.segment}/get_state")
        deadline = time.monotonic() + timeout_s
        state = "not seen"
        while state != "active":
            if not alive():
                raise LiveError(f"the node {self.segment} ended before it was active")
            if time.monotonic() > deadline:
                raise LiveError(f"the node {self.segment} was not active after {timeout_s:.0f} s ({state})")
            if client.service_is_ready():
                answer = client.call_async(GetState.Request())
                self._wait(answer.done, min(deadline, time.monotonic() + 2))
                state = str(answer.result().current_state.label) if answer.done() else "no answer"
            time.sleep(_POLL_S)
        self.node.destroy_client(client)

    def play_and_record(
        self,
        drive: Path,
        masks_bag: Path,
        *,
        cuts: Sequence[tuple[float, float]] = (),
        match_s: float = 30.0,
        settle_s: float = 15.0,
        progress: bool = True,
    ) -> Recording:
        """Play a bag once and record masks, routes and diagnostics into a new bag.

        Args:
            drive: bag with IR and EO topics.
            masks_bag: path of the new bag.
            cuts: stretches, in seconds since the drive's start, in which EO images are withheld.
            match_s: how long to wait for the node's topics to match, in seconds.
            settle_s: how long to wait after the last image for the node to account for all of them.
            progress: show a progress bar on stderr.

        Raises:
            BagError: from reading the one bag or writing the other.
            LiveError: if the node's topics do not match ours.
        """
        with BagReader(drive) as source, _masks_writer(masks_bag, source) as bag:
            recorder = Recorder(self.node, bag, self.segment)
            player = Player(self.node, source, cuts)
            self._require(player.matched, match_s, f"does not subscribe to {player.topics}")
            self._require(recorder.matched, match_s, f"does not publish {self.segment}/mask")
            recorder.begin()
            player.play(progress=progress)
            recorder.wait_for_account(len(player.sent_ir()), settle_s)
            recorder.stop()
            bag.note(START_KEY, str(player.start_ns))
            bag.note(OFFSET_KEY, str(player.offset_ns))
            player.close()
        return Recording(
            drive=drive,
            masks_bag=masks_bag,
            start_ns=player.start_ns,
            offset_ns=player.offset_ns,
            cuts=tuple(cuts),
            sent=tuple(player.sent),
            masks=tuple(recorder.masks),
            routes=tuple(sorted(recorder.routes, key=lambda change: change.source_ns)),
            account=recorder.account,
        )

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _require(self, condition: Callable[[], bool], timeout_s: float, complaint: str) -> None:
        if not self._wait(condition, time.monotonic() + timeout_s):
            raise LiveError(f"the node {self.segment} {complaint} (waited {timeout_s:.0f} s)")

    def _wait(self, condition: Callable[[], bool], deadline: float) -> bool:
        while not condition():
            if time.monotonic() > deadline or self._spinning.done():
                return False
            time.sleep(_POLL_S)
        return True


class Player:
    """Publishes the images of a bag at the pace at which they were received.

    Args:
        node: publishes.
        source: the bag.
        cuts: as in :meth:`LiveSession.play_and_record`.
    """

    def __init__(self, node: Node, source: BagReader, cuts: Sequence[tuple[float, float]]) -> None:
        self._node = node
        self._source = source
        self._cuts = cuts
        self._modalities = {image_topic(source, modality): modality for modality in Modality}
        self._publishers = {
            # Relative, so that remapping and namespaces work on what is played.
            topic: node.create_publisher(
                _IMAGE_TYPES[source.topics[topic].msgtype], topic.lstrip("/"), _PUBLISHED
            )
            for topic in self._modalities
        }
        self.sent: list[SentFrame] = []
        self.start_ns = 0
        self.offset_ns = 0

    @property
    def topics(self) -> str:
        """The topics to publish on, for messages."""
        return " and ".join(publisher.topic_name for publisher in self._publishers.values())

    def matched(self) -> bool:
        """Whether somebody subscribes to both topics."""
        return all(publisher.get_subscription_count() for publisher in self._publishers.values())

    def sent_ir(self) -> list[SentFrame]:
        """The thermal images published so far."""
        return [frame for frame in self.sent if frame.modality is Modality.IR]

    def play(self, *, progress: bool) -> None:
        """Publish the whole bag; returns after the last image."""
        steady_start_ns = time.monotonic_ns() + _LEAD_NS
        self.start_ns = time.time_ns() + _LEAD_NS
        self.offset_ns = self.start_ns - self._source.start_ns
        with _seconds_bar(self._source.duration_ns / 1e9, shown=progress) as bar:
            for raw in self._source.raw_records(list(self._modalities)):
                into_ns = raw.received_ns - self._source.start_ns
                if self._modalities[raw.topic] is Modality.EO and self._is_cut(into_ns / 1e9):
                    continue
                late_ns = _sleep_until(steady_start_ns + into_ns)
                self._publish(raw.topic, raw.data, late_ns)
                bar.update(min(into_ns / 1e9, bar.total) - bar.n)

    def close(self) -> None:
        """Stop publishing."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def _is_cut(self, seconds: float) -> bool:
        return any(start <= seconds < end for start, end in self._cuts)

    def _publish(self, topic: str, data: bytes, late_ns: int) -> None:
        stamp_ns = read_stamp(data) + self.offset_ns
        restamped = set_stamp(data, stamp_ns)
        sent_ns = time.time_ns()
        self._publishers[topic].publish(restamped)
        self.sent.append(SentFrame(self._modalities[topic], stamp_ns, sent_ns, late_ns))


class Recorder:
    """Receives masks, routes and diagnostics, and writes them to a bag as they come.

    Args:
        node: subscribes.
        bag: takes the messages.
        segment: name of the node that segments.
    """

    def __init__(self, node: Node, bag: BagWriter, segment: str) -> None:
        self._node = node
        self._bag = bag
        self._status = f"{segment}: frames"
        self._changed = threading.Condition()
        self._stopped = False
        self._before: dict[str, int] = {}
        self._latest: dict[str, int] = {}
        self.masks: list[ReceivedMask] = []
        self.routes: list[RouteChange] = []
        self._topics = {"mask": f"/{segment}/mask", "route": f"/{segment}/route", "health": "/diagnostics"}
        bag.add_topic(self._topics["mask"], IMAGE)
        bag.add_topic(self._topics["route"], STRING, "latched")
        bag.add_topic(self._topics["health"], DIAGNOSTICS)
        self._subscriptions = [
            node.create_subscription(Image, self._topics["mask"], self._on_mask, _RELIABLE, raw=True),
            node.create_subscription(String, self._topics["route"], self._on_route, _LATCHED, raw=True),
            node.create_subscription(
                DiagnosticArray, self._topics["health"], self._on_health, _RELIABLE, raw=True
            ),
        ]

    def matched(self) -> bool:
        """Whether somebody publishes masks and routes."""
        return all(self._node.count_publishers(self._topics[name]) for name in ("mask", "route"))

    @property
    def account(self) -> dict[str, int]:
        """The node's counters, less what they showed at the beginning."""
        return {name: count - self._before.get(name, 0) for name, count in self._latest.items()}

    def begin(self) -> None:
        """Count from here: what the node received earlier is not of this run."""
        with self._changed:
            self._before = self._latest

    def wait_for_account(self, sent_ir: int, timeout_s: float) -> bool:
        """Wait until the node reports an outcome for every image sent and every mask has come.

        Returns:
            Whether that happened; if not, the report shows what is missing.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._complete(sent_ir), timeout_s)

    def stop(self) -> None:
        """Receive nothing more, not even what is on its way already."""
        with self._changed:
            self._stopped = True
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _complete(self, sent_ir: int) -> bool:
        account = self.account
        return (
            account.get("ir_received") == sent_ir
            and account.get("answered") == len(self.masks)
            and not account.get("in_hand")
        )

    def _on_mask(self, data: bytes, info: dict[str, Any]) -> None:
        received_ns = time.time_ns()
        with self._changed:
            if self._write("mask", received_ns, data):
                self.masks.append(ReceivedMask(read_stamp(data), info["source_timestamp"], received_ns))
                self._changed.notify_all()

    def _on_route(self, data: bytes, info: dict[str, Any]) -> None:
        received_ns = time.time_ns()
        route = Route(deserialize_message(data, String).data)
        with self._changed:
            if self._write("route", received_ns, data):
                self.routes.append(RouteChange(info["source_timestamp"], route))

    def _on_health(self, data: bytes) -> None:
        received_ns = time.time_ns()
        counters = dict(_counters(deserialize_message(data, DiagnosticArray), self._status))
        with self._changed:
            if self._write("health", received_ns, data) and counters:
                self._latest = counters
                self._changed.notify_all()

    def _write(self, name: str, received_ns: int, data: bytes) -> bool:
        if not self._stopped:
            self._bag.write_raw(self._topics[name], received_ns, data)
        return not self._stopped


def _masks_writer(path: Path, source: BagReader) -> BagWriter:
    # Label maps shrink to a few per cent, in less time than a mask takes to come.
    return BagWriter(path, zstd=True, label_set=source.label_set)


def _counters(message: DiagnosticArray, name: str) -> Iterator[tuple[str, int]]:
    for status in message.status:
        if status.name == name:
            yield from ((item.key, int(item.value)) for item in status.values if item.value.isdigit())


def _sleep_until(due_ns: int) -> int:
    """Sleep until ``due_ns`` on the steady clock; how late it is then, in nanoseconds."""
    remaining_ns = due_ns - time.monotonic_ns()
    if remaining_ns > 0:
        time.sleep(remaining_ns / 1e9)
    return time.monotonic_ns() - due_ns


def _seconds_bar(seconds: float, *, shown: bool) -> Any:
    layout = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s"
    return tqdm(total=seconds, desc="playing", bar_format=layout, disable=not shown, file=sys.stderr)
