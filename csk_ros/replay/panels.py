"""Parts of the pictures of a replay: images at one size, captions, overlays. All are uint8 RGB, (H, W, 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from csk_ros.evaluation.drawing import ROUTE_COLORS
from csk_ros.inference.overlay import draw_overlay, grey8
from csk_ros.replay.moments import cause_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csk_ros.labels import LabelSet
    from csk_ros.modality import Route
    from csk_ros.replay.result import FrameRow
    from csk_ros.replay.seen import SeenFrame

    Picture = NDArray[np.uint8]
    Color = tuple[int, int, int]

PANEL = (360, 270)
"""Width and height of a panel."""

BAR = 34
"""Height of a caption."""

WHITE: Color = (255, 255, 255)
GREY: Color = (120, 120, 120)
DARK: Color = (24, 24, 24)

_OPACITY = 0.6
_FONT = cv2.FONT_HERSHEY_DUPLEX


def frame_panels(frame: SeenFrame, label_set: LabelSet, size: tuple[int, int] = PANEL) -> list[Picture]:
    """EO, IR and mask of a frame; what is missing is a dark panel that says so."""
    mask, why = frame.mask, f"not used: {cause_words(frame.row.cause)}" if frame.row.route else "not there"
    eo = empty(f"EO {why}", size) if frame.eo is None else fit(frame.eo, size)
    ir = empty(f"IR {why}", size) if frame.ir is None else fit(grey_rgb(frame.ir), size)
    masked = empty("no mask", size) if mask is None else fit(over_image(frame, mask, label_set), size)
    return [eo, ir, masked]


def over_image(frame: SeenFrame, labels: Picture, label_set: LabelSet) -> Picture:
    """Classes over the thermal image, else over the optical one, else over black."""
    if frame.ir is None and frame.eo is None:
        return draw_overlay(labels, label_set, ir=np.zeros_like(labels), opacity=_OPACITY)
    eo = frame.eo if frame.ir is None else None
    return draw_overlay(labels, label_set, eo=eo, ir=frame.ir, opacity=_OPACITY)


def fit(image: Picture, size: tuple[int, int] = PANEL) -> Picture:
    """The image at that width and height, in its own proportions, on black."""
    height, width = image.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inner = (max(round(width * scale), 1), max(round(height * scale), 1))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    fitted = cv2.resize(image, inner, interpolation=method)
    panel = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - inner[1]) // 2, (size[0] - inner[0]) // 2
    panel[top : top + inner[1], left : left + inner[0]] = fitted
    return panel


def empty(text: str, size: tuple[int, int] = PANEL) -> Picture:
    """A dark panel with a text."""
    panel = np.full((size[1], size[0], 3), DARK, np.uint8)
    (width, _), _ = cv2.getTextSize(text, _FONT, 1.0, 1)
    scale = min(0.6, 0.9 * size[0] / width)
    put(panel, text, (round((size[0] - width * scale) / 2), size[1] // 2), WHITE, scale)
    return panel


def grey_rgb(ir: NDArray[Any]) -> Picture:
    """A thermal image in grey."""
    return cv2.cvtColor(grey8(ir), cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]


def caption(row: FrameRow, text: str, right: str, width: int) -> Picture:
    """A bar in the colour of the route: time, route and a text, and another at its right end."""
    bar = np.full((BAR, width, 3), route_rgb(row.route), np.uint8)
    name = row.route.value if row.route else "no mask"
    put(bar, f"{row.seconds:6.2f} s   {name}" + (f": {text}" if text else ""), (12, 24), WHITE)
    (extent, _), _ = cv2.getTextSize(right, _FONT, 0.6, 1)
    put(bar, right, (width - extent - 12, 24), WHITE)
    return bar


def route_rgb(route: Route | None) -> Color:
    """The colour of a route; grey for a frame without a mask."""
    return rgb(ROUTE_COLORS[route]) if route else GREY


def rgb(color: str) -> Color:
    """``#rrggbb`` as three numbers."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def put(image: Picture, text: str, at: tuple[int, int], color: Color, scale: float = 0.6) -> None:
    """Write ASCII text into an image."""
    cv2.putText(image, text, at, _FONT, scale, color, 1, cv2.LINE_AA)
