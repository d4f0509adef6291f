"""Scores of predicted label maps against labels, from confusion matrices, one per route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torchmetrics.classification import MulticlassConfusionMatrix

from csk_ros.labels import UNLABELLED, LabelSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csk_ros.modality import Route

Absent = Literal["skip", "zero"]


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
        hits = np.diag(self.confusion)
        union = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - hits
        iou = np.full(len(hits), np.nan)
        np.divide(hits, union, out=iou, where=union > 0)
        return iou

    @property
    def pixel_accuracy(self) -> float:
        """Share of labelled pixels that were predicted right, 0 to 1; NaN without labelled pixels."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which classes the labels hold, shape (C,)."""
        return np.asarray(self.confusion.sum(axis=1) > 0)

    def miou_present(self, *, background: bool = True) -> float:
        """Mean IoU over the classes that the labels hold, 0 to 1; NaN if they hold none.

        Args:
            background: whether class 0 takes part.
        """
        chosen = self.present.copy()
        chosen[0] &= background
        return float(self.iou[chosen].mean()) if chosen.any() else float("nan")

    def miou(self, *, absent: Absent = "skip", background: bool = True) -> float:
        """Mean IoU over the classes, 0 to 1.

        Args:
            absent: what a class counts that neither labels nor masks hold: "skip" leaves it out of the
                mean, "zero" counts it as 0 (the convention of the MFNet evaluation script).
            background: whether class 0 takes part.

        Returns:
            The mean; NaN if no class is left.
        """
        iou = self.iou if background else self.iou[1:]
        values = np.nan_to_num(iou) if absent == "zero" else iou[~np.isnan(iou)]
        return float(values.mean()) if values.size else float("nan")


class RouteScores:
    """Accumulates confusion matrices by route.

    Args:
        label_set: the classes of masks and labels.
    """

    def __init__(self, label_set: LabelSet) -> None:
        self._label_set = label_set
        self._matrices: dict[Route, MulticlassConfusionMatrix] = {}
        self._frames: dict[Route, int] = {}

    def update(self, route: Route, predicted: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Count one mask.

        Args:
            route: the route that made the mask.
            predicted: class ids, uint8, shape (H, W).
            labels: class ids, uint8, same shape, 255 where unlabelled.

        Raises:
            ValueError: shapes that differ, or ids that are no class.
        """
        if predicted.shape != labels.shape:
            raise ValueError(f"a mask of {predicted.shape} cannot be scored on labels of {labels.shape}")
        self._refuse_foreign("mask", predicted)
        self._refuse_foreign("label map", labels[labels != UNLABELLED])
        if route not in self._matrices:
            # Ids are checked above, in a tenth of the time of torchmetrics' own check. Counts are this
            # process's own: where several train, one of them may score alone.
            self._matrices[route] = MulticlassConfusionMatrix(
                len(self._label_set), ignore_index=UNLABELLED, validate_args=False, sync_on_compute=False
            )
            self._frames[route] = 0
        self._matrices[route].update(_tensor(predicted), _tensor(labels))
        self._frames[route] += 1

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes that have been counted."""
        return tuple(self._matrices)

    def scores(self, route: Route) -> Scores:
        """The scores of one route so far.

        Raises:
            KeyError: if nothing was counted for it.
        """
        confusion = self._matrices[route].compute().numpy().astype(np.int64)
        return Scores(self._label_set, confusion, self._frames[route])

    def _refuse_foreign(self, what: str, ids: NDArray[np.uint8]) -> None:
        if ids.size and ids.max() >= len(self._label_set):
            raise ValueError(
                f"the {what} holds class {ids.max()}, but there are {len(self._label_set)} classes: "
                "do masks and labels use the same label set?"
            )


def _tensor(ids: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(ids.astype(np.int64).reshape(-1))
