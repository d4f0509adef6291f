"""Thermal counts as 8-bit images, for what computes on those."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def thermal_to_uint8(ir: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """8-bit thermal as it is; 16-bit scaled from its 1st to 99th percentile, as the Segmenter scales it."""
    if ir.dtype == np.uint8:
        return ir.astype(np.uint8, copy=False)
    low, high = np.percentile(ir, (1, 99))
    scaled = (ir.astype(np.float32) - low) * (255.0 / max(high - low, 1.0))
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)
