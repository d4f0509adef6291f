"""The backbones by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csk_ros.network.mobilenet import HIDDEN, MobileNetV2
from csk_ros.network.resnet import RESNETS, ResNet

if TYPE_CHECKING:
    from csk_ros.modality import Modality
    from csk_ros.network.encoder import Encoder

BACKBONES = (*RESNETS, *HIDDEN)


def build_encoder(
    backbone: str,
    modalities: tuple[Modality, ...],
    *,
    in_channels: int = 3,
    output_stride: int = 16,
    padding: str | None = None,
) -> Encoder:
    """Build an encoder with random weights.

    Args:
        backbone: one of :data:`BACKBONES`.
        modalities: which modalities get batch norms.
        in_channels: channels of the image.
        output_stride: 8, 16 or 32.
        padding: ``same`` or ``torch``; ``None`` is ``same`` for MobileNetV2 and ``torch`` for ResNets,
            which know no other.

    Raises:
        ValueError: for an unknown name or value.
    """
    if backbone in HIDDEN:
        return MobileNetV2(modalities, in_channels, output_stride, padding or "same", backbone)
    if backbone not in RESNETS:
        raise ValueError(f"unknown backbone {backbone!r}: use one of {', '.join(BACKBONES)}")
    if padding not in (None, "torch"):
        raise ValueError(f"{backbone} knows padding 'torch' only, not {padding!r}")
    return ResNet(backbone, modalities, in_channels, output_stride)
