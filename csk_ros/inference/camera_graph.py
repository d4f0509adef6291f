"""One route from camera bytes to label ids as one torch module, which is what ``csk export`` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from csk_ros.inference.graph import LEVELS
from csk_ros.inference.preprocess import PERCENTILES, resize_image
from csk_ros.modality import Modality
from csk_ros.network.base import CHANNELS

if TYPE_CHECKING:
    from csk_ros.inference.graph import RouteGraph
    from csk_ros.inference.postprocess import AnswerGraph
    from csk_ros.modality import Route


class LevelsGraph(nn.Module):
    """What the Segmenter does to a frame before the network: scale and resize.

    Args:
        route: its modalities' images come in this order.
        size: height and width that the network works at; None for the anchor's, which is IR if it is given.
        ir_bits: 8 or 16, of a thermal pixel.
    """

    def __init__(self, route: Route, size: tuple[int, int] | None, *, ir_bits: int) -> None:
        super().__init__()
        self._route = route
        self._size = size
        self._ir_bits = ir_bits

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Levels of the images.

        Args:
            images: as cameras give them: EO uint8 (H, W, 3), IR uint8 or uint16 (H, W).

        Returns:
            For each float32 (1, h, w, C), 0 to 255.
        """
        height, width = images[-1].shape[:2]  # IR comes last
        size = self._size or (height, width)
        return tuple(
            self._levels(modality, image, size)
            for modality, image in zip(self._route.modalities, images, strict=True)
        )

    def examples(self, sizes: dict[Modality, tuple[int, int]]) -> tuple[Tensor, ...]:
        """Black camera images of the given heights and widths, to export with."""
        return tuple(
            torch.zeros(*sizes[modality], CHANNELS[modality], dtype=torch.uint8)
            if modality is Modality.EO
            else torch.zeros(*sizes[modality], dtype=torch.uint16 if self._ir_bits == 16 else torch.uint8)
            for modality in self._route.modalities
        )

    def _levels(self, modality: Modality, image: Tensor, size: tuple[int, int]) -> Tensor:
        pixels = image if image.dim() == 3 else image[..., None]
        planes = pixels.permute(2, 0, 1)[None].float()
        if modality is Modality.IR and self._ir_bits == 16:
            planes = _stretched(planes)
        return resize_image(planes, size).permute(0, 2, 3, 1)


class CameraGraph(nn.Module):
    """Everything that the Segmenter does to a frame: scale, resize, normalise, segment, resize back.

    Args:
        levels: what is done to the images of the route.
        graph: the route.
        answer: gives the answer of the anchor's size.
    """

    def __init__(self, levels: LevelsGraph, graph: RouteGraph, answer: AnswerGraph) -> None:
        super().__init__()
        self.levels = levels
        self.route_graph = graph
        self.answer = answer

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Segment.

        Args:
            images: as :class:`LevelsGraph` takes them.

        Returns:
            uint8 ids (H, W) of the anchor's size, and if wanted the confidence likewise.
        """
        logits = self.route_graph(*self.levels(*images))
        height, width = images[-1].shape[:2]
        return tuple(self.answer(logits, (height, width)))


def _stretched(counts: Tensor) -> Tensor:
    """16-bit counts to levels by the percentiles of :func:`csk_ros.inference.preprocess.count_percentiles`.

    By selection: an exported graph has no histogram.
    """
    pixels = counts.flatten()
    low_rank, high_rank = (-(-round(share * 100) * pixels.numel() // 100) for share in PERCENTILES)
    low = torch.topk(pixels, low_rank, largest=False).values.amax(dim=0)
    high = torch.topk(pixels, pixels.numel() - high_rank + 1).values.amin(dim=0)
    return ((counts - low) / (high - low).clamp(min=1)).clamp(0, 1) * LEVELS
