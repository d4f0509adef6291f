"""What CSK-Net is compared with, made of the same parts: one modality, early and late fusion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from csk_ros.modality import Modality, Route
from csk_ros.network.backbones import build_encoder
from csk_ros.network.base import ModalityFeatures, NetworkOutput, SegmentationNetwork
from csk_ros.network.csknet import CSKNet, encoder_input
from csk_ros.network.decoders import build_decoder, default_stride
from csk_ros.network.encoder import STAGES

_ALONE = {Modality.EO: Route.EO_ONLY, Modality.IR: Route.IR_ONLY}


class _Branch(nn.Module):
    """Encoder, decoder and head of one stream.

    Batch norms are kept for ``modality`` only; a stream of joined channels files its under EO.
    """

    def __init__(
        self, num_classes: int, modality: Modality, in_channels: int, arguments: dict[str, Any]
    ) -> None:
        super().__init__()
        self.modality = modality
        self.encoder = build_encoder(
            arguments["backbone"],
            (modality,),
            in_channels=in_channels,
            output_stride=arguments["output_stride"],
            padding=arguments["padding"],
        )
        self.decoder = build_decoder(arguments["decoder"], self.encoder, arguments["decoder_width"])
        self.head = nn.Conv2d(self.decoder.width, num_classes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ModalityFeatures]:
        """Logits at the decoder's resolution, and the features."""
        x = self.encoder.stem(x, self.modality)
        stages = {}
        for index, stage in enumerate(STAGES):
            x = self.encoder.stage(index, x, self.modality)
            stages[stage] = x
        decoded = self.decoder(list(stages.values()))
        return self.head(decoded.out), ModalityFeatures(stages, {}, decoded.aspp, decoded.out)


def _arguments(
    backbone: str, decoder: str, output_stride: int | None, padding: str | None, decoder_width: int | None
) -> dict[str, Any]:
    return {
        "backbone": backbone,
        "decoder": decoder,
        "output_stride": default_stride(decoder) if output_stride is None else output_stride,
        "padding": padding,
        "decoder_width": decoder_width,
    }


class SingleNet(SegmentationNetwork):
    """The plain single-branch network of one modality.

    Args:
        num_classes: number of classes.
        modality: ``eo`` or ``ir``; the rest as in :class:`csk_ros.network.CSKNet`.
        backbone: backbone name.
        decoder: decoder name.
        output_stride: 8, 16 or 32; ``None`` takes the decoder's own.
        padding: of the backbone.
        decoder_width: channels of the decoder.

    Raises:
        ValueError: for an unknown name or value.
    """

    name = "single"

    def __init__(
        self,
        num_classes: int,
        *,
        modality: str | Modality,
        backbone: str = "mobilenet_v2",
        decoder: str = "light",
        output_stride: int | None = None,
        padding: str | None = None,
        decoder_width: int | None = None,
    ) -> None:
        self_modality = Modality(modality)
        arguments = _arguments(backbone, decoder, output_stride, padding, decoder_width)
        super().__init__(num_classes, {"modality": self_modality.value, **arguments})
        self.modality = self_modality
        self.branch = _Branch(num_classes, self_modality, 3, arguments)

    @classmethod
    def from_csk(cls, network: CSKNet, modality: Modality) -> SingleNet:
        """The part of a CSK-Net that runs on ``modality`` alone, with copies of its weights."""
        route = _ALONE[modality]
        arguments = network.architecture["arguments"]
        wanted = ("backbone", "decoder", "output_stride", "padding", "decoder_width")
        single = cls(network.num_classes, modality=modality, **{key: arguments[key] for key in wanted})
        single.branch.encoder.load_state_dict(
            {key: network.encoder.state_dict()[key] for key in single.branch.encoder.state_dict()}
        )
        single.branch.decoder.load_state_dict(network.decoders[modality.value].state_dict())
        single.branch.head.load_state_dict(network.heads[route.value].state_dict())
        return single

    def for_modality(self, modality: Modality) -> SingleNet:
        """The same network for images of ``modality``, with copies of all weights."""
        arguments = {**self.architecture["arguments"], "modality": modality}
        other = SingleNet(**arguments)
        other.branch.load_state_dict(
            {
                ".".join(
                    modality.value if part == self.modality.value else part for part in key.split(".")
                ): value
                for key, value in self.branch.state_dict().items()
            }
        )
        return other

    def copy_into(self, network: CSKNet) -> None:
        """Overwrite the part of a CSK-Net that runs on this modality alone; the inverse of :meth:`from_csk`.

        The encoder's convolutions are those of both of its modalities.

        Raises:
            RuntimeError: if the parts differ in kind or size.
        """
        network.encoder.load_state_dict({**network.encoder.state_dict(), **self.branch.encoder.state_dict()})
        network.decoders[self.modality.value].load_state_dict(self.branch.decoder.state_dict())
        network.heads[_ALONE[self.modality].value].load_state_dict(self.branch.head.state_dict())

    @property
    def routes(self) -> frozenset[Route]:
        """The one of its modality."""
        return frozenset({_ALONE[self.modality]})

    def _forward_route(self, images: dict[Modality, Tensor]) -> Tensor:
        logits, _ = self.branch(encoder_input(self.modality, images[self.modality]))
        return logits

    def _forward_heads(self, images: dict[Modality, Tensor]) -> NetworkOutput:
        logits, features = self.branch(encoder_input(self.modality, images[self.modality]))
        return NetworkOutput({_ALONE[self.modality]: logits}, {self.modality: features})


class EarlyFusionNet(SegmentationNetwork):
    """One branch that reads EO and IR as an image of four channels; arguments as in :class:`SingleNet`.

    Its features belong to neither modality and are not handed out.
    """

    name = "early"

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "mobilenet_v2",
        decoder: str = "light",
        output_stride: int | None = None,
        padding: str | None = None,
        decoder_width: int | None = None,
    ) -> None:
        arguments = _arguments(backbone, decoder, output_stride, padding, decoder_width)
        super().__init__(num_classes, arguments)
        self.branch = _Branch(num_classes, Modality.EO, 4, arguments)

    @property
    def routes(self) -> frozenset[Route]:
        """Only the fused one."""
        return frozenset({Route.FUSED})

    def _forward_route(self, images: dict[Modality, Tensor]) -> Tensor:
        logits, _ = self.branch(torch.cat([images[Modality.EO], images[Modality.IR]], dim=1))
        return logits

    def _forward_heads(self, images: dict[Modality, Tensor]) -> NetworkOutput:
        return NetworkOutput({Route.FUSED: self._forward_route(images)})


class LateFusionNet(SegmentationNetwork):
    """Two separate branches whose logits are averaged; arguments as in :class:`SingleNet`."""

    name = "late"

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "mobilenet_v2",
        decoder: str = "light",
        output_stride: int | None = None,
        padding: str | None = None,
        decoder_width: int | None = None,
    ) -> None:
        arguments = _arguments(backbone, decoder, output_stride, padding, decoder_width)
        super().__init__(num_classes, arguments)
        self.branches = nn.ModuleDict(
            {modality.value: _Branch(num_classes, modality, 3, arguments) for modality in Modality}
        )

    @property
    def routes(self) -> frozenset[Route]:
        """All three."""
        return frozenset(Route)

    def _forward_route(self, images: dict[Modality, Tensor]) -> Tensor:
        route = Route.of(eo=Modality.EO in images, ir=Modality.IR in images)
        return self._forward_heads(images).logits[route]

    def _forward_heads(self, images: dict[Modality, Tensor]) -> NetworkOutput:
        logits, features = {}, {}
        for modality, image in images.items():
            branch = self.branches[modality.value]
            logits[_ALONE[modality]], features[modality] = branch(encoder_input(modality, image))
        if len(images) == 2:
            logits[Route.FUSED] = (logits[Route.EO_ONLY] + logits[Route.IR_ONLY]) / 2
        return NetworkOutput(logits, features)
