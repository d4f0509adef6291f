"""The images of a bag in the order in which they arrive, with what is injected done to them."""

from __future__ import annotations

import heapq
import struct
from itertools import count
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from csk_ros.messages import read_eo, read_ir
from csk_ros.modality import Modality
from csk_ros.replay.bag import IMAGE, TYPES, RawRecord
from csk_ros.replay.samples import image_message
from csk_ros.replay.stamps import find_stamp, read_stamp, set_stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from csk_ros.replay.bag import BagReader
    from csk_ros.replay.injection import Injection
    from csk_ros.replay.topics import InputTopics

_DARK_GAIN = 1 / 64


class Arrival:
    """One image message as it arrives.

    Attributes:
        modality: its stream; None for a label map.
        received_ns: when it arrives, on the bag's clock.
        seconds: the same since the start of the bag.
        stamp_ns: its stamp; 0 where the message is too short to have one.
        msgtype: its type.
    """

    def __init__(
        self,
        bag: BagReader,
        raw: RawRecord,
        modality: Modality | None,
        received_ns: int,
        edits: Sequence[Injection] = (),
    ) -> None:
        self._bag, self._raw, self._edits = bag, raw, edits
        self.modality = modality
        self.msgtype = raw.msgtype
        self.topic = raw.topic
        self.received_ns = received_ns
        self.seconds = (received_ns - bag.start_ns) / 1e9
        self.stamp_ns = find_stamp(raw.data) or 0

    def message(self) -> Any:
        """The message.

        Raises:
            BagError: if its bytes are broken.
            ImageError: if its pixels are to be changed and cannot be read.
        """
        message = self._bag.decode(self._raw).message
        for injection in self._edits:
            message = _edit(message, injection)
        return message

    def data(self) -> tuple[str, bytes]:
        """Type and CDR bytes of the message.

        Raises:
            BagError, ImageError: as :meth:`message`, if its pixels are to be changed.
        """
        if not self._edits:
            return self._raw.msgtype, self._raw.data
        return IMAGE, bytes(TYPES.serialize_cdr(self.message(), IMAGE))


class Source:
    """Reads the streams of a bag.

    Args:
        bag: an open bag.
        topics: what to read.
        injections: what to do to the streams.
        start_s: where to begin, in seconds since the bag's start.
        end_s: where to end.
    """

    def __init__(
        self,
        bag: BagReader,
        topics: InputTopics,
        injections: Sequence[Injection] = (),
        *,
        start_s: float = 0.0,
        end_s: float = float("inf"),
    ) -> None:
        self._bag, self._topics, self._injections = bag, topics, tuple(injections)
        self._start_s, self._end_s = start_s, end_s
        self._frozen: dict[Injection, bytes] = {}

    @property
    def length_s(self) -> float:
        """Of the part that is read."""
        return max(min(self._bag.duration_ns / 1e9, self._end_s) - self._start_s, 0.0)

    def arrivals(self) -> Iterator[Arrival]:
        """Every image and label map, in order of arrival; holds what is delayed, else one at a time.

        Raises:
            BagError: if the bag cannot be read on.
        """
        held: list[tuple[int, int, Arrival]] = []
        order = count()
        for raw in self._chosen():
            while held and held[0][0] <= raw.received_ns:
                yield heapq.heappop(held)[2]
            arrival = self._arrive(raw)
            if arrival is None:
                continue
            if arrival.received_ns > raw.received_ns:
                heapq.heappush(held, (arrival.received_ns, next(order), arrival))
            else:
                yield arrival
        while held:
            yield heapq.heappop(held)[2]

    def _chosen(self) -> Iterator[RawRecord]:
        topics = self._topics
        names = [topic for topic in (topics.eo, topics.ir, topics.labels) if topic]
        for raw in self._bag.raw_records(names):
            seconds = (raw.received_ns - self._bag.start_ns) / 1e9
            if seconds >= self._end_s:
                return
            if seconds >= self._start_s:
                yield raw

    def _arrive(self, raw: RawRecord) -> Arrival | None:
        """The message with its injections; None if it does not come."""
        modality = self._topics.modalities.get(raw.topic)
        seconds = (raw.received_ns - self._bag.start_ns) / 1e9
        if modality is None:
            return Arrival(self._bag, self._move_labels(raw, seconds), None, raw.received_ns)
        delay_ns, edits = 0, []
        for injection in self._injections:
            if injection.modality is not modality:
                continue
            holds = injection.stretches.holds(seconds)
            if injection.kind == "freeze":
                raw = self._freeze(injection, raw, holds=holds)
            elif not holds:
                continue
            elif injection.kind == "drop":
                return None
            elif injection.kind == "delay":
                delay_ns += injection.amount_ns
            elif injection.amount_ns:
                raw = raw._replace(data=_shift_stamp(raw.data, injection.amount_ns))
            else:
                edits.append(injection)
        return Arrival(self._bag, raw, modality, raw.received_ns + delay_ns, edits)

    def _move_labels(self, raw: RawRecord, seconds: float) -> RawRecord:
        """Labels lie in the thermal image: where its stamps are shifted, theirs are."""
        shifts = [i for i in self._injections if i.modality is Modality.IR and i.kind == "shift"]
        moved_ns = sum(shift.amount_ns for shift in shifts if shift.stretches.holds(seconds))
        return raw._replace(data=_shift_stamp(raw.data, moved_ns)) if moved_ns else raw

    def _freeze(self, injection: Injection, raw: RawRecord, *, holds: bool) -> RawRecord:
        """Inside the stretch the last image before it, or its own first one, with the stamp of this one."""
        if not holds or injection not in self._frozen:
            self._frozen[injection] = raw.data
            return raw
        try:
            return raw._replace(data=set_stamp(self._frozen[injection], read_stamp(raw.data)))
        except struct.error:
            return raw


def _shift_stamp(data: bytes, shift_ns: int) -> bytes:
    try:
        return set_stamp(data, read_stamp(data) + shift_ns)
    except struct.error:
        return data  # too short to have a stamp: refused when it is read


def _edit(message: Any, injection: Injection) -> Any:
    """The message with its pixels changed, as a raw image."""
    if injection.modality is Modality.EO:
        pixels, encoding = read_eo(message), "rgb8"
    else:
        pixels = read_ir(message)
        encoding = "mono8" if pixels.dtype == np.uint8 else "mono16"
    changed = _darken(pixels) if injection.kind == "dark" else _shift(pixels, *injection.pixels)
    return image_message(changed, encoding, message.header)


def _darken(pixels: NDArray[Any]) -> NDArray[Any]:
    """What a covered lens leaves: a 64th of the signal."""
    return (pixels * _DARK_GAIN).astype(pixels.dtype)


def _shift(pixels: NDArray[Any], right: int, down: int) -> NDArray[Any]:
    height, width = pixels.shape[:2]
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float64)
    return cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_NEAREST)
