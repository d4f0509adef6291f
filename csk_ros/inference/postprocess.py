"""Coarse logits to label ids and confidence, on the device: for torch, and for what compilers make of it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_EDGES = 1 / 10
"""Of an image: where classes meet in more of it than this, computing all of it is as fast."""


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


def answer_at_edges(logits: Tensor, size: tuple[int, int]) -> Tensor | None:
    """As :func:`answer` without confidence, of which only the pixels are computed where classes meet.

    A pixel among four logits with the same greatest class is of that class: bilinear resizing takes shares of
    them that are positive. On the CPU only; faster than all of it: ``benchmarks/postprocess.py``.

    Returns:
        uint8 (1, H, W); None where it would not be faster.
    """
    if logits.device.type != "cpu":
        return None
    classes, height, width = logits.shape[1:]
    # numpy from here on: it picks elements twice as fast as torch
    ids = logits[0].max(dim=0).indices.to(torch.uint8).numpy()
    meets = _meets(ids)
    if meets.mean() > _MOST_EDGES:
        return None
    across, upright = _neighbours(size[1], width), _neighbours(size[0], height)
    labels = ids.take(across[0], axis=1).take(upright[0], axis=0)
    places = np.flatnonzero(meets.take(across[0], axis=1).take(upright[0], axis=0))
    rows, columns = np.divmod(places, size[1])
    left, right, along = (each.take(columns) for each in across)
    above, below, down = (each.take(rows) for each in upright)
    above, below = above * width, below * width
    both = down * along
    corners = np.stack([above + left, above + right, below + left, below + right], axis=1)
    shares = np.stack([1 - down - along + both, along - both, down - both, both], axis=1)
    blended = functional.embedding_bag(
        torch.from_numpy(corners),
        logits[0].permute(1, 2, 0).reshape(height * width, classes),
        mode="sum",
        per_sample_weights=torch.from_numpy(shares),
    )
    labels.reshape(-1)[places] = blended.max(dim=1).indices.to(torch.uint8).numpy()
    return torch.from_numpy(labels)[None]


def _meets(ids: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where an id differs from one of the three to the right and below, (h, w)."""
    meets = np.zeros(ids.shape, np.bool_)
    below, right = ids[1:] != ids[:-1], ids[:, 1:] != ids[:, :-1]
    meets[:-1] |= below
    meets[:, :-1] |= right
    meets[:-1, :-1] |= below[:, 1:]
    return meets


@lru_cache(16)
def _neighbours(
    outputs: int, inputs: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Along one side: what each output lies between, int64, and its way from one to the other, float32."""
    position = ((np.arange(outputs) + 0.5) * (inputs / outputs) - 0.5).clip(min=0)
    first = position.astype(np.int64)
    return first, np.minimum(first + 1, inputs - 1), (position - first).astype(np.float32)


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
        factor = None if self._size is None else _factor(logits, self._size)
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


def _factor(logits: Tensor, size: tuple[int, int]) -> int | None:
    """How many times the logits' height and width the answer's are, if the same whole number above 1."""
    height, width = (int(side) for side in logits.shape[-2:])  # a trace has tensors there
    factor = size[0] // height
    return factor if factor > 1 and (factor * height, factor * width) == size else None


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
