"""Scores of predicted label maps against labels, from confusion matrices, one per route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from csk_ros.labels import UNLABELLED, LabelSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csk_ros.modality import Route

Absent = Literal["skip", "zero"]
Measure = Literal["iou", "accuracy", "f1"]
Over = Literal["all", "present", "seen"]


@dataclass(frozen=True)
class Scores:
    """Scores of one route.

    Attributes:
        label_set: the classes.
        confusion: pixels by true class (row) and predicted class (column), int64, shape (C, C);
            unlabelled pixels are in none of them.
        frames: label maps that went in.
    """

    label_set: LabelSet
    confusion: NDArray[np.int64]
    frames: int

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union by class, 0 to 1; NaN where neither labels nor masks hold it."""
        return _ratio(self._hits, self._true + self._predicted - self._hits)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of each class's pixels that were found (recall), 0 to 1; NaN where labels hold none."""
        return _ratio(self._hits, self._true)

    @property
    def f1(self) -> NDArray[np.float64]:
        """F1 (Dice) by class, 0 to 1; NaN where neither labels nor masks hold it."""
        return _ratio(2 * self._hits, self._true + self._predicted)

    @property
    def pixel_accuracy(self) -> float:
        """Share of labelled pixels that were predicted right, 0 to 1; NaN without labelled pixels."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which classes the labels hold, shape (C,)."""
        return self._true > 0

    def mean(self, measure: Measure, *, over: Over = "present", background: bool = True) -> float:
        """Mean of a measure over classes, 0 to 1; NaN if there is none.

        Args:
            measure: of each class.
            over: "present": the classes that the labels hold; "seen": those that labels or masks hold;
                "all": every class, one that is absent counting 0 (the convention of the MFNet script).
            background: whether class 0 takes part.
        """
        values: NDArray[np.float64] = getattr(self, measure)
        chosen = {"all": np.ones(len(values), bool), "present": self.present, "seen": ~np.isnan(values)}[over]
        chosen = chosen & (background | (np.arange(len(values)) > 0))
        return float(np.nan_to_num(values)[chosen].mean()) if chosen.any() else float("nan")

    def miou_present(self, *, background: bool = True) -> float:
        """Mean IoU over the classes that the labels hold, 0 to 1; NaN if they hold none.

        Args:
            background: whether class 0 takes part.
        """
        return self.mean("iou", over="present", background=background)

    def miou(self, *, absent: Absent = "skip", background: bool = True) -> float:
        """Mean IoU over the classes, 0 to 1.

        Args:
            absent: what a class counts that neither labels nor masks hold: "skip" leaves it out of the
                mean, "zero" counts it as 0 (the convention of the MFNet evaluation script).
            background: whether class 0 takes part.

        Returns:
            The mean; NaN if no class is left.
        """
        return self.mean("iou", over="all" if absent == "zero" else "seen", background=background)

    @property
    def _hits(self) -> NDArray[np.int64]:
        return np.diag(self.confusion)

    @property
    def _true(self) -> NDArray[np.int64]:
        return np.asarray(self.confusion.sum(axis=1), np.int64)

    @property
    def _predicted(self) -> NDArray[np.int64]:
        return np.asarray(self.confusion.sum(axis=0), np.int64)


class RouteScores:
    """Accumulates confusion matrices by route.

    Args:
        label_set: the classes of masks and labels.
    """

    def __init__(self, label_set: LabelSet) -> None:
        self._label_set = label_set
        self._confusions: dict[Route, NDArray[np.int64]] = {}
        self._frames: dict[Route, int] = {}

    def update(self, route: Route, predicted: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Scores:
        """Count one mask; returns the scores of this one alone.

        Args:
            route: the route that made the mask.
            predicted: class ids, uint8, shape (H, W).
            labels: class ids, uint8, same shape, 255 where unlabelled.

        Raises:
            ValueError: shapes that differ, or ids that are no class.
        """
        counted = confusion_matrix(predicted, labels, len(self._label_set))
        self._confusions[route] = self._confusions.get(route, 0) + counted
        self._frames[route] = self._frames.get(route, 0) + 1
        return Scores(self._label_set, counted, 1)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes that have been counted."""
        return tuple(self._confusions)

    def scores(self, route: Route) -> Scores:
        """The scores of one route so far.

        Raises:
            KeyError: if nothing was counted for it.
        """
        return Scores(self._label_set, self._confusions[route], self._frames[route])


def confusion_matrix(
    predicted: NDArray[np.uint8], labels: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """Pixels of one mask by true class (row) and predicted class (column), shape (C, C).

    Args:
        predicted: class ids, uint8, shape (H, W).
        labels: class ids, uint8, same shape, 255 where unlabelled.
        classes: how many there are.

    Raises:
        ValueError: shapes that differ, or ids that are no class.
    """
    if predicted.shape != labels.shape:
        raise ValueError(f"a mask of {predicted.shape} cannot be scored on labels of {labels.shape}")
    _refuse_foreign("mask", predicted, classes)
    _refuse_foreign("label map", labels[labels != UNLABELLED], classes)
    known = labels != UNLABELLED
    pairs = labels[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    ratio = np.full(len(part), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _refuse_foreign(what: str, ids: NDArray[np.uint8], classes: int) -> None:
    if ids.size and ids.max() >= classes:
        raise ValueError(
            f"the {what} holds class {ids.max()}, but there are {classes} classes: "
            "do masks and labels use the same label set?"
        )
