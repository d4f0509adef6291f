"""Coarse logits to label ids and confidence, on the device: for torch, and for what compilers make of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from csk_ros.inference.edges import answer_at_edges, whole_factor


def answer(logits: Tensor, size: tuple[int, int], *, confidence: bool) -> Tensor:
    """The ids, and how sure the network is.

    Args:
        logits: float32 (1, C, h, w); overwritten where they have that size already.
        size: height and width of the answer; logits are resized bilinearly.
        confidence: whether the second map is wanted.

    Returns:
        uint8 (1 or 2, H, W): ids, and ``round(255 * greatest softmax probability)``.
    """
    if not confidence and (labels := answer_at_edges(logits, size)) is not None:
        return labels
    top, ids = (logits := _resize(logits, size)).max(dim=1, keepdim=True)
    maps = [ids.to(torch.uint8)]
    if confidence:
        # the greatest probability is exp(top - top) / sum exp(logits - top)
        total = logits.sub_(top).exp_().sum(dim=1, keepdim=True)
        maps.append((255 / total).round_().to(torch.uint8))
    return torch.cat(maps, dim=1)[0]


class AnswerGraph(nn.Module):
    """As :func:`answer`, for graphs that are compiled: class after class, and resized as a convolution.

    Compilers make fewer passes of the first than of an arg-max and a sum over channels, and where the answer
    is a whole multiple of the logits their resizing is several times as slow as the convolution that is the
    same (``benchmarks/postprocess.py``). Torch is the other way round.

    Args:
        size: height and width of the answer; None for what the logits are resized to at run time, which
            compilers then do themselves.
        confidence: whether the second map is wanted.
    """

    def __init__(self, size: tuple[int, int] | None, *, confidence: bool) -> None:
        super().__init__()
        self.confidence = confidence
        self._size = size

    def forward(self, logits: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Answer.

        Args:
            logits: float32 (1, C, h, w).
            size: height and width of the answer, where the class was given none; None for the logits' own.

        Returns:
            uint8 (1 or 2, H, W), see :func:`answer`.
        """
        height, width = (int(side) for side in logits.shape[-2:])  # a trace has tensors there
        factor = whole_factor((height, width), self._size) if self._size else None
        if factor is None:
            return torch.cat(self._maps(_planes(_resize(logits, self._size or size or logits.shape[-2:]))))[
                :, 0
            ]
        return functional.pixel_shuffle(torch.cat(self._maps(_phases(logits, factor))), factor)[:, 0]

    def _maps(self, classes: list[Tensor]) -> list[Tensor]:
        top, ids = classes[0], torch.zeros_like(classes[0])
        for index, rival in enumerate(classes[1:], start=1):
            ids = torch.where(rival > top, float(index), ids)
            top = torch.maximum(top, rival)
        maps = [ids.to(torch.uint8)]
        if self.confidence:
            total = sum(((each - top).exp() for each in classes), start=torch.zeros_like(top))
            maps.append(torch.round(255 / total).to(torch.uint8))
        return maps


def _resize(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return functional.interpolate(logits, size=list(size), mode="bilinear", align_corners=False)


def _planes(logits: Tensor) -> list[Tensor]:
    return [logits[:, index : index + 1] for index in range(logits.shape[1])]


def _phases(logits: Tensor, factor: int) -> list[Tensor]:
    """Each class resized bilinearly, (1, factor * factor, h, w): what a pixel becomes is in its channels."""
    classes, height, width = (int(side) for side in logits.shape[1:])
    padded = functional.pad(logits, (1, 1, 1, 1), mode="replicate")
    planes = padded.reshape(classes, 1, height + 2, width + 2)  # so that each lies in one piece
    offsets = (torch.arange(factor) + 0.5) / factor - 0.5
    # of the pixel before, the pixel itself and the one after
    shares = torch.stack([(-offsets).clamp(min=0), 1 - offsets.abs(), offsets.clamp(min=0)], dim=1)
    kernels = torch.einsum("ai,bj->abij", shares, shares).reshape(-1, 1, 3, 3).to(logits)
    return [functional.conv2d(planes[index : index + 1], kernels) for index in range(classes)]
