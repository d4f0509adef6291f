"""Layers that know which modality passes through them: shared convolutions, private batch norms.

A layer that treats the modalities differently is a :class:`ModalityModule` and takes the modality as
its second argument; nothing is selected by global or hidden state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csk_ros.modality import Modality


class ModalityModule(nn.Module):
    """A module whose ``forward`` takes ``(x, modality)``."""


class PerModality(ModalityModule, nn.ModuleDict):
    """One private module per modality; its state keys carry ``eo`` or ``ir`` at this point."""

    def forward(self, x: Tensor, modality: Modality) -> Tensor:
        """Apply the module of ``modality`` to ``x``."""
        return self[modality.value](x)


class ModalityBatchNorm2d(PerModality):
    """A private ``BatchNorm2d``, affine parameters and running statistics, for every modality.

    ``y_m = gamma_m * (x_m - mu_m) / sigma_m + beta_m`` (CSK-Net abstract, arXiv 2312.02240).

    Args:
        channels: number of channels C of the (N, C, H, W) input.
        modalities: which modalities to keep a batch norm for.
    """

    foldable = True
    """Whether inference may fold it into the convolution before it."""

    def __init__(self, channels: int, modalities: Iterable[Modality]) -> None:
        super().__init__({modality.value: nn.BatchNorm2d(channels) for modality in modalities})


class ModalitySequential(ModalityModule, nn.Sequential):
    """``nn.Sequential`` that hands the modality to those of its layers that take it."""

    def forward(self, x: Tensor, modality: Modality) -> Tensor:  # type: ignore[override]  # one argument more
        """Apply the layers in order to ``x``."""
        for layer in self:
            x = layer(x, modality) if isinstance(layer, ModalityModule) else layer(x)
        return x
