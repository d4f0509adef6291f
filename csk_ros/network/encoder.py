"""What every backbone has in common: a stem and four stages, run by one or two modalities at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor, nn

from csk_ros.network.modality_layers import ModalityBatchNorm2d

if TYPE_CHECKING:
    from csk_ros.modality import Modality

STAGES = ("layer1", "layer2", "layer3", "layer4")
"""The stages of an encoder; their strides are 4, 8, 16 and 32, the last ones less where dilated."""


class Encoder(nn.Module, ABC):
    """A backbone with torchvision's key names, shared convolutions and per-modality batch norms.

    Attributes:
        channels: output channels of each stage of :data:`STAGES`.
        output_stride: stride of the last stage: 8, 16 or 32.
        classifier_prefixes: keys of a public weight file that only serve the classifier.
        has_public_weights: whether such files are of its widths.
    """

    has_public_weights = True

    channels: tuple[int, int, int, int]
    output_stride: int
    classifier_prefixes: tuple[str, ...]

    @abstractmethod
    def stem(self, x: Tensor, modality: Modality) -> Tensor:
        """(N, 3, H, W) to the input of the first stage."""

    @abstractmethod
    def stage(self, index: int, x: Tensor, modality: Modality) -> Tensor:
        """Run stage ``STAGES[index]`` on the output of the one before."""

    @abstractmethod
    def stage_modules(self, index: int) -> list[nn.Module]:
        """The modules of a stage, in order."""

    @property
    @abstractmethod
    def stem_conv(self) -> nn.Conv2d:
        """The convolution that reads the image."""

    def last_norm(self, index: int) -> ModalityBatchNorm2d:
        """The last batch norm of a stage's main path: its gammas scale the stage's output channels."""
        block = self.stage_modules(index)[-1]
        norms = [
            module
            for name, module in block.named_modules()
            if isinstance(module, ModalityBatchNorm2d) and not name.startswith("downsample")
        ]
        return norms[-1]


def stage_dilations(output_stride: int) -> tuple[int, int, int, int]:
    """Dilation of each stage that keeps the encoder at ``output_stride``.

    Raises:
        ValueError: if ``output_stride`` is not 8, 16 or 32.
    """
    table = {8: (1, 1, 2, 4), 16: (1, 1, 1, 2), 32: (1, 1, 1, 1)}
    if output_stride not in table:
        raise ValueError(f"output_stride must be 8, 16 or 32, not {output_stride}")
    return table[output_stride]
