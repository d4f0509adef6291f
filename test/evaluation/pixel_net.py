"""A network of one convolution per modality: real enough for the Segmenter, and quick."""

from __future__ import annotations

import torch
from torch import nn

from csk_ros.modality import Modality, Route
from csk_ros.network.base import CHANNELS, NetworkOutput, SegmentationNetwork


class PixelNet(SegmentationNetwork):
    """The routes that its modalities make; fused logits are no mere sum of the others."""

    name = "pixel"

    def __init__(self, num_classes, *, modalities=("eo", "ir"), fused_only=False):
        super().__init__(num_classes, {"modalities": list(modalities), "fused_only": fused_only})
        self._fused_only = fused_only
        self.convs = nn.ModuleDict(
            {m: nn.Conv2d(CHANNELS[Modality(m)], num_classes, 3, padding=1) for m in modalities}
        )
        self.fusion = nn.Conv2d(num_classes, num_classes, 1)
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    @property
    def routes(self):
        have = {Modality(m) for m in self.convs}
        made = frozenset(route for route in Route if set(route.modalities) <= have)
        return made & {Route.FUSED} if self._fused_only else made

    def _forward_route(self, images):
        logits = sum(self.convs[m.value](x) for m, x in images.items())
        return self.fusion(torch.relu(logits)) if len(images) == 2 else logits

    def _forward_heads(self, images):
        return NetworkOutput({})
