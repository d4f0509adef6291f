"""Spectral knowledge distillation: what an EO teacher hands to the EO stream (CSK-Net, arXiv 2312.02240).

That it lands in the encoder and the EO decoder only is the paper's; the formulas are a reconstruction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


def pixel_distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``T^2 * mean over pixels of KL(softmax(teacher / T) || softmax(student / T))`` (Hinton et al. 2015).

    Args:
        student: logits, float (N, C, H, W).
        teacher: logits of the same shape; no gradient flows into them.
        temperature: T, above 0.

    Returns:
        A scalar.
    """
    target = functional.log_softmax(teacher.detach().float() / temperature, dim=1)
    answer = functional.log_softmax(student.float() / temperature, dim=1)
    pixels = student.shape[0] * student.shape[2] * student.shape[3]
    return temperature**2 / pixels * functional.kl_div(answer, target, reduction="sum", log_target=True)


def channel_distillation(
    student: Tensor, teacher: Tensor, temperature: float, foreign: Tensor | None = None
) -> Tensor:
    """``tau^2 / C * sum over channels of KL(phi(teacher) || phi(student))``, phi a softmax over space.

    Channel-wise distillation (Shu et al., ICCV 2021): summed over space, averaged over channels and batch.
    Each channel says where it looks, not how loudly, so the two networks' scales need not agree.

    Args:
        student: features, float (N, C, H, W).
        teacher: features of the same shape; no gradient flows into them.
        temperature: tau, above 0.
        foreign: bool, broadcasts to the features: true where the student's came from the other modality.
            Those are left out, on both sides.

    Returns:
        A scalar; 0 if everything is foreign.
    """
    teacher = teacher.detach()
    own = torch.ones_like(student[:1], dtype=torch.bool) if foreign is None else ~foreign
    own = own.expand(1, *student.shape[1:])
    channels = own.flatten(2).any(dim=2)[0]
    if not channels.any():
        return student.sum() * 0.0
    hidden = ~own[:, channels].flatten(2)

    def looks(features: Tensor) -> Tensor:
        values = features[:, channels].flatten(2).float() / temperature
        return functional.log_softmax(values.masked_fill(hidden, -1e4), dim=2)

    target, answer = looks(teacher), looks(student)
    divergence = (target.exp() * (target - answer)).masked_fill(hidden, 0.0).sum(dim=2)
    return temperature**2 * divergence.mean()
