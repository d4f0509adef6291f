"""The reference of all speed: the network as it is, in eager float32 torch, with nothing done for speed."""

from __future__ import annotations

import copy
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from csk_ros.inference import Segmentation
from csk_ros.modality import Modality, Route

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from csk_ros.network import Checkpoint


class PlainSegmenter:
    """Answers as :class:`~csk_ros.inference.Segmenter` does, the usual way.

    Batch norms as they are, NCHW, all logits in one piece; no resizing, 8-bit images only.

    Args:
        checkpoint: the network and how to feed it; it is not changed.
        device: where to run.
        confidence: whether to make the confidence map.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device, *, confidence: bool = False) -> None:
        self._network: Any = copy.deepcopy(checkpoint.network).eval().to(device)
        self._normalisation = checkpoint.normalisation
        self._device, self._confidence = device, confidence

    @torch.no_grad()
    def segment(
        self, *, eo: NDArray[np.uint8] | None = None, ir: NDArray[np.uint8] | None = None
    ) -> Segmentation:
        """Segment a pair of images of one size, or one alone.

        Args:
            eo: uint8 (H, W, 3) RGB.
            ir: uint8 (H, W).
        """
        moments = [time.perf_counter()]
        given = {m: image for m, image in ((Modality.EO, eo), (Modality.IR, ir)) if image is not None}
        inputs = {m.value: self._input(m, image) for m, image in given.items()}
        moments.append(self._now())
        logits = self._network(**inputs)
        moments.append(self._now())
        labels = logits.argmax(dim=1)[0].to(torch.uint8).cpu().numpy()
        confidence = self._sureness(logits) if self._confidence else None
        moments.append(self._now())
        laps = [(end - start) * 1e3 for start, end in pairwise(moments)]
        timings = dict(zip(("prepare", "network", "answer"), laps, strict=True)) | {"total": sum(laps)}
        route = Route.of(eo=Modality.EO in given, ir=Modality.IR in given)
        return Segmentation(labels, confidence, route, timings)

    def _input(self, modality: Modality, image: NDArray[np.uint8]) -> torch.Tensor:
        scale = self._normalisation[modality]
        mean, std = (
            torch.tensor(values, device=self._device)[None, :, None, None]
            for values in (scale.mean, scale.std)
        )
        pixels = torch.from_numpy(image).to(self._device).reshape(*image.shape[:2], -1)
        return (pixels.permute(2, 0, 1)[None].contiguous().float() / 255 - mean) / std

    def _sureness(self, logits: torch.Tensor) -> NDArray[np.uint8]:
        best = logits.softmax(dim=1).amax(dim=1)[0]
        return (255 * best).round().to(torch.uint8).cpu().numpy()

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
