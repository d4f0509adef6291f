"""Which samples a process sees, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from collections.abc import Iterator

Key = tuple[int, int]
"""Epoch and index: all that a training sample's randomness depends on, beside the seed."""


class EpochSampler(Sampler[Key]):
    """Every index once per epoch, in an order that depends on seed and epoch alone.

    Lightning calls :meth:`set_epoch`; a resumed run sees what it would have seen.

    Args:
        length: how many indices there are.
        seed: of the order.
        batch: samples per step and process.
        rank: which process this is.
        processes: how many train together; each takes its part of every joint batch, which holds what the
            batch of a single process would hold. What fills no joint batch is left out.
        epoch: the epoch to begin with, which loading processes ask for before Lightning says it.
        used: batches of that epoch to leave out, because they were used before the run was stopped.
    """

    def __init__(
        self,
        length: int,
        seed: int,
        *,
        batch: int = 1,
        rank: int = 0,
        processes: int = 1,
        epoch: int = 0,
        used: int = 0,
    ) -> None:
        self._length = length
        self._seed = seed
        self._batch = batch
        self._rank = rank
        self._processes = processes
        self._epoch = epoch
        self._used = (epoch, used)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and augmentation of ``epoch``."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Samples per epoch and process."""
        joint = self._batch * self._processes
        return self._length if self._processes == 1 else self._length // joint * self._batch

    def __iter__(self) -> Iterator[Key]:
        """The keys of the epoch."""
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._length)
        if self._processes > 1:
            parts = order[: len(self) * self._processes].reshape(-1, self._processes, self._batch)
            order = parts[:, self._rank].ravel()
        epoch, batches = self._used
        skip = batches * self._batch if self._epoch == epoch else 0
        return iter([(self._epoch, int(index)) for index in order[skip:]])


class ShareSampler(Sampler[int]):
    """Every ``processes``-th index, as often for each process: -1 fills up where there is none left.

    Args:
        length: how many indices there are.
        rank: which process this is.
        processes: how many there are.
    """

    def __init__(self, length: int, rank: int, processes: int) -> None:
        own = range(rank, length, processes)
        self._indices = [*own, *[-1] * (-(-length // processes) - len(own))]

    def __len__(self) -> int:
        """Indices for this process."""
        return len(self._indices)

    def __iter__(self) -> Iterator[int]:
        """The indices, in order."""
        return iter(self._indices)
