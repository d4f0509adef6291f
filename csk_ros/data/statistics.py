"""Statistics of label maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from csk_ros.labels import UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def class_frequencies(label_maps: Iterable[NDArray[np.uint8]], num_classes: int) -> NDArray[np.float64]:
    """Share of each class among the labelled pixels, shape (num_classes,), summing to 1.

    Raises:
        ValueError: if no pixel is labelled, or an id is neither a class nor 255.
    """
    counts = np.zeros(256, dtype=np.int64)
    for label_map in label_maps:
        counts += np.bincount(label_map.ravel(), minlength=256)
    strange = [i for i in np.flatnonzero(counts) if num_classes <= i != UNLABELLED]
    if strange:
        raise ValueError(f"the labels hold the id {strange[0]}, but there are only {num_classes} classes")
    known = counts[:num_classes]
    if not known.any():
        raise ValueError("the samples hold no labelled pixel")
    frequencies: NDArray[np.float64] = known / known.sum()
    return frequencies
