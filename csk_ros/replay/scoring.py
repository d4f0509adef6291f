"""What is measured of the masks of a replay on its way: scores against labels, agreement, steadiness."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np

from csk_ros.evaluation.metrics import RouteScores, Scores, confusion_matrix
from csk_ros.inference.overlay import grey8
from csk_ros.replay.result import Agreement, Consistency

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from csk_ros.labels import LabelSet
    from csk_ros.modality import Route

    Labels = NDArray[np.uint8]
    LabelsAt = Callable[[int], Labels | None]

T = TypeVar("T")

_KEPT = 128


class ScoringError(ValueError):
    """Labels that do not fit the masks; the message is one line."""


class LabelScorer:
    """Scores masks against label maps that come in any order, or are looked up.

    Args:
        label_set: the classes of both.
        labels_at: gives the labels of a stamp; None where they are handed in.
    """

    def __init__(self, label_set: LabelSet, labels_at: LabelsAt | None = None) -> None:
        self.scores = RouteScores(label_set)
        self.miou: dict[int, float] = {}
        """Mean IoU by number of the row, over the classes of its labels."""
        self._labels_at = labels_at
        self._labels: OrderedDict[int, Labels] = OrderedDict()
        self._masks: OrderedDict[int, tuple[int, Route, Labels]] = OrderedDict()

    def labels(self, stamp_ns: int, labels: Labels) -> None:
        """Take a label map, (H, W) uint8 ids."""
        if stamp_ns in self._masks:
            self._score(stamp_ns, *self._masks.pop(stamp_ns), labels)
        else:
            _keep(self._labels, stamp_ns, labels)

    def mask(self, row: int, stamp_ns: int, route: Route, mask: Labels) -> None:
        """Take the mask of a row, (H, W) uint8 ids."""
        labels = self._labels_at(stamp_ns) if self._labels_at else self._labels.pop(stamp_ns, None)
        if labels is not None:
            self._score(stamp_ns, row, route, mask, labels)
        elif self._labels_at is None:
            _keep(self._masks, stamp_ns, (row, route, mask))

    def _score(self, stamp_ns: int, row: int, route: Route, mask: Labels, labels: Labels) -> None:
        try:
            miou = self.scores.update(route, mask, labels).miou_present()
        except ValueError as error:
            raise ScoringError(f"labels of stamp {stamp_ns}: {error}") from error
        if not np.isnan(miou):
            self.miou[row] = miou


class AgreementMeter:
    """How far two routes agree on the same frames."""

    def __init__(self, label_set: LabelSet) -> None:
        self._label_set = label_set
        self._frames = 0
        self._confusion = np.zeros((len(label_set), len(label_set)), np.int64)

    def add(self, one: Labels, other: Labels) -> None:
        """Take the masks of one frame, (H, W) uint8 ids."""
        self._confusion += confusion_matrix(one, other, len(self._label_set))
        self._frames += 1

    def result(self) -> Agreement | None:
        """Over all frames; None without any."""
        if not self._frames:
            return None
        scores = Scores(self._label_set, self._confusion, self._frames)
        return Agreement(self._frames, scores.pixel_accuracy, scores.miou())


class ConsistencyMeter:
    """How steady masks are in time: each against the one before, moved along with the image.

    The measure of temporal consistency of Liu et al., Efficient Semantic Video Segmentation with Per-frame
    Inference (ECCV 2020), with OpenCV's DIS optical flow between the thermal images.

    Args:
        label_set: the classes.
        every: measures one pair of so many.
    """

    def __init__(self, label_set: LabelSet, every: int) -> None:
        self._label_set = label_set
        self._every = every
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._before: tuple[Route, NDArray[Any], Labels] | None = None
        self._count = 0
        self._confusions: dict[Route, NDArray[np.int64]] = {}
        self._pairs: dict[Route, int] = {}

    def add(self, route: Route, image: NDArray[Any], mask: Labels) -> None:
        """Take the next frame: its anchor image, (H, W) or (H, W, 3), and its mask, (H, W) uint8 ids."""
        before, self._before = self._before, None
        if before and before[0] is route and before[2].shape == mask.shape:
            self._compare(route, before[1], before[2], image, mask)
        # Of two neighbours out of so many; the images between are not kept.
        if self._count % self._every == 0:
            self._before = (route, image, mask)
        self._count += 1

    def result(self) -> dict[Route, Consistency]:
        """By route."""
        return {
            route: Consistency(self._pairs[route], Scores(self._label_set, confusion, 1).miou())
            for route, confusion in self._confusions.items()
        }

    def _compare(
        self, route: Route, earlier: NDArray[Any], moved: Labels, image: NDArray[Any], mask: Labels
    ) -> None:
        flow = self._flow.calc(_grey(image), _grey(earlier), None)  # type: ignore[call-overload]
        height, width = mask.shape
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        warped = cv2.remap(
            moved,
            columns + flow[..., 0],
            rows + flow[..., 1],
            cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_REPLICATE,
        )
        counted = confusion_matrix(mask, warped.astype(np.uint8, copy=False), len(self._label_set))
        self._confusions[route] = self._confusions.get(route, 0) + counted
        self._pairs[route] = self._pairs.get(route, 0) + 1


def _keep(store: OrderedDict[int, T], key: int, value: T) -> None:
    """Remember it, and forget the oldest: what has not met its counterpart by then never will."""
    store[key] = value
    if len(store) > _KEPT:
        store.popitem(last=False)


def _grey(image: NDArray[Any]) -> NDArray[np.uint8]:
    return grey8(image) if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]
