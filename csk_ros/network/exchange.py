"""Mixed feature exchange between the EO and the IR stream (CSK-Net, arXiv 2312.02240).

The figure of the paper shows channels and whole columns changing streams inside the encoder; which
channels, which columns and in which stages are a reconstruction, and switches here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from csk_ros.modality import Modality

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("none", "channel", "spatial", "mixed")
CHANNEL_RULES = ("alternate", "gamma")
DIRECTIONS = ("both", "ir_to_eo")
GRADIENTS = ("stop", "flow")
NO_STAGES = ("none", "none", "none", "none")
PAPER_STAGES = ("mixed", "mixed", "none", "none")
"""Where the paper exchanges, as reconstructed."""


@dataclass(frozen=True)
class ExchangeSettings:
    """How features change streams; every field is a reconstruction's choice.

    Attributes:
        stages: for each of the four encoder stages one of :data:`KINDS`; ``mixed`` exchanges channels and
            columns. :data:`PAPER_STAGES` is the paper's as reconstructed, ``("none", "spatial", "channel",
            "channel")`` the ChangerEx layout.
        channels: ``alternate`` exchanges every second channel, of the first half for EO and of the second
            half for IR; ``gamma`` those channels of the same halves whose batch norm has
            ``|gamma| < threshold`` (Channel Exchanging Networks, NeurIPS 2020).
        threshold: theta of the ``gamma`` rule.
        direction: ``both``, or ``ir_to_eo``, which leaves the IR stream as it is.
        probability: chance that a training batch is exchanged. In evaluation a fused pass is always exchanged
            unless this is 0, and a pass with one modality never.
        gradient: ``stop`` makes exchanged features constants to the stream that receives them, so that what
            is taught to EO never reaches IR's batch norms; ``flow`` lets gradients pass.
    """

    stages: tuple[str, str, str, str] = NO_STAGES
    channels: str = "alternate"
    threshold: float = 0.02
    direction: str = "both"
    probability: float = 1.0
    gradient: str = "stop"

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if len(self.stages) != 4 or not set(self.stages) <= set(KINDS):
            raise ValueError(f"exchange stages: give four of {', '.join(KINDS)}, not {self.stages}")
        if self.channels not in CHANNEL_RULES:
            raise ValueError(f"exchange channels: one of {', '.join(CHANNEL_RULES)}, not {self.channels!r}")
        if self.direction not in DIRECTIONS:
            raise ValueError(f"exchange direction: one of {', '.join(DIRECTIONS)}, not {self.direction!r}")
        if self.gradient not in GRADIENTS:
            raise ValueError(f"exchange gradient: one of {', '.join(GRADIENTS)}, not {self.gradient!r}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"exchange probability: 0 to 1, not {self.probability}")

    def drawn(self, *, training: bool) -> bool:
        """Whether this pass is exchanged; draws from torch's CPU generator when training."""
        if training and 0 < self.probability < 1:
            return bool(torch.rand(()) < self.probability)
        return self.probability > 0

    def uses_gamma(self, index: int) -> bool:
        """Whether stage ``index`` reads the gammas of its last batch norm."""
        return self.channels == "gamma" and self.stages[index] in ("channel", "mixed")


def foreign_mask(
    settings: ExchangeSettings, index: int, modality: Modality, x: Tensor, gamma: Tensor | None
) -> Tensor | None:
    """Which features of ``modality`` are taken from the other one after stage ``index``.

    Args:
        settings: the rules.
        index: the stage, 0 to 3.
        modality: the stream that receives.
        x: its features, (N, C, H, W).
        gamma: the gammas of the stage's last batch norm, (C,), where the ``gamma`` rule reads them.

    Returns:
        A bool mask that broadcasts to ``x``, or ``None`` where the stream is left as it is.
    """
    kind = settings.stages[index]
    if kind == "none" or (settings.direction == "ir_to_eo" and modality is Modality.IR):
        return None
    masks = []
    if kind in ("channel", "mixed"):
        masks.append(_channel_mask(settings, modality, x, gamma)[None, :, None, None])
    if kind in ("spatial", "mixed"):
        columns = torch.arange(x.shape[3], device=x.device) % 2 == 0
        masks.append(columns[None, None, None, :])
    return masks[0] if len(masks) == 1 else masks[0] | masks[1]


def _channel_mask(settings: ExchangeSettings, modality: Modality, x: Tensor, gamma: Tensor | None) -> Tensor:
    channels = torch.arange(x.shape[1], device=x.device)
    first_half = channels < x.shape[1] // 2
    half = first_half if modality is Modality.EO else ~first_half
    if gamma is None:
        return half & (channels % 2 == 0)
    return half & (gamma.abs() < settings.threshold)


def exchange(
    streams: dict[Modality, Tensor], masks: dict[Modality, Tensor | None], gradient: str = "flow"
) -> dict[Modality, Tensor]:
    """Replace the masked features of each stream by the other stream's.

    Args:
        streams: the features of EO and IR, of one shape.
        masks: what :func:`foreign_mask` gave for each.
        gradient: whether gradients ``flow`` through what is exchanged, or ``stop``.

    Returns:
        New streams; both read the old ones, so the order does not matter.
    """
    given = {modality: x.detach() if gradient == "stop" else x for modality, x in streams.items()}
    other = {Modality.EO: given[Modality.IR], Modality.IR: given[Modality.EO]}
    return {
        modality: x if (mask := masks[modality]) is None else torch.where(mask, other[modality], x)
        for modality, x in streams.items()
    }
