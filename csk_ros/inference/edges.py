"""Label ids of coarse logits on the CPU, of which only the pixels are computed where classes meet."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_EDGES = 1 / 10
"""Of an image: where classes meet in more of it than this, computing all of it is as fast."""

_WORDS = 2, 4, 8
"""Bytes that make a number."""


def answer_at_edges(logits: Tensor, size: tuple[int, int]) -> Tensor | None:
    """The ids of logits that are resized bilinearly; see ``benchmarks/postprocess.py`` for what it saves.

    A pixel among four logits with the same greatest class is of that class: bilinear resizing takes shares of
    them that are positive. What lies among four logits is a cell; cells at the border repeat theirs.

    Args:
        logits: float32 (1, C, h, w).
        size: height and width of the answer.

    Returns:
        uint8 (1, H, W); None where it would not be faster, and for what is not on the CPU.
    """
    if logits.device.type != "cpu":
        return None
    classes, height, width = logits.shape[1:]
    # numpy from here on: it picks elements twice as fast as torch
    table = logits.numpy().reshape(classes, height * width)
    coarse = _greatest(table).reshape(height, width)
    ids = np.asarray(cv2.copyMakeBorder(coarse, 1, 1, 1, 1, cv2.BORDER_REPLICATE), np.uint8)
    corner = ids[:-1, :-1]
    meets = (corner != ids[1:, 1:]) | (corner != ids[1:, :-1]) | (corner != ids[:-1, 1:])
    if np.count_nonzero(meets) > _MOST_EDGES * meets.size:
        return None
    if (factor := whole_factor((height, width), size)) in _WORDS:
        labels = _by_blocks(table, corner, meets, factor)
    else:
        labels = _by_pixels(table, corner, meets, size)
    return torch.from_numpy(labels)[None]


def whole_factor(small: tuple[int, int], large: tuple[int, int]) -> int | None:
    """How many times a height and width the other's are, if the same whole number above 1."""
    factor = large[0] // small[0]
    return factor if factor > 1 and (factor * small[0], factor * small[1]) == large else None


def _by_blocks(
    table: NDArray[np.float32], corner: NDArray[np.uint8], meets: NDArray[np.bool_], factor: int
) -> NDArray[np.uint8]:
    """Every cell becomes a block of so many pixels each way; half of those at the border is cut off."""
    word = np.dtype(f"u{factor}")  # the pixels of a block's row as one number
    words = np.multiply(corner, int.from_bytes(factor * b"\1", "little"), dtype=word).repeat(factor, axis=0)
    cells = np.flatnonzero(meets)
    around = table.take(_corners(meets.shape).take(cells, axis=1), axis=1)
    ids = np.ascontiguousarray(_greatest(_block_shares(factor) @ around).T)
    rows, columns = np.divmod(cells, meets.shape[1])
    words[factor * rows[:, None] + np.arange(factor), columns[:, None]] = ids.view(word)
    height, width = (factor * (cells - 1) for cells in meets.shape)
    cut = factor - factor // 2
    return np.ascontiguousarray(words.view(np.uint8)[cut : cut + height, cut : cut + width])


def _by_pixels(
    table: NDArray[np.float32], corner: NDArray[np.uint8], meets: NDArray[np.bool_], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Every pixel lies in a cell of its own choice: any size, at half the speed."""
    (upright, downs), (across, alongs) = map(_places, size, meets.shape)
    labels = corner.take(across, axis=1).take(upright, axis=0)
    places = np.flatnonzero(meets.take(across, axis=1).take(upright, axis=0))
    rows, columns = np.divmod(places, size[1])
    cells = upright.take(rows) * meets.shape[1] + across.take(columns)
    down, along = downs.take(rows), alongs.take(columns)
    both = down * along
    shares = np.stack([1 - down - along + both, along - both, down - both, both], axis=1)
    blended = functional.embedding_bag(
        torch.from_numpy(_corners(meets.shape).take(cells, axis=1).T),
        torch.from_numpy(np.ascontiguousarray(table.T)),
        mode="sum",
        per_sample_weights=torch.from_numpy(shares),
    )
    labels.reshape(-1)[places] = _greatest(blended.t().contiguous().numpy())
    return labels


def _greatest(classes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Which of (C, ...) is greatest, the first of equal ones; seven times as fast as torch and numpy are."""
    top, ids = classes[0].copy(), np.zeros(classes.shape[1:], np.uint8)
    better = np.empty(ids.shape, np.uint8)
    for index, rival in enumerate(classes[1:], start=1):
        np.greater(rival, top, out=better.view(np.bool_))
        np.maximum(rival, top, out=top)
        # indices only rise, so that the later one counts
        np.maximum(ids, np.multiply(better, np.uint8(index), out=better), out=ids)
    return ids


@lru_cache(16)
def _corners(cells: tuple[int, int]) -> NDArray[np.int64]:
    """Where in a row of all logits the four around each of so many cells are, int64 (4, cells)."""
    height, width = cells[0] - 1, cells[1] - 1
    rows, columns = np.arange(cells[0])[:, None], np.arange(cells[1])
    above, below = np.maximum(rows - 1, 0) * width, np.minimum(rows, height - 1) * width
    left, right = np.maximum(columns - 1, 0), np.minimum(columns, width - 1)
    corners = above + left, above + right, below + left, below + right
    return np.stack(corners).reshape(4, -1)


@lru_cache(16)
def _block_shares(factor: int) -> NDArray[np.float32]:
    """What each pixel of a block takes of the four logits around it, float32 (factor * factor, 4)."""
    way = ((np.arange(factor) + factor // 2 + 0.5) / factor - 0.5).astype(np.float32)
    shares = np.stack([1 - way, way])
    corners = shares[:, None, :, None] * shares[:, None, :]
    return corners.reshape(4, -1).T


@lru_cache(16)
def _places(outputs: int, cells: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Along one side: the cell that each output lies in, int64, and its way through it, 0 to 1, float32."""
    position = (np.arange(outputs) + 0.5) * ((cells - 1) / outputs) + 0.5
    cell = position.astype(np.int64)
    return cell, (position - cell).astype(np.float32)
