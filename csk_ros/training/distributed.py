"""What several processes that train together have to agree on; with one process all of it does nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import distributed

from csk_ros.evaluation.metrics import Scores

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csk_ros.evaluation.metrics import RouteScores
    from csk_ros.labels import LabelSet
    from csk_ros.modality import Route


def is_main_process() -> bool:
    """Whether this process writes files and talks; known from the environment before the processes meet."""
    return int(rank_zero_only.rank) == 0  # type: ignore[attr-defined]  # Lightning sets it on the function


def launched_processes() -> tuple[int, int] | None:
    """Processes per machine and machines, as ``torchrun`` started them; None if it did not."""
    if not distributed.is_available() or not distributed.is_torchelastic_launched():
        return None
    per_machine = int(os.environ["LOCAL_WORLD_SIZE"])
    return per_machine, int(os.environ["WORLD_SIZE"]) // per_machine


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """The mean of all processes' ``value``, without a gradient; every process has to ask for it.

    A loss that is a sum over pixels divided by this mean of its denominators is, averaged over the processes
    (as their gradients are), exactly the loss of the joint batch.
    """
    if not _joined():
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def joint_scores(
    counts: RouteScores, routes: Iterable[Route], label_set: LabelSet, device: torch.device
) -> dict[Route, Scores]:
    """The scores of each route over the frames of all processes; every process has to ask for them.

    Args:
        counts: what this process counted.
        routes: the same for every process.
        label_set: the classes.
        device: where the processes exchange tensors.
    """
    return {route: _joint(counts, route, label_set, device) for route in routes}


def _joint(counts: RouteScores, route: Route, label_set: LabelSet, device: torch.device) -> Scores:
    own = Scores(label_set, np.zeros((len(label_set),) * 2, np.int64), 0)
    if route in counts.routes:
        own = counts.scores(route)
    if not _joined():
        return own
    total = torch.tensor([*own.confusion.ravel().tolist(), own.frames], device=device)
    distributed.all_reduce(total)
    *confusion, frames = total.tolist()
    return Scores(label_set, np.array(confusion, np.int64).reshape(own.confusion.shape), frames)


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
