"""What an exported model answers, against torch on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from csk_ros.data.thermal import thermal_to_uint8
from csk_ros.evaluation.metrics import RouteScores
from csk_ros.inference import Segmenter
from csk_ros.modality import Modality, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from csk_ros.data.sample import Sample
    from csk_ros.inference import Segmentation
    from csk_ros.inference.exported import ExportShape
    from csk_ros.labels import LabelSet
    from csk_ros.network import Checkpoint


@dataclass(frozen=True)
class Check:
    """How an exported route compares with torch.

    Attributes:
        frames: images compared.
        agreement: share of all pixels that got the same class, 0 to 1.
        worst_agreement: of the frame with the smallest.
        confidence_error: mean difference of the confidence in the worst frame, of 255; None without it.
        miou, torch_miou: over the classes that the labels hold, 0 to 1; None without labels.
        median_ms, torch_ms: of a frame, taken in turn.
    """

    frames: int
    agreement: float
    worst_agreement: float
    confidence_error: float | None
    miou: float | None
    torch_miou: float | None
    median_ms: float
    torch_ms: float


class Checker:
    """Compares exported routes with torch on the same frames.

    Args:
        checkpoint: what was exported.
        shape: what the exported models take.
        samples: the frames; they are resized to the models' sizes.
        threads: of the CPU, for both.
    """

    def __init__(
        self, checkpoint: Checkpoint, shape: ExportShape, samples: Sequence[Sample], threads: int
    ) -> None:
        height, width = shape.working or (None, None)
        self._segmenter = Segmenter.from_network(
            checkpoint, engine="torch", device="cpu", height=height, width=width, threads=threads
        )
        self._shape, self._samples = shape, samples

    def check(self, route: Route, run: Callable[[Sequence[NDArray[Any]]], list[NDArray[np.uint8]]]) -> Check:
        """Compare one route.

        Args:
            route: what ``run`` runs.
            run: as :func:`csk_ros.inference.exported.run_exported` gives it.
        """
        tally = _Tally(self._segmenter.label_set, route)
        for sample in self._samples:
            images = camera_images(sample, route, self._shape)
            started = perf_counter()
            answer = run(images)
            took_ms = (perf_counter() - started) * 1e3
            given: dict[str, Any] = {
                m.value: image for m, image in zip(route.modalities, images, strict=True)
            }
            wanted = self._segmenter.segment(**given)
            tally.add(answer, took_ms, wanted, _labels(sample, answer[0].shape))
        return tally.check()


class _Tally:
    """Frames of one route, one after the other."""

    def __init__(self, label_set: LabelSet, route: Route) -> None:
        self._route = route
        self._scores, self._torch_scores = RouteScores(label_set), RouteScores(label_set)
        self._labelled = False
        self._agreements: list[float] = []
        self._errors: list[float] = []
        self._times: list[float] = []
        self._torch_times: list[float] = []

    def add(
        self,
        answer: Sequence[NDArray[np.uint8]],
        took_ms: float,
        wanted: Segmentation,
        labels: NDArray[np.uint8] | None,
    ) -> None:
        self._times.append(took_ms)
        self._torch_times.append(wanted.timings["total"])
        self._agreements.append(float(np.mean(answer[0] == wanted.labels)))
        if len(answer) > 1 and wanted.confidence is not None:
            self._errors.append(float(np.abs(answer[1].astype(int) - wanted.confidence).mean()))
        if labels is not None:
            self._labelled = True
            self._scores.update(self._route, answer[0], labels)
            self._torch_scores.update(self._route, wanted.labels, labels)

    def check(self) -> Check:
        miou, torch_miou = (
            scores.scores(self._route).miou_present() if self._labelled else None
            for scores in (self._scores, self._torch_scores)
        )
        return Check(
            frames=len(self._agreements),
            agreement=float(np.mean(self._agreements)),
            worst_agreement=min(self._agreements),
            confidence_error=max(self._errors, default=None),
            miou=miou,
            torch_miou=torch_miou,
            median_ms=median(self._times),
            torch_ms=median(self._torch_times),
        )


def camera_images(sample: Sample, route: Route, shape: ExportShape) -> list[NDArray[Any]]:
    """The images of a sample as an exported model takes them, in the route's order."""
    return [_fitted(getattr(sample, m.value), shape.sizes[m], m, shape.ir_bits) for m in route.modalities]


def _fitted(image: NDArray[Any], size: tuple[int, int], modality: Modality, ir_bits: int) -> NDArray[Any]:
    if image.shape[:2] != size:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    if modality is Modality.IR and ir_bits == 16 and image.dtype == np.uint8:
        image = image.astype(np.uint16) << 8
    if modality is Modality.IR and ir_bits == 8 and image.dtype == np.uint16:
        image = thermal_to_uint8(image)
    return np.ascontiguousarray(image)


def _labels(sample: Sample, size: Any) -> NDArray[np.uint8] | None:
    if sample.labels is None or (sample.labels == 255).all():
        return None
    labels: NDArray[np.uint8] = cv2.resize(sample.labels, size[::-1], interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]  # keeps the dtype
    return labels
