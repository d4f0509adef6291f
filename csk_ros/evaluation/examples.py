"""Which frames of an evaluation are worth a look."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from csk_ros.data import Sample
    from csk_ros.modality import Route

SHOWN = 3


@dataclass(frozen=True)
class Example:
    """A frame to look at.

    Attributes:
        sample: its images and labels.
        masks: the answer of each route, uint8 (H, W).
        route: the one whose score ranks it.
        score: of that route on this frame: mean IoU over the classes in its labels, without background.
    """

    sample: Sample
    masks: dict[Route, NDArray[np.uint8]]
    route: Route
    score: float


def pick_frames(scores: Sequence[float], shown: int = SHOWN) -> tuple[list[int], list[int]]:
    """Indices of the worst frames, worst first, and of the best, best first; none is in both.

    Neighbours look alike: the frames of each list are at least a twentieth of all apart.

    Args:
        scores: by frame; NaN leaves one out (it holds nothing but background).
        shown: how many of each at most.
    """
    ranked = sorted((i for i, score in enumerate(scores) if not math.isnan(score)), key=lambda i: scores[i])
    apart = len(scores) // 20 + 1
    half = (len(ranked) + 1) // 2
    worst = _spread(ranked[:half], apart, shown)
    return worst, _spread(ranked[half:][::-1], apart, shown)


def _spread(ranked: list[int], apart: int, shown: int) -> list[int]:
    chosen: list[int] = []
    for index in ranked:
        if len(chosen) < shown and all(abs(index - other) >= apart for other in chosen):
            chosen.append(index)
    return chosen
