"""MobileNetV2 (Sandler et al., CVPR 2018), of full width or a part of it, with torchvision's key names."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from torch import Tensor, nn

from csk_ros.network.encoder import Encoder, stage_dilations
from csk_ros.network.modality_layers import ModalityBatchNorm2d, ModalityModule, ModalitySequential
from csk_ros.network.same_padding import SameConv2d

if TYPE_CHECKING:
    from csk_ros.modality import Modality

PADDINGS = ("same", "torch")

# channels, repeats, stride: Table 2 of the paper
_GROUPS = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
HIDDEN = {
    "mobilenet_v2": (32, 96, 144, 144, *[192] * 3, *[384] * 4, *[576] * 3, *[960] * 3),
    # a third where pixels are many, two fifths deep inside; multiples of the 16 lanes of a vector
    "mobilenet_v2_slim": (16, 32, 48, 48, *[80] * 3, *[160] * 4, *[224] * 3, *[384] * 3),
    # without five repetitions: a thin layer costs two cores nearly as much as a wide one
    "mobilenet_v2_shallow": (16, 32, 48, 48, 80, 0, 80, 160, 0, 0, 160, *[224] * 3, 0, 0, 384),
}
"""By backbone, the hidden channels of each of the 17 blocks, the first block's the stem's; 0 for no block."""
_STAGE_OF_GROUP = (None, 0, 1, 2, 2, 3, 3)
_STAGE_BLOCKS = ((2, 4), (4, 7), (7, 14), (14, 18))  # [first, last) in `features`


def _conv(
    inputs: int, outputs: int, kernel: int, *, stride: int, dilation: int, groups: int, padding: str
) -> nn.Conv2d:
    # SAME differs from symmetric padding only where the stride is 2
    kind = SameConv2d if padding == "same" and stride > 1 else nn.Conv2d
    return kind(
        inputs,
        outputs,
        kernel,
        stride=stride,
        padding=(kernel - 1) // 2 * dilation,
        dilation=dilation,
        groups=groups,
        bias=False,
    )


def _conv_norm_act(
    inputs: int,
    outputs: int,
    kernel: int,
    modalities: tuple[Modality, ...],
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    padding: str,
) -> ModalitySequential:
    return ModalitySequential(
        _conv(inputs, outputs, kernel, stride=stride, dilation=dilation, groups=groups, padding=padding),
        ModalityBatchNorm2d(outputs, modalities),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(ModalityModule):
    """Expand 1x1 unless ``inputs`` are ``hidden``, depthwise 3x3, project 1x1; a shortcut where it fits."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        modalities: tuple[Modality, ...],
        *,
        hidden: int,
        stride: int,
        dilation: int,
        padding: str,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if hidden != inputs:
            layers.append(_conv_norm_act(inputs, hidden, 1, modalities, padding=padding))
        layers += [
            _conv_norm_act(
                hidden,
                hidden,
                3,
                modalities,
                stride=stride,
                dilation=dilation,
                groups=hidden,
                padding=padding,
            ),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            ModalityBatchNorm2d(outputs, modalities),
        ]
        self.conv = ModalitySequential(*layers)
        # the first block has none in the paper, whatever its width
        self.shortcut = stride == 1 and inputs == outputs != hidden

    def forward(self, x: Tensor, modality: Modality) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = self.conv(x, modality)
        return x + y if self.shortcut else y


class MobileNetV2(Encoder):
    """A MobileNetV2 encoder without the last 1x1 convolution (320 to 1280), which serves the classifier.

    Args:
        modalities: which modalities get batch norms.
        in_channels: channels of the image.
        output_stride: 8, 16 or 32.
        padding: ``same`` pads as TensorFlow does, ``torch`` by 1 on every side; public weights give
            their original function only with the padding that they were trained with.
        name: a key of :data:`HIDDEN`.

    Raises:
        ValueError: for another ``padding`` or ``output_stride``.
    """

    classifier_prefixes = ("classifier.", "features.18.")
    channels = (24, 32, 96, 320)

    def __init__(
        self,
        modalities: tuple[Modality, ...],
        in_channels: int = 3,
        output_stride: int = 16,
        padding: str = "same",
        name: str = "mobilenet_v2",
    ) -> None:
        super().__init__()
        if padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(PADDINGS)}, not {padding!r}")
        self.output_stride = output_stride
        self.has_public_weights = name == "mobilenet_v2"
        dilations = stage_dilations(output_stride)
        hidden = iter(HIDDEN[name])
        inputs, before = HIDDEN[name][0], 1
        blocks: list[nn.Module] = [
            _conv_norm_act(in_channels, inputs, 3, modalities, stride=2, padding=padding)
        ]
        for (outputs, repeats, stride), stage in zip(_GROUPS, _STAGE_OF_GROUP, strict=True):
            dilation = before if stage is None else dilations[stage]
            for number in range(repeats):
                first = number == 0
                if not (width := next(hidden)):
                    blocks.append(nn.Identity())  # the others keep their place, and so their names
                    continue
                block = InvertedResidual(
                    inputs,
                    outputs,
                    modalities,
                    hidden=width,
                    stride=stride if first and dilation == before else 1,
                    dilation=before if first else dilation,
                    padding=padding,
                )
                blocks.append(block)
                inputs = outputs
            before = dilation
        self.features = ModalitySequential(*blocks)
        for module in self.modules():
            # on the meta device, where a checkpoint's network is built, this alone imports torch._dynamo: 2 s
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    @property
    def stem_conv(self) -> nn.Conv2d:
        """The first 3x3 convolution."""
        return next(module for module in self.features.modules() if isinstance(module, nn.Conv2d))

    def stem(self, x: Tensor, modality: Modality) -> Tensor:
        """(N, in_channels, H, W) to (N, 16, H / 2, W / 2)."""
        return self.features[1](self.features[0](x, modality), modality)

    def stage(self, index: int, x: Tensor, modality: Modality) -> Tensor:
        """Run the blocks of one stage."""
        for block in self.stage_modules(index):
            x = block(x, modality)
        return x

    def stage_modules(self, index: int) -> list[nn.Module]:
        """The inverted residual blocks of a stage."""
        first, last = _STAGE_BLOCKS[index]
        places = (self.features[number] for number in range(first, last))
        return [block for block in places if isinstance(block, InvertedResidual)]


def is_part_of(slim: str, wide: str) -> bool:
    """Whether both are of :data:`HIDDEN`, differ, and no block of one has more channels than the other's."""
    own, other = HIDDEN.get(slim, ()), HIDDEN.get(wide, ())
    return bool(own and other) and own != other and all(map(operator.le, own, other))
