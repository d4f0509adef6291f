"""A pinhole camera that drives along the street."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR_M = 0.6
FAR_M = 130.0
_PIXEL_LIMIT = 6000.0


class Place(NamedTuple):
    """Where a point of the ground is seen: pixel (u, v), and pixels per metre there."""

    u: float
    v: float
    scale: float


@dataclass(frozen=True)
class Camera:
    """Where the camera is and how it maps street coordinates to pixels.

    Street coordinates are metres: x to the right of the road's middle, y above the road, s along it.
    The street's bend is part of the projection: what is ``d`` metres ahead shifts by ``bend * d**2``.

    Attributes:
        height: of the image, pixels.
        width: of the image, pixels.
        focal: focal length, pixels.
        horizon: image row of the horizon (moves with the pitch).
        x: lateral position, metres.
        eye: height above the road, metres.
        s: way along the street, metres.
        yaw: heading against the street, radians, right positive.
        bend: half the street's curvature, 1/m.
    """

    height: int
    width: int
    focal: float
    horizon: float
    x: float
    eye: float
    s: float
    yaw: float
    bend: float

    def project(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pixels (u, v) of street points, shape (..., 3) to (..., 2).

        What is behind is held at the near plane.
        """
        ahead = np.maximum(points[..., 2] - np.float32(self.s), np.float32(NEAR_M))
        scale = np.float32(self.focal) / ahead
        aside = points[..., 0] - np.float32(self.x) - self.lateral_shift(ahead)
        pixels = np.empty((*points.shape[:-1], 2), np.float32)
        pixels[..., 0] = np.float32(self.width / 2) + aside * scale
        pixels[..., 1] = np.float32(self.horizon) + (np.float32(self.eye) - points[..., 1]) * scale
        np.minimum(pixels, np.float32(_PIXEL_LIMIT), out=pixels)
        return np.maximum(pixels, np.float32(-_PIXEL_LIMIT), out=pixels)

    def lateral_shift(self, ahead: NDArray[np.float32]) -> NDArray[np.float32]:
        """By how many metres the street's middle moves left of the optical axis at that distance."""
        return ahead * np.float32(self.yaw) - np.float32(self.bend) * ahead * ahead

    def place(self, x: float, s: float) -> Place:
        """Where the ground at (x, s) is seen; what is behind is held at the near plane."""
        ahead = max(s - self.s, NEAR_M)
        scale = self.focal / ahead
        aside = x - self.x - self.yaw * ahead + self.bend * ahead * ahead
        return Place(self.width / 2 + aside * scale, self.horizon + self.eye * scale, scale)

    def pixel(self, x: float, y: float, s: float) -> tuple[float, float]:
        """The pixel (u, v) of one street point: :meth:`project` without the cost of arrays."""
        u, v, scale = self.place(x, s)
        return (
            max(-_PIXEL_LIMIT, min(u, _PIXEL_LIMIT)),
            max(-_PIXEL_LIMIT, min(v - y * scale, _PIXEL_LIMIT)),
        )

    def first_ground_row(self) -> int:
        """The topmost image row that shows ground, at most ``height``."""
        return int(np.clip(np.ceil(self.horizon + self.focal * self.eye / FAR_M), 0, self.height))

    def ground_ahead(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """How many metres ahead the ground in these image rows lies."""
        below = np.maximum(rows - np.float32(self.horizon), np.float32(0.5))
        return np.asarray(np.float32(self.focal * self.eye) / below, np.float32)

    def ground_aside(self, columns: NDArray[np.float32], ahead: NDArray[np.float32]) -> NDArray[np.float32]:
        """Street x of ground pixels, shape (rows, columns), from columns (n,) and ``ahead`` (m, 1)."""
        across = (columns - np.float32(self.width / 2)) / np.float32(self.focal)
        return across * ahead + (np.float32(self.x) + self.lateral_shift(ahead))
