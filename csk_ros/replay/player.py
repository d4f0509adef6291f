"""Plays a bag in real time: reads ahead in a thread of its own and publishes each image when it is due.

An image keeps its spacing and its stamp moves to the present: a stamp of the bag becomes the moment at which
it would be due, so that stamp to mask is what a user of a camera would measure, and EO and IR images of one
moment still carry equal stamps. With ``/clock`` stamps stay those of the bag, and the clock runs with them.
"""

from __future__ import annotations

import struct
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import QosDurability, QosReliability
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from csk_ros.messages import ImageError, read_eo, read_ir
from csk_ros.modality import Modality
from csk_ros.replay.bag import COMPRESSED_IMAGE, IMAGE, TYPES, BagError
from csk_ros.replay.played import Sent
from csk_ros.replay.read_ahead import ReadAhead
from csk_ros.replay.samples import compressed_message
from csk_ros.replay.stamps import set_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rclpy.node import Node
    from rclpy.publisher import Publisher

    from csk_ros.replay.bag import BagReader
    from csk_ros.replay.source import Arrival, Source

MESSAGE_TYPES = {IMAGE: Image, COMPRESSED_IMAGE: CompressedImage}

_DEPTH = 10
_AHEAD = 32
# From the call of play to the first image, for the reader to get ahead.
_LEAD_NS = 500_000_000
_CLOCK_S = 0.01
# Stamps further than this from the time of receipt are of another clock, such as a camera's own.
_OTHER_CLOCK_NS = 1_000_000_000


class Timeline:
    """Where a moment of the bag lies in the present.

    Args:
        origin_ns: the moment to begin with, on the bag's clock.
        rate: how much faster than recorded.
        keep_stamps: stamps stay those of the bag.

    Attributes:
        start_ns: when that moment is due, on the wall clock.
        stamp_shift_ns: how far the clock of the stamps is ahead of the bag's; 0 where they are one.
    """

    def __init__(self, origin_ns: int, rate: float, *, keep_stamps: bool) -> None:
        self._origin_ns, self._rate, self._keep = origin_ns, rate, keep_stamps
        self._steady_ns = time.monotonic_ns() + _LEAD_NS
        self.start_ns = time.time_ns() + _LEAD_NS
        self.stamp_shift_ns = 0

    def due_ns(self, received_ns: int) -> int:
        """When an image is due, on the steady clock, from its time of receipt on the bag's."""
        return self._steady_ns + self._scaled(received_ns - self._origin_ns)

    def moment_ns(self, stamp_ns: int) -> int:
        """When the moment of a stamp is, on the wall clock."""
        return self.start_ns + self._scaled(stamp_ns - self.stamp_shift_ns - self._origin_ns)

    def live_ns(self, stamp_ns: int) -> int:
        """The stamp to publish."""
        return stamp_ns if self._keep else self.moment_ns(stamp_ns)

    def clock_ns(self) -> int:
        """The present on the clock of the bag's stamps."""
        elapsed_ns = time.monotonic_ns() - self._steady_ns
        return self._origin_ns + self.stamp_shift_ns + round(elapsed_ns * self._rate)

    def _scaled(self, delta_ns: int) -> int:
        return delta_ns if self._rate == 1 else round(delta_ns / self._rate)


class _Ready(NamedTuple):
    """An image as it will be published; the first fields are those of ``Sent``."""

    modality: Modality
    turn: int
    seconds: float
    stamp_ns: int
    live_ns: int
    moment_ns: int
    due_ns: int
    data: bytes


class _Turn:
    """Measures one turn through the bag, for where the next one begins."""

    def __init__(self) -> None:
        self._spans: dict[Modality, tuple[int, int, int]] = {}

    def add(self, modality: Modality, received_ns: int) -> None:
        first, last, images = self._spans.get(modality, (received_ns, received_ns, 0))
        self._spans[modality] = (min(first, received_ns), max(last, received_ns), images + 1)

    def period_ns(self) -> int:
        """From the start of this turn to that of the next, one frame's distance after its end."""
        gaps = [(last - first) // (images - 1) for first, last, images in self._spans.values() if images > 1]
        first = min(span[0] for span in self._spans.values())
        last = max(span[1] for span in self._spans.values())
        return last - first + max(gaps, default=_LEAD_NS)

    def __bool__(self) -> bool:
        return bool(self._spans)


class Player:
    """Publishes the images of a bag.

    Args:
        node: publishes.
        bag: open; tells types and QoS of the topics.
        publish: where the images of each topic of the bag go.
        modalities: of these topics.
        open_source: gives the images anew, for each turn.
        rate: how much faster than recorded.
        turns: how often to play the bag; 0 goes on until stopped.
        clock: publish ``/clock`` and keep the stamps.

    Attributes:
        sent: what was published, in order.
        length_s: seconds of the bag that were due so far, all turns together.
        unsent: images that could not be read or changed, or have no header, and were held back.
        failure: why reading the bag ended early; empty if it did not.
        stamp_shift_s: how far the clock of the stamps is from the bag's.
    """

    def __init__(
        self,
        node: Node,
        bag: BagReader,
        publish: Mapping[str, str],
        *,
        modalities: Mapping[str, Modality],
        open_source: Callable[[], Source],
        rate: float = 1.0,
        turns: int = 1,
        clock: bool = False,
    ) -> None:
        self._node, self._bag = node, bag
        self._open_source, self._rate, self._turns = open_source, rate, turns
        self._types = {modality: bag.topics[topic].msgtype for topic, modality in modalities.items()}
        self._publishers = {
            modality: node.create_publisher(
                MESSAGE_TYPES[self._types[modality]], publish[topic], _qos(bag, topic)
            )
            for topic, modality in modalities.items()
        }
        self._clock = node.create_publisher(Clock, "/clock", 1) if clock else None
        self._ticking: threading.Thread | None = None
        self._done = threading.Event()
        self.sent: list[Sent] = []
        self.length_s = 0.0
        self.unsent = 0
        self.failure = ""
        self.start_ns = 0
        self.stamp_shift_s = 0.0

    @property
    def topics(self) -> list[str]:
        """The topics to publish on."""
        return [str(publisher.topic_name) for publisher in self._publishers.values()]

    def matched(self) -> bool:
        """Whether somebody subscribes to every topic, with a QoS that fits."""
        return all(publisher.get_subscription_count() for publisher in self._publishers.values())

    def count(self, modality: Modality) -> int:
        """Images of a stream published so far."""
        return sum(sent.modality is modality for sent in self.sent)

    def play(
        self, start_s: float, stopping: threading.Event, *, shown: Callable[[float], None] | None = None
    ) -> bool:
        """Publish; returns after the last image, or soon after ``stopping`` is set.

        Args:
            start_s: where the source begins, in seconds since the bag's start.
            stopping: ends it early.
            shown: told the seconds played, after each image.

        Returns:
            Whether everything was played.
        """
        origin_ns = self._bag.start_ns + round(start_s * 1e9)
        timeline = Timeline(origin_ns, self._rate, keep_stamps=self._clock is not None)
        self.start_ns = timeline.start_ns
        if self._clock:
            self._ticking = threading.Thread(target=self._tick, args=(self._clock, timeline), daemon=True)
            self._ticking.start()
        with ReadAhead(self._read(timeline), _AHEAD) as images:
            try:
                for image in images:
                    late_ns = _wait_until(image.due_ns, stopping)
                    if late_ns is None:
                        break
                    self._publish(image, late_ns)
                    self.length_s = max(self.length_s, image.seconds - start_s)
                    if shown:
                        shown(self.length_s)
            except BagError as error:
                self.failure = str(error)
        self.stamp_shift_s = timeline.stamp_shift_ns / 1e9
        return not (self.failure or stopping.is_set())

    def close(self) -> None:
        """Stop publishing."""
        self._done.set()
        if self._ticking:
            self._ticking.join()
        for publisher in (*self._publishers.values(), self._clock):
            if publisher:
                self._node.destroy_publisher(publisher)

    def _read(self, timeline: Timeline) -> Iterator[_Ready]:
        """The images of all turns, ready to be published; runs in the reader's thread."""
        base_ns = 0
        for turn in range(self._turns) if self._turns else count():
            seen = _Turn()
            for arrival in self._open_source().arrivals():
                if arrival.modality is None:
                    continue
                if not turn and not seen:
                    timeline.stamp_shift_ns = _stamp_shift(arrival)
                seen.add(arrival.modality, arrival.received_ns)
                image = self._prepare(arrival, arrival.modality, timeline, turn, base_ns)
                if image is None:
                    self.unsent += 1
                else:
                    yield image
            if not seen:
                return
            base_ns += seen.period_ns()

    def _prepare(
        self, arrival: Arrival, modality: Modality, timeline: Timeline, turn: int, base_ns: int
    ) -> _Ready | None:
        """The image with its live stamp; None where it cannot be sent."""
        stamp_ns = arrival.stamp_ns
        # What has no stamp stays without one, and counts from when it was received.
        live_ns = timeline.live_ns(stamp_ns + base_ns) if stamp_ns > 0 else 0
        from_ns = stamp_ns if stamp_ns > 0 else arrival.received_ns + timeline.stamp_shift_ns
        try:
            data = set_stamp(self._data(arrival, modality), live_ns)
        except (BagError, ImageError, struct.error):
            return None
        return _Ready(
            modality,
            turn,
            arrival.seconds + base_ns / 1e9,
            stamp_ns,
            live_ns,
            timeline.moment_ns(from_ns + base_ns),
            timeline.due_ns(arrival.received_ns + base_ns),
            data,
        )

    def _data(self, arrival: Arrival, modality: Modality) -> bytes:
        msgtype, data = arrival.data()
        if msgtype == self._types[modality]:
            return data
        # Changed pixels come as a raw image, and a topic carries one type only.
        message = arrival.message()
        pixels = read_ir(message) if modality is Modality.IR else read_eo(message)
        packed = compressed_message(pixels, message.encoding, message.header, "png")
        return bytes(TYPES.serialize_cdr(packed, COMPRESSED_IMAGE))

    def _publish(self, image: _Ready, late_ns: int) -> None:
        sent_ns = time.time_ns()
        self._publishers[image.modality].publish(image.data)
        self.sent.append(Sent(*image[:6], sent_ns, late_ns))

    def _tick(self, publisher: Publisher, timeline: Timeline) -> None:
        message = Clock()
        while not self._done.wait(_CLOCK_S):
            message.clock.sec, message.clock.nanosec = divmod(timeline.clock_ns(), 10**9)
            publisher.publish(message)


def _stamp_shift(first: Arrival) -> int:
    """How far the clock of the stamps is ahead of the bag's, by the first image."""
    shift_ns = first.stamp_ns - first.received_ns
    return shift_ns if first.stamp_ns > 0 and abs(shift_ns) > _OTHER_CLOCK_NS else 0


def _wait_until(due_ns: int, stopping: threading.Event) -> int | None:
    """Wait until ``due_ns`` on the steady clock; how late it is then, in nanoseconds. None if stopped."""
    if stopping.wait(max(due_ns - time.monotonic_ns(), 0) / 1e9):
        return None
    return max(time.monotonic_ns() - due_ns, 0)


def _qos(bag: BagReader, topic: str) -> QoSProfile:
    """As the topic was offered when it was recorded; reliable and volatile where the bag does not tell."""
    offered = next((channel.qos[0] for channel in bag.channels[topic] if channel.qos), None)
    best_effort = offered is not None and offered.reliability is QosReliability.BEST_EFFORT
    latched = offered is not None and offered.durability is QosDurability.TRANSIENT_LOCAL
    return QoSProfile(
        depth=_DEPTH,
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
