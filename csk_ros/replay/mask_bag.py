"""The bag of masks that a deterministic replay writes, and what an earlier, unfinished one holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from csk_ros.inference.overlay import draw_overlay
from csk_ros.messages import read_ir, stamp_to_ns
from csk_ros.modality import Route
from csk_ros.replay.bag import COMPRESSED_IMAGE, IMAGE, STRING, TYPES, BagError, BagReader
from csk_ros.replay.samples import compressed_message, image_message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from csk_ros.labels import LabelSet
    from csk_ros.replay.bag import BagWriter

MASK, CONFIDENCE, ROUTE = "/segment/mask", "/segment/confidence", "/segment/route"
OVERLAY = "/segment/overlay/compressed"


class Answer(NamedTuple):
    """The answer to one frame.

    Attributes:
        route: that made it.
        labels: uint8 (H, W) class ids.
        confidence: uint8 (H, W), or None.
    """

    route: Route
    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None


class MaskBag:
    """Writes answers as the node's topics carry them; overlays as JPEG.

    Args:
        bag: takes them.
        label_set: the colours of overlays.
        confidence: whether answers come with a confidence.
        overlay: whether to draw overlays.
        opacity: of the overlays.
    """

    def __init__(
        self, bag: BagWriter, label_set: LabelSet, *, confidence: bool, overlay: bool, opacity: float
    ) -> None:
        self._bag, self._label_set = bag, label_set
        self._confidence, self._overlay, self._opacity = confidence, overlay, opacity
        self._route: Route | None = None
        bag.add_topic(ROUTE, STRING, "latched")
        bag.add_topic(MASK, IMAGE)
        if confidence:
            bag.add_topic(CONFIDENCE, IMAGE)
        if overlay:
            bag.add_topic(OVERLAY, COMPRESSED_IMAGE)

    def write(self, answer: Answer, header: Any, received_ns: int, **images: NDArray[Any] | None) -> None:
        """Write one answer.

        Args:
            answer: to write.
            header: of the image that it answers.
            received_ns: receive time of the messages.
            images: eo and ir, what overlays are drawn over.
        """
        if answer.route is not self._route:
            self._route = answer.route
            self._bag.write(ROUTE, received_ns, TYPES.types[STRING](data=answer.route.value))
        if self._confidence and answer.confidence is not None:
            self._bag.write(CONFIDENCE, received_ns, image_message(answer.confidence, "mono8", header))
        if self._overlay:
            drawn = draw_overlay(answer.labels, self._label_set, opacity=self._opacity, **images)
            self._bag.write(OVERLAY, received_ns, compressed_message(drawn, "rgb8", header, "jpeg"))
        # Last: a mask that is there vouches for all that goes with it.
        self._bag.write(MASK, received_ns, image_message(answer.labels, "mono8", header))


class EarlierMasks:
    """Hands out the answers of an unfinished replay again, in order, as long as they last.

    Args:
        path: its bag, which may be cut short; None: there is none.
        confidence: whether answers need a confidence.
    """

    def __init__(self, path: Path | None, *, confidence: bool) -> None:
        self._answers = _read_answers(path, confidence=confidence) if path else iter(())
        self._next = next(self._answers, None)

    @property
    def left(self) -> bool:
        """Whether there are any that were not handed out."""
        return self._next is not None

    def take(self, stamp_ns: int) -> Answer | None:
        """The answer to the next frame, which has this stamp; None once there are no more."""
        if self._next is None or self._next[0] != stamp_ns:
            self._next, self._answers = None, iter(())
            return None
        answer = self._next[1]
        self._next = next(self._answers, None)
        return answer


def _read_answers(path: Path, *, confidence: bool) -> Iterator[tuple[int, Answer]]:
    route: Route | None = None
    certain: NDArray[np.uint8] | None = None
    try:
        with BagReader(path) as bag:
            for record in bag.records([topic for topic in (ROUTE, CONFIDENCE, MASK) if topic in bag.topics]):
                if record.topic == ROUTE:
                    route = Route(record.message.data)
                elif record.topic == CONFIDENCE:
                    certain = read_ir(record.message)
                elif route and (certain is not None or not confidence):
                    stamp_ns = stamp_to_ns(record.message.header.stamp)
                    yield stamp_ns, Answer(route, read_ir(record.message), certain)
                    certain = None
    except (BagError, ValueError):
        return  # what cannot be read is segmented again
