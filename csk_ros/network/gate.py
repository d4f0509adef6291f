"""The Gated Spectral Unit, which fuses the EO and IR features (CSK-Net, arXiv 2312.02240)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

GATES = ("own", "concatenation")


class GatedSpectralUnit(nn.Module):
    """``h = sum over k in {o, i, s} of sigmoid(W_z F) * tanh(W_h F_k)`` with ``F_s = F_o + F_i``.

    The topology follows the paper's figure. All ``W`` are 1x1 convolutions with bias.

    Args:
        channels: channels of both inputs and of the output.
        gate: ``own``: the gate of k sees ``F_k``. ``concatenation``: every gate sees ``[F_o, F_i]``, as in
            the Gated Multimodal Unit (Arevalo et al., 2017); a reconstruction's alternative.

    Raises:
        ValueError: for another ``gate``.
    """

    def __init__(self, channels: int, gate: str = "own") -> None:
        super().__init__()
        if gate not in GATES:
            raise ValueError(f"gate must be one of {', '.join(GATES)}, not {gate!r}")
        self.sees_all = gate == "concatenation"
        seen = 2 * channels if self.sees_all else channels
        self.content = nn.ModuleDict({key: nn.Conv2d(channels, channels, 1) for key in "ois"})
        self.gate = nn.ModuleDict({key: nn.Conv2d(seen, channels, 1) for key in "ois"})

    def forward(self, eo: Tensor, ir: Tensor) -> Tensor:
        """Fuse two (N, C, H, W) maps into one."""
        inputs = {"o": eo, "i": ir, "s": eo + ir}
        everything = torch.cat([eo, ir], dim=1) if self.sees_all else None
        terms = [
            self.gate[key](x if everything is None else everything).sigmoid() * self.content[key](x).tanh()
            for key, x in inputs.items()
        ]
        return terms[0] + terms[1] + terms[2]
