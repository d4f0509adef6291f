"""Pixel-to-pixel contrast across the modalities (CSK-Net, arXiv 2312.02240; Wang et al., ICCV 2021).

That pixels of one class attract each other in either modality is the paper's; the sampling and the sizes are
a reconstruction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from csk_ros.labels import UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Sequence


class Pixels(NamedTuple):
    """Pixels of one modality: ``features`` (N, C, H, W), ``labels`` int64 (N, H, W), ``hard`` bool (N, H, W).

    ``hard`` pixels are those that the modality's own head gets wrong.
    """

    features: Tensor
    labels: Tensor
    hard: Tensor


def at_resolution(
    labels: Tensor, logits: Tensor, size: tuple[int, int] | torch.Size
) -> tuple[Tensor, Tensor]:
    """Labels at the resolution of features, and where the answer there is wrong.

    Args:
        labels: int64 (N, H, W).
        logits: float (N, C, H, W).
        size: height and width of the features.

    Returns:
        labels int64 (N, h, w) from the nearest pixel, and bool (N, h, w).
    """
    small = functional.interpolate(labels[:, None].float(), tuple(size), mode="nearest-exact")[:, 0].long()
    answer = functional.interpolate(logits.detach().float(), tuple(size), mode="nearest-exact").argmax(1)
    return small, answer != small


class PixelContrast(nn.Module):
    """A projection head and the InfoNCE loss over sampled pixels; needed in training only.

    Args:
        channels: channels of the features.
        dimensions: of the projections; 256 in Wang et al.
        temperature: tau of the loss.
        anchors: greatest number of pixels per class and modality, half of them hard where there are enough.
    """

    def __init__(self, channels: int, dimensions: int, temperature: float, anchors: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, dimensions)
        )
        self.temperature = temperature
        self.anchors = anchors

    def forward(self, modalities: Sequence[Pixels]) -> Tensor:
        """The loss over the pixels of all modalities together, a scalar."""
        chosen = [self._choose(pixels) for pixels in modalities]
        features = torch.cat([features for features, _ in chosen])
        labels = torch.cat([labels for _, labels in chosen])
        return info_nce(functional.normalize(self.project(features), dim=1), labels, self.temperature)

    def _choose(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        labels, hard = pixels.labels.flatten(), pixels.hard.flatten()
        features = pixels.features.permute(0, 2, 3, 1).flatten(0, 2)
        classes = torch.unique(labels).tolist()
        index = torch.cat(
            [
                sample_half_hard(torch.nonzero(labels == c)[:, 0], hard, self.anchors)
                for c in classes
                if c != UNLABELLED
            ]
            or [labels.new_zeros(0)]
        )
        return features[index].float(), labels[index]


def sample_half_hard(candidates: Tensor, hard: Tensor, count: int) -> Tensor:
    """Up to ``count`` of the indices ``candidates``, half of them hard, or more of one kind where it must be.

    Args:
        candidates: int64 (M,), indices into ``hard``.
        hard: bool.
        count: how many to choose.
    """
    shuffled = candidates[torch.randperm(len(candidates)).to(candidates.device)]
    is_hard = hard[shuffled]
    difficult, easy = shuffled[is_hard], shuffled[~is_hard]
    from_hard = min(len(difficult), max(count // 2, count - len(easy)))
    return torch.cat([difficult[:from_hard], easy[: count - from_hard]])


def info_nce(projections: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean over anchors of ``-1/|P| sum_p log(exp(a.p/tau) / (exp(a.p/tau) + sum_n exp(a.n/tau)))``.

    Positives P are the other pixels of the anchor's class, negatives n all pixels of other classes
    (equation 3 of Wang et al., ICCV 2021). Anchors without a positive or without a negative are left out.

    Args:
        projections: float (M, D), of length 1.
        labels: int64 (M,).
        temperature: tau, above 0.

    Returns:
        A scalar; 0 without anchors.
    """
    similarity = projections @ projections.T / temperature
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    count = positive.sum(1)
    anchors = (count > 0) & (~same).any(1)
    if not anchors.any():
        return projections.sum() * 0.0
    negatives = similarity.masked_fill(same, float("-inf")).logsumexp(1, keepdim=True)
    log_share = similarity - torch.logaddexp(similarity, negatives)
    losses = -log_share.masked_fill(~positive, 0.0).sum(1) / count.clamp(min=1)
    return losses[anchors].mean()
