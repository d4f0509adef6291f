"""CSK-Net: one network that runs on EO and IR or on either alone (arXiv 2312.02240), a reconstruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from csk_ros.modality import Modality, Route
from csk_ros.network.backbones import build_encoder
from csk_ros.network.base import ModalityFeatures, NetworkOutput, SegmentationNetwork
from csk_ros.network.decoders import build_decoder, default_stride
from csk_ros.network.encoder import STAGES
from csk_ros.network.exchange import NO_STAGES, ExchangeSettings, exchange, foreign_mask
from csk_ros.network.gate import GatedSpectralUnit

if TYPE_CHECKING:
    from collections.abc import Sequence

BOTH = (Modality.EO, Modality.IR)
_ALONE = {Modality.EO: Route.EO_ONLY, Modality.IR: Route.IR_ONLY}


def encoder_input(modality: Modality, image: Tensor) -> Tensor:
    """The three channels that the shared stem reads: thermal is repeated (a reconstruction)."""
    return image if modality is Modality.EO else image.expand(-1, 3, -1, -1)


class CSKNet(SegmentationNetwork):
    """Shared encoder with private batch norms, feature exchange, two decoders, a gate, three heads.

    With both images the answer is the fusion head's; with one, that modality's own batch norms, decoder and
    head run and nothing else does, at the cost of a plain single-modality network.

    Args:
        num_classes: number of classes.
        backbone: see :data:`csk_ros.network.BACKBONES`.
        decoder: ``deeplabv3``, ``deeplabv3plus`` or ``light``.
        output_stride: 8, 16 or 32; ``None`` takes 32 for ``light``, which reads every stage, else 16.
        padding: of the backbone, see :func:`csk_ros.network.backbones.build_encoder`.
        decoder_width: channels of the decoders; ``None`` takes the decoder's own default.
        gate: ``own`` (the paper's figure) or ``concatenation``, see :class:`GatedSpectralUnit`.
        exchange_stages: what is exchanged after each encoder stage; this and the next five as in
            :class:`csk_ros.network.exchange.ExchangeSettings`; off by default, docs/results.md says why.
        exchange_channels: ``alternate`` or ``gamma``.
        exchange_threshold: theta of the ``gamma`` rule.
        exchange_direction: ``both`` or ``ir_to_eo``.
        exchange_probability: chance per training batch; in evaluation fused passes are exchanged unless
            it is 0.
        exchange_gradient: ``stop`` or ``flow``.

    Raises:
        ValueError: for an unknown name or value.
    """

    name = "csk"

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "mobilenet_v2",
        decoder: str = "light",
        output_stride: int | None = None,
        padding: str | None = None,
        decoder_width: int | None = None,
        gate: str = "own",
        exchange_stages: Sequence[str] = NO_STAGES,
        exchange_channels: str = "alternate",
        exchange_threshold: float = 0.02,
        exchange_direction: str = "both",
        exchange_probability: float = 1.0,
        exchange_gradient: str = "stop",
    ) -> None:
        output_stride = default_stride(decoder) if output_stride is None else output_stride
        super().__init__(
            num_classes,
            {
                "backbone": backbone,
                "decoder": decoder,
                "output_stride": output_stride,
                "padding": padding,
                "decoder_width": decoder_width,
                "gate": gate,
                "exchange_stages": list(exchange_stages),
                "exchange_channels": exchange_channels,
                "exchange_threshold": exchange_threshold,
                "exchange_direction": exchange_direction,
                "exchange_probability": exchange_probability,
                "exchange_gradient": exchange_gradient,
            },
        )
        self.exchange = ExchangeSettings(
            tuple(exchange_stages),  # type: ignore[arg-type]  # its length is checked there
            exchange_channels,
            exchange_threshold,
            exchange_direction,
            exchange_probability,
            exchange_gradient,
        )
        self.encoder = build_encoder(backbone, BOTH, output_stride=output_stride, padding=padding)
        for index in range(len(STAGES)):
            if self.exchange.uses_gamma(index):
                self.encoder.last_norm(index).foldable = False
        self.decoders = nn.ModuleDict(
            {modality.value: build_decoder(decoder, self.encoder, decoder_width) for modality in BOTH}
        )
        width = int(self.decoders["ir"].width)  # type: ignore[arg-type]  # a Decoder's attribute
        self.fusion = GatedSpectralUnit(width, gate)
        self.heads = nn.ModuleDict({route.value: nn.Conv2d(width, num_classes, 1) for route in Route})

    @property
    def routes(self) -> frozenset[Route]:
        """All three."""
        return frozenset(Route)

    def exchanged_share(self) -> dict[str, float]:
        """Share of channels that the ``gamma`` rule exchanges, by ``stage/modality``; empty without it."""
        shares = {}
        for index, stage in enumerate(STAGES):
            for modality in BOTH:
                gamma = self._gamma(index, modality)
                if gamma is None:
                    continue
                half = gamma.numel() // 2
                part = gamma[:half] if modality is Modality.EO else gamma[half:]
                swapped = int((part.abs() < self.exchange.threshold).sum())
                if modality is Modality.EO or self.exchange.direction == "both":
                    shares[f"{stage}/{modality.value}"] = swapped / gamma.numel()
        return shares

    def _forward_route(self, images: dict[Modality, Tensor]) -> Tensor:
        features = self._features(images)
        if len(features) == 1:
            ((modality, own),) = features.items()
            return self.heads[_ALONE[modality].value](own.decoded)
        fused = self.fusion(features[Modality.EO].decoded, features[Modality.IR].decoded)
        return self.heads[Route.FUSED.value](fused)

    def _forward_heads(self, images: dict[Modality, Tensor]) -> NetworkOutput:
        features = self._features(images)
        logits = {
            _ALONE[modality]: self.heads[_ALONE[modality].value](own.decoded)
            for modality, own in features.items()
        }
        if len(features) == 2:
            fused = self.fusion(features[Modality.EO].decoded, features[Modality.IR].decoded)
            logits[Route.FUSED] = self.heads[Route.FUSED.value](fused)
        return NetworkOutput(logits, features)

    def _features(self, images: dict[Modality, Tensor]) -> dict[Modality, ModalityFeatures]:
        exchanged = len(images) == 2 and self.exchange.drawn(training=self.training)
        streams = {m: self.encoder.stem(encoder_input(m, image), m) for m, image in images.items()}
        stages: dict[Modality, dict[str, Tensor]] = {modality: {} for modality in streams}
        foreign: dict[Modality, dict[str, Tensor]] = {modality: {} for modality in streams}
        for index, stage in enumerate(STAGES):
            streams = {m: self.encoder.stage(index, x, m) for m, x in streams.items()}
            if exchanged:
                masks = {
                    m: foreign_mask(self.exchange, index, m, x, self._gamma(index, m))
                    for m, x in streams.items()
                }
                streams = exchange(streams, masks, self.exchange.gradient)
                for modality, mask in masks.items():
                    if mask is not None:
                        foreign[modality][stage] = mask
            for modality, x in streams.items():
                stages[modality][stage] = x
        return {m: self._decode(m, stages[m], foreign[m]) for m in streams}

    def _gamma(self, index: int, modality: Modality) -> Tensor | None:
        if not self.exchange.uses_gamma(index):
            return None
        return self.encoder.last_norm(index)[modality.value].get_parameter("weight").detach()

    def _decode(
        self, modality: Modality, stages: dict[str, Tensor], foreign: dict[str, Tensor]
    ) -> ModalityFeatures:
        decoded = self.decoders[modality.value](list(stages.values()))
        return ModalityFeatures(stages, foreign, decoded.aspp, decoded.out)
