"""What an exported model answers, against torch on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from csk_ros.evaluation.metrics import RouteScores
from csk_ros.inference import Segmenter
from csk_ros.modality import Modality, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from csk_ros.data.sample import Sample
    from csk_ros.inference.exported import ExportShape
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
        scores = {name: RouteScores(self._segmenter.label_set) for name in ("exported", "torch")}
        agreements, errors, times, torch_times = [], [], [], []
        labelled = False
        for sample in self._samples:
            images = camera_images(sample, route, self._shape)
            started = perf_counter()
            answer = run(images)
            times.append((perf_counter() - started) * 1e3)
            wanted = self._segmenter.segment(
                **{m.value: image for m, image in zip(route.modalities, images, strict=True)}
            )
            torch_times.append(wanted.timings["total"])
            agreements.append(float(np.mean(answer[0] == wanted.labels)))
            if self._shape.confidence and wanted.confidence is not None:
                errors.append(float(np.abs(answer[1].astype(int) - wanted.confidence).mean()))
            labels = _labels(sample, answer[0].shape)
            if labels is not None:
                labelled = True
                scores["exported"].update(route, answer[0], labels)
                scores["torch"].update(route, wanted.labels, labels)
        miou = {n: s.scores(route).miou_present() if labelled else None for n, s in scores.items()}
        return Check(
            frames=len(agreements),
            agreement=float(np.mean(agreements)),
            worst_agreement=min(agreements),
            confidence_error=max(errors, default=None),
            miou=miou["exported"],
            torch_miou=miou["torch"],
            median_ms=median(times),
            torch_ms=median(torch_times),
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
        low, high = np.percentile(image, (1, 99))
        image = np.clip((image - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image)


def _labels(sample: Sample, size: Any) -> NDArray[np.uint8] | None:
    if sample.labels is None or (sample.labels == 255).all():
        return None
    labels: NDArray[np.uint8] = cv2.resize(sample.labels, size[::-1], interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]  # keeps the dtype
    return labels
