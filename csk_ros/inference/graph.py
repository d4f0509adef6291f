"""One route from image levels to logits as one torch module, which engines run or compile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from csk_ros.network.base import CHANNELS

if TYPE_CHECKING:
    from csk_ros.modality import Modality, Route
    from csk_ros.network import Checkpoint, Normalisation, SegmentationNetwork

LEVELS = 255
"""Images come to the graph as levels of 0 to 255, as most cameras give them."""

MULTIPLE = 32
"""The encoder's greatest stride: of such heights and widths every map in it has even sides."""


class RouteGraph(nn.Module):
    """Normalisation and network of one route.

    Args:
        checkpoint: whose normalisation.
        network: what to run in place of the checkpoint's own, folded say.
        route: its inputs are the images of ``route.modalities``, in this order.
    """

    def __init__(self, checkpoint: Checkpoint, network: SegmentationNetwork, route: Route) -> None:
        super().__init__()
        self.network = network
        self.route = route
        for modality in route.modalities:
            mean, std = _in_levels(checkpoint.normalisation[modality])
            self.register_buffer(f"{modality.value}_mean", mean, persistent=False)
            self.register_buffer(f"{modality.value}_std", std, persistent=False)

    def forward(self, *images: Tensor) -> Tensor:
        """Logits of the images.

        Args:
            images: levels 0 to 255 of one H and W, uint8 or float32: EO (1, H, W, 3), IR (1, H, W, 1).

        Returns:
            float32 (1, C, h, w), of the resolution that the network makes them in.
        """
        inputs = {
            modality.value: self._normalised(modality, image)
            for modality, image in zip(self.route.modalities, images, strict=True)
        }
        return self.network.forward_coarse(**inputs).float()

    def examples(self, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Black images of a height and width, to trace with."""
        return tuple(torch.zeros(1, *size, CHANNELS[modality]) for modality in self.route.modalities)

    def _normalised(self, modality: Modality, image: Tensor) -> Tensor:
        mean, std = self.get_buffer(f"{modality.value}_mean"), self.get_buffer(f"{modality.value}_std")
        return ((image.permute(0, 3, 1, 2).float() - mean) / std).to(next(self.network.parameters()).dtype)


def _in_levels(normalisation: Normalisation) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of levels, (1, C, 1, 1)."""
    mean, std = (LEVELS * torch.tensor(part) for part in (normalisation.mean, normalisation.std))
    return mean[None, :, None, None], std[None, :, None, None]
