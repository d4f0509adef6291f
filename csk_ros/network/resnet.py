"""ResNet-18/34/50/101 (He et al., CVPR 2016; the stride sits in the 3x3, as in torchvision)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

from csk_ros.network.encoder import STAGES, Encoder, stage_dilations
from csk_ros.network.modality_layers import ModalityBatchNorm2d, ModalityModule, ModalitySequential

if TYPE_CHECKING:
    from csk_ros.modality import Modality


def _conv3x3(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


def _downsample(
    inputs: int, outputs: int, stride: int, modalities: tuple[Modality, ...]
) -> ModalitySequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return ModalitySequential(
        nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False),
        ModalityBatchNorm2d(outputs, modalities),
    )


class BasicBlock(ModalityModule):
    """Two 3x3 convolutions, each with its own dilation, and a shortcut."""

    expansion = 1

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        dilations: tuple[int, int],
        modalities: tuple[Modality, ...],
    ) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, width, stride, dilations[0])
        self.bn1 = ModalityBatchNorm2d(width, modalities)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(width, width, 1, dilations[1])
        self.bn2 = ModalityBatchNorm2d(width, modalities)
        self.downsample = _downsample(inputs, width, stride, modalities)

    def forward(self, x: Tensor, modality: Modality) -> Tensor:
        """(N, inputs, H, W) to (N, width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x, modality)
        y = self.relu(self.bn1(self.conv1(x), modality))
        y = self.bn2(self.conv2(y), modality)
        return self.relu(y + shortcut)


class Bottleneck(ModalityModule):
    """1x1, 3x3, 1x1 convolutions and a shortcut; only the first dilation is used."""

    expansion = 4

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        dilations: tuple[int, int],
        modalities: tuple[Modality, ...],
    ) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = ModalityBatchNorm2d(width, modalities)
        self.conv2 = _conv3x3(width, width, stride, dilations[0])
        self.bn2 = ModalityBatchNorm2d(width, modalities)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = ModalityBatchNorm2d(outputs, modalities)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(inputs, outputs, stride, modalities)

    def forward(self, x: Tensor, modality: Modality) -> Tensor:
        """(N, inputs, H, W) to (N, 4 * width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x, modality)
        y = self.relu(self.bn1(self.conv1(x), modality))
        y = self.relu(self.bn2(self.conv2(y), modality))
        y = self.bn3(self.conv3(y), modality)
        return self.relu(y + shortcut)


class _Layout(NamedTuple):
    block: type[BasicBlock | Bottleneck]
    depths: tuple[int, int, int, int]


RESNETS = {
    "resnet18": _Layout(BasicBlock, (2, 2, 2, 2)),
    "resnet34": _Layout(BasicBlock, (3, 4, 6, 3)),
    "resnet50": _Layout(Bottleneck, (3, 4, 6, 3)),
    "resnet101": _Layout(Bottleneck, (3, 4, 23, 3)),
}
_WIDTHS = (64, 128, 256, 512)


class ResNet(Encoder):
    """A ResNet encoder.

    In a dilated stage the convolution that lost its stride keeps the dilation before it; all others are
    dilated, so that the strided network's values stay in the dense map.

    Args:
        name: a key of :data:`RESNETS`.
        modalities: which modalities get batch norms.
        in_channels: channels of the image.
        output_stride: 8, 16 or 32.
    """

    classifier_prefixes = ("fc.",)

    def __init__(
        self, name: str, modalities: tuple[Modality, ...], in_channels: int = 3, output_stride: int = 16
    ) -> None:
        super().__init__()
        block, depths = RESNETS[name]
        self.output_stride = output_stride
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = ModalityBatchNorm2d(64, modalities)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        dilations = stage_dilations(output_stride)
        inputs, before = 64, 1
        for index, (stage, width, depth) in enumerate(zip(STAGES, _WIDTHS, depths, strict=True)):
            stride = 1 if index == 0 or dilations[index] != before else 2
            layers = []
            for number in range(depth):
                first = number == 0
                pair = (before if first else dilations[index], dilations[index])
                layers.append(block(inputs, width, stride if first else 1, pair, modalities))
                inputs = width * block.expansion
            before = dilations[index]
            self.add_module(stage, ModalitySequential(*layers))
        e = block.expansion
        self.channels = (64 * e, 128 * e, 256 * e, 512 * e)
        for module in self.modules():
            # on the meta device, where a checkpoint's network is built, this alone imports torch._dynamo: 2 s
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def stem_conv(self) -> nn.Conv2d:
        """The 7x7 convolution."""
        return self.conv1

    def stem(self, x: Tensor, modality: Modality) -> Tensor:
        """(N, in_channels, H, W) to (N, 64, H / 4, W / 4)."""
        return self.maxpool(self.relu(self.bn1(self.conv1(x), modality)))

    def stage(self, index: int, x: Tensor, modality: Modality) -> Tensor:
        """Run one of the four layers."""
        return self.get_submodule(STAGES[index])(x, modality)

    def stage_modules(self, index: int) -> list[nn.Module]:
        """The residual blocks of a layer."""
        return list(self.get_submodule(STAGES[index]).children())
