"""Logits to label ids and confidence, on the device."""

from __future__ import annotations

import torch
from torch.nn import functional


def answer(logits: torch.Tensor, size: tuple[int, int], *, confidence: bool) -> torch.Tensor:
    """The ids, and how sure the network is.

    Args:
        logits: float32 (1, C, h, w); is overwritten.
        size: height and width of the answer; logits are resized bilinearly.
        confidence: whether the second map is wanted.

    Returns:
        uint8 (1 or 2, H, W): ids, and ``round(255 * greatest softmax probability)``.
    """
    if tuple(logits.shape[-2:]) != size:
        logits = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    top, ids = logits.max(dim=1, keepdim=True)
    maps = [ids.to(torch.uint8)]
    if confidence:
        # the greatest probability is exp(top - top) / sum exp(logits - top)
        total = logits.sub_(top).exp_().sum(dim=1, keepdim=True)
        maps.append((255 / total).round_().to(torch.uint8))
    return torch.cat(maps, dim=1)[0]
