"""Decoders: from the four stages of an encoder to one map of features per modality."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from csk_ros.network.encoder import Encoder


class Decoded(NamedTuple):
    """What a decoder makes: ``aspp``, the context features at the encoder's last stride, and ``out``."""

    aspp: Tensor
    out: Tensor


def resize(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Bilinear resize of (N, C, H, W) to ``size`` (height, width)."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def conv_norm_act(
    inputs: int, outputs: int, kernel: int, *, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution at stride 1, its batch norm, and a ReLU."""
    padding = (kernel - 1) // 2 * dilation
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Decoder(nn.Module, ABC):
    """A decoder of one modality.

    Attributes:
        width: channels of its output.
    """

    width: int

    @abstractmethod
    def forward(self, stages: list[Tensor]) -> Decoded:
        """Decode the outputs of the encoder's four stages."""


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (DeepLabV3, Chen et al. 2017).

    The pooled branch has a bias in place of a batch norm, so that it trains with one image per batch.
    """

    def __init__(self, inputs: int, width: int, rates: tuple[int, ...], dropout: float = 0.1) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_norm_act(inputs, width, 1)]
            + [conv_norm_act(inputs, width, 3, dilation=rate) for rate in rates]
        )
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, width, 1), nn.ReLU())
        self.project = conv_norm_act(width * (len(rates) + 2), width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, width, H, W)."""
        parts = [branch(x) for branch in self.branches]
        parts.append(self.pooled(x).expand(-1, -1, *x.shape[-2:]))
        return self.dropout(self.project(torch.cat(parts, dim=1)))


def _rates(output_stride: int) -> tuple[int, int, int]:
    scale = {8: 2.0, 16: 1.0, 32: 0.5}[output_stride]
    return int(6 * scale), int(12 * scale), int(18 * scale)


class DeepLabV3(Decoder):
    """ASPP and a 3x3 convolution (Chen et al. 2017); its output has the encoder's last stride."""

    def __init__(self, encoder: Encoder, width: int | None) -> None:
        super().__init__()
        self.width = width or 256
        self.aspp = ASPP(encoder.channels[3], self.width, _rates(encoder.output_stride))
        self.refine = conv_norm_act(self.width, self.width, 3)

    def forward(self, stages: list[Tensor]) -> Decoded:
        """Decode the last stage."""
        aspp = self.aspp(stages[3])
        return Decoded(aspp, self.refine(aspp))


class DeepLabV3Plus(Decoder):
    """ASPP joined with the stride-4 stage (Chen et al., ECCV 2018); its output has stride 4."""

    def __init__(self, encoder: Encoder, width: int | None) -> None:
        super().__init__()
        self.width = width or 256
        self.aspp = ASPP(encoder.channels[3], self.width, _rates(encoder.output_stride))
        self.low_level = conv_norm_act(encoder.channels[0], 48, 1)
        self.refine = nn.Sequential(
            conv_norm_act(self.width + 48, self.width, 3), conv_norm_act(self.width, self.width, 3)
        )

    def forward(self, stages: list[Tensor]) -> Decoded:
        """Decode the last and the first stage."""
        aspp = self.aspp(stages[3])
        low = self.low_level(stages[0])
        return Decoded(aspp, self.refine(torch.cat([resize(aspp, low.shape[-2:]), low], dim=1)))


class LightASPP(nn.Module):
    """Context at the cost of a few 1x1 convolutions, for machines without a GPU.

    A 1x1 reduction, depthwise dilated 3x3 branches summed onto it, and a gate from the pooled image as in
    LR-ASPP (MobileNetV3, Howard et al. 2019).
    """

    def __init__(self, inputs: int, width: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.reduce = conv_norm_act(inputs, width, 1)
        self.branches = nn.ModuleList(
            conv_norm_act(width, width, 3, dilation=rate, groups=width) for rate in rates
        )
        self.project = conv_norm_act(width, width, 1)
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, width, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, width, H, W)."""
        y = self.reduce(x)
        context = y
        for branch in self.branches:
            context = context + branch(y)
        return self.project(context) * self.pooled(x)


class LightDecoder(Decoder):
    """Light ASPP, then a top-down sum over the strides 16, 8 and 4 (feature pyramid, Lin et al. 2017).

    The stride-4 stage keeps what is thin or small; everything else is 1x1 or depthwise.
    Its output has stride 4.
    """

    def __init__(self, encoder: Encoder, width: int | None) -> None:
        super().__init__()
        self.width = width or 64
        self.aspp = LightASPP(encoder.channels[3], 2 * self.width, _rates(encoder.output_stride)[:2])
        self.top = nn.Conv2d(2 * self.width, self.width, 1)
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, self.width, 1, bias=False), nn.BatchNorm2d(self.width))
            for channels in encoder.channels[:3]
        )
        self.refine = nn.Sequential(
            conv_norm_act(self.width, self.width, 3, groups=self.width),
            conv_norm_act(self.width, self.width, 1),
        )

    def forward(self, stages: list[Tensor]) -> Decoded:
        """Decode all stages."""
        aspp = self.aspp(stages[3])
        x = self.top(aspp)
        for lateral, stage in zip(reversed(list(self.lateral)), reversed(stages[:3]), strict=True):
            x = lateral(stage) + resize(x, stage.shape[-2:])
        return Decoded(aspp, self.refine(functional.relu(x)))


DECODERS: dict[str, type[DeepLabV3 | DeepLabV3Plus | LightDecoder]] = {
    "deeplabv3": DeepLabV3,
    "deeplabv3plus": DeepLabV3Plus,
    "light": LightDecoder,
}


def default_stride(decoder: str) -> int:
    """The output stride that suits a decoder: the light one reads all stages, an ASPP the last."""
    return 32 if decoder == "light" else 16


def build_decoder(decoder: str, encoder: Encoder, width: int | None) -> Decoder:
    """Build a decoder for an encoder.

    Args:
        decoder: a key of :data:`DECODERS`.
        encoder: whose stages it reads.
        width: its output channels; ``None`` takes 256, or 64 for ``light``.

    Raises:
        ValueError: for an unknown name or a width below 1.
    """
    if decoder not in DECODERS:
        raise ValueError(f"unknown decoder {decoder!r}: use one of {', '.join(DECODERS)}")
    if width is not None and width < 1:
        raise ValueError(f"decoder_width must be positive, not {width}")
    return DECODERS[decoder](encoder, width)
