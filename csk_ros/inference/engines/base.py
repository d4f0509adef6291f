"""The seam between the segmenter, which knows images, and an engine, which knows the network."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import torch

    from csk_ros.modality import Modality


class Engine(ABC):
    """Runs the routes of one network on one device.

    Attributes:
        name: the name by which users ask for it.
        precisions: what it can be asked for; building it tells whether the device can do it.
        device: where it takes its inputs and leaves its answers.
        spare_cores: how many CPU cores it leaves to other processes by itself.
    """

    name: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]]
    spare_cores: ClassVar[int] = 0
    device: torch.device

    @classmethod
    def suitable_threads(cls) -> int:
        """CPU threads that suit this engine on this machine."""
        return max(len(os.sched_getaffinity(0)) - cls.spare_cores, 1)

    @abstractmethod
    def logits(self, images: dict[Modality, torch.Tensor]) -> torch.Tensor:
        """Logits of the route that the images make.

        Args:
            images: normalised float32 on :attr:`device`, of one H and W: EO (1, 3, H, W), IR (1, 1, H, W).

        Returns:
            Float32 logits (1, C, H, W) on :attr:`device`.
        """
