"""Logits to label ids and confidence, on the device: for torch, and for what compilers make of it."""

from __future__ import annotations

import torch
from torch.nn import functional


def answer(logits: torch.Tensor, size: tuple[int, int], *, confidence: bool) -> torch.Tensor:
    """The ids, and how sure the network is.

    Args:
        logits: float32 (1, C, h, w); overwritten where they have that size already.
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


def maps_of(logits: torch.Tensor, *, confidence: bool) -> torch.Tensor:
    """As :func:`answer`, class after class, for graphs that are compiled.

    Compilers make fewer passes of it than of an arg-max and a sum over channels
    (``benchmarks/postprocess.py``); torch makes more.

    Args:
        logits: float32 (1, C, H, W).
        confidence: whether the second map is wanted.

    Returns:
        uint8 (1, 1 or 2, H, W).
    """
    classes = [logits[:, index : index + 1] for index in range(logits.shape[1])]
    top, ids = classes[0], torch.zeros_like(classes[0])
    for index, rival in enumerate(classes[1:], start=1):
        ids = torch.where(rival > top, float(index), ids)
        top = torch.maximum(top, rival)
    maps = [ids.to(torch.uint8)]
    if confidence:
        # the greatest probability is exp(top - top) / sum exp(logits - top)
        total = sum(((each - top).exp() for each in classes), start=torch.zeros_like(top))
        maps.append(torch.round(255 / total).to(torch.uint8))
    return torch.cat(maps, dim=1)
