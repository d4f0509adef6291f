"""The frames of a recording: what was sent, what should have come back, and what came back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from csk_ros.messages import read_eo, read_ir, stamp_to_ns
from csk_ros.modality import Modality, Route
from csk_ros.replay.bag import BagReader, Record
from csk_ros.replay.samples import LABELS_TOPIC, image_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from csk_ros.replay.recording import Recording


@dataclass(frozen=True)
class PlayedFrame:
    """One moment of a recording that has a thermal image.

    Attributes:
        stamp_ns: its live stamp.
        seconds: time into the drive.
        eo: optical image, uint8 RGB, shape (H, W, 3); None where it was withheld.
        ir: thermal image, uint8 or uint16, shape (H, W).
        labels: class ids, uint8, shape (H, W); None where the drive has none.
        mask: the node's answer, uint8 class ids, shape (H, W); None where none came.
        route: the route of the mask.
    """

    stamp_ns: int
    seconds: float
    eo: NDArray[np.uint8] | None
    ir: NDArray[Any]
    labels: NDArray[np.uint8] | None
    mask: NDArray[np.uint8] | None
    route: Route | None


def played_frames(recording: Recording) -> Iterator[PlayedFrame]:
    """The frames of a recording in the order of their stamps, holding one frame in memory at a time.

    Raises:
        BagError: if one of the bags cannot be read.
    """
    sent_eo = {frame.stamp_ns for frame in recording.sent if frame.modality is Modality.EO}
    with BagReader(recording.drive) as drive, BagReader(recording.masks_bag) as masks_bag:
        topics = {image_topic(drive, modality): modality for modality in Modality}
        masks = _Masks(masks_bag)
        wanted = [*topics, LABELS_TOPIC] if LABELS_TOPIC in drive.topics else list(topics)
        for stamp_ns, group in groupby(drive.records(wanted), key=lambda record: _live(record, recording)):
            images = {topics.get(record.topic): record.message for record in group}
            if Modality.IR not in images:
                continue
            eo, labels = images.get(Modality.EO), images.get(None)
            yield PlayedFrame(
                stamp_ns=stamp_ns,
                seconds=recording.seconds(stamp_ns),
                eo=read_eo(eo) if eo is not None and stamp_ns in sent_eo else None,
                ir=read_ir(images[Modality.IR]),
                labels=None if labels is None else read_ir(labels),
                mask=masks.at(stamp_ns),
                route=recording.route_of.get(stamp_ns),
            )


class _Masks:
    """Looks masks up by rising stamps in a bag that holds them in the order of receipt."""

    def __init__(self, bag: BagReader) -> None:
        topic = next((name for name in bag.topics if name.endswith("/mask")), None)
        self._records = bag.records([topic]) if topic else iter(())
        self._next = next(self._records, None)

    def at(self, stamp_ns: int) -> NDArray[np.uint8] | None:
        while self._next is not None and _stamp(self._next) < stamp_ns:
            self._next = next(self._records, None)
        if self._next is None or _stamp(self._next) != stamp_ns:
            return None
        return read_ir(self._next.message)


def _stamp(record: Record) -> int:
    return stamp_to_ns(record.message.header.stamp)


def _live(record: Record, recording: Recording) -> int:
    return _stamp(record) + recording.offset_ns
