"""What every segmentation network of this package offers, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from csk_ros.modality import Modality, Route
from csk_ros.network.decoders import resize

if TYPE_CHECKING:
    import torch

CHANNELS = {Modality.EO: 3, Modality.IR: 1}
"""Image channels of each modality."""


@dataclass(frozen=True)
class ModalityFeatures:
    """The inner features of one modality.

    Attributes:
        stages: encoder outputs by stage name (``layer1`` ...), after exchange.
        foreign: for exchanged stages, a bool mask that broadcasts to the stage's features and is true where
            they came from the other modality.
        aspp: the ASPP's output.
        decoded: the decoder's output, which the heads and the gate read.
    """

    stages: dict[str, Tensor]
    foreign: dict[str, Tensor]
    aspp: Tensor
    decoded: Tensor


@dataclass(frozen=True)
class NetworkOutput:
    """Everything training asks for.

    Attributes:
        logits: float (N, num_classes, H, W) at input size, of every head that could be run.
        features: inner features of the modalities that were given.
    """

    logits: dict[Route, Tensor]
    features: dict[Modality, ModalityFeatures] = field(default_factory=dict)


class SegmentationNetwork(nn.Module, ABC):
    """A network from EO and IR images to the logits of a route.

    Args:
        num_classes: number of classes.
        arguments: the JSON-ready keyword arguments that build this network again.

    Attributes:
        name: the name that :func:`csk_ros.network.build_network` knows it by.
    """

    name: ClassVar[str]

    def __init__(self, num_classes: int, arguments: dict[str, Any]) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be positive, not {num_classes}")
        self.num_classes = num_classes
        self._arguments = {"num_classes": num_classes, **arguments}

    @property
    def architecture(self) -> dict[str, Any]:
        """``{"name": ..., "arguments": {...}}``, JSON-ready: enough to build the network again."""
        return {"name": self.name, "arguments": dict(self._arguments)}

    @property
    @abstractmethod
    def routes(self) -> frozenset[Route]:
        """The routes that this network can run."""

    def forward(self, *, eo: Tensor | None = None, ir: Tensor | None = None) -> Tensor:
        """Logits of the route that the inputs make.

        Args:
            eo: float (N, 3, H, W), normalised RGB.
            ir: float (N, 1, H, W), normalised.

        Returns:
            Float logits (N, num_classes, H, W), at input size.

        Raises:
            ValueError: for a wrong shape or dtype, or a route that the network does not have.
        """
        images = self._check(eo, ir)
        return resize(self._forward_route(images), _size(images))

    def forward_coarse(self, *, eo: Tensor | None = None, ir: Tensor | None = None) -> Tensor:
        """As :meth:`forward`, but (N, num_classes, h, w), of the resolution that the network itself has."""
        return self._forward_route(self._check(eo, ir))

    def forward_heads(self, *, eo: Tensor | None = None, ir: Tensor | None = None) -> NetworkOutput:
        """Logits of every head that the inputs allow, and features; arguments as in :meth:`forward`."""
        images = self._check(eo, ir)
        output = self._forward_heads(images)
        size = _size(images)
        return NetworkOutput(
            {route: resize(logits, size) for route, logits in output.logits.items()}, output.features
        )

    @abstractmethod
    def _forward_route(self, images: dict[Modality, Tensor]) -> Tensor:
        """Logits at any resolution of the route that the images make."""

    @abstractmethod
    def _forward_heads(self, images: dict[Modality, Tensor]) -> NetworkOutput:
        """Logits at any resolution of all heads, and features."""

    def _check(self, eo: Tensor | None, ir: Tensor | None) -> dict[Modality, Tensor]:
        route = Route.of(eo=eo is not None, ir=ir is not None)
        if route not in self.routes:
            have = ", ".join(sorted(known.value for known in self.routes))
            raise ValueError(f"{type(self).__name__} runs {have}, but the given images make {route.value}")
        pairs = ((Modality.EO, eo), (Modality.IR, ir))
        images = {modality: x for modality, x in pairs if x is not None}
        for modality, x in images.items():
            _check_image(modality, x)
        shapes = [(x.shape[0], *x.shape[-2:]) for x in images.values()]
        if shapes[0] != shapes[-1]:  # no set: while torch.jit traces, the numbers are tensors
            raise ValueError(
                f"eo {_shape(images[Modality.EO])} and ir {_shape(images[Modality.IR])} must agree in batch, "
                f"height and width: resize eo to ir's size"
            )
        return images


def _check_image(modality: Modality, x: Tensor) -> None:
    channels = CHANNELS[modality]
    if x.dim() != 4 or x.shape[1] != channels:
        fix = ""
        if x.dim() == 3 and x.shape[0] == channels:
            fix = f"; add the batch dimension: {modality.value}.unsqueeze(0)"
        elif x.dim() == 4 and x.shape[3] == channels:
            fix = f"; move the channels: {modality.value}.permute(0, 3, 1, 2)"
        elif modality is Modality.IR and x.dim() == 4 and x.shape[1] == 3:
            fix = "; thermal has one channel: take ir[:, :1]"
        raise ValueError(f"{modality.value} must be (N, {channels}, H, W), not {_shape(x)}{fix}")
    if not x.is_floating_point():
        raise ValueError(
            f"{modality.value} must be float and normalised, not {x.dtype}: divide by 255 and apply the "
            f"checkpoint's mean and std"
        )
    if x.numel() == 0:
        raise ValueError(f"{modality.value} is empty: {_shape(x)}")


def _shape(x: Tensor) -> str:
    return str(tuple(x.shape))


def _size(images: dict[Modality, Tensor]) -> torch.Size:
    return next(iter(images.values())).shape[-2:]
