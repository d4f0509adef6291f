"""Pictures of a segmentation for people: class colours over the camera image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csk_ros.labels import LabelSet


def draw_overlay(
    labels: NDArray[np.uint8],
    label_set: LabelSet,
    *,
    eo: NDArray[np.uint8] | None = None,
    ir: NDArray[Any] | None = None,
    opacity: float = 0.5,
) -> NDArray[np.uint8]:
    """Blend class colours over the optical image, or over the thermal one where there is no optical.

    Args:
        labels: (H, W) uint8 ids. Classes whose colour is black are left clear.
        label_set: the colours.
        eo: (h, w, 3) uint8 RGB, resized to the labels' size.
        ir: (h, w) uint8 or uint16, shown in grey.
        opacity: 0 shows the image alone, 1 the classes alone.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if neither image is given.
    """
    height, width = labels.shape
    if eo is not None:
        image = eo
    elif ir is not None:
        image = cv2.cvtColor(grey8(ir), cv2.COLOR_GRAY2RGB)  # type: ignore[assignment]
    else:
        raise ValueError("an overlay needs an image: pass eo or ir")
    if image.shape[:2] != labels.shape:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    palette = label_set.palette()
    colors = palette[labels]
    blended = cv2.addWeighted(image, 1 - opacity, colors, opacity, 0)
    clear = (palette.max(axis=1) == 0)[labels]
    blended[clear] = image[clear]
    return blended  # type: ignore[return-value]


def grey8(ir: NDArray[Any]) -> NDArray[np.uint8]:
    """A thermal image as 8-bit grey for display; 16 bits are stretched from 1st to 99th percentile."""
    if ir.dtype == np.uint8:
        return ir
    low, high = np.percentile(ir[::4, ::4], (1, 99))
    scaled = (ir.astype(np.float32) - low) * (255.0 / max(high - low, 1.0))
    grey: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return grey
