"""Losses over label maps and the class weights they use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch.nn import functional

from csk_ros.labels import UNLABELLED
from csk_ros.training.distributed import mean_over_processes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from numpy.typing import NDArray

    from csk_ros.modality import Route


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Weighted mean cross entropy over the labelled pixels; 0 where a batch has none.

    Args:
        logits: (N, C, H, W), float.
        labels: (N, H, W), int64; 255 is left out.
        weight: (C,) factor of each class, or None.

    Returns:
        a scalar: sum of w[y]·(-log p[y]) over labelled pixels, divided by the sum of their w[y]. Where
        several processes train, by the mean of their sums: the mean of their losses is the joint batch's.
    """
    total = functional.cross_entropy(logits, labels, weight, ignore_index=UNLABELLED, reduction="sum")
    known = labels[labels != UNLABELLED]
    share = total.new_tensor(known.numel()) if weight is None else weight[known].sum()
    return total / mean_over_processes(share).clamp(min=1e-12)


def head_losses(
    logits: Mapping[Route, torch.Tensor], labels: torch.Tensor, weight: torch.Tensor | None
) -> dict[Route, torch.Tensor]:
    """The cross entropy of each head; shapes as in :func:`cross_entropy`."""
    return {route: cross_entropy(head.float(), labels, weight) for route, head in logits.items()}


def enet_weights(frequencies: NDArray[np.float64], offset: float = 1.02) -> NDArray[np.float32]:
    """Class weights 1 / ln(offset + frequency) of ENet (Paszke et al. 2016, section 5.1)."""
    return (1.0 / np.log(offset + frequencies)).astype(np.float32)
