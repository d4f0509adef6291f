"""The canvas: one image of codes that says, for every pixel, which material is seen there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from csk_ros.data.synthetic.camera import Camera

    Pixel = Sequence[float]

_SUBPIXEL_BITS = 3
_SCALE = 1 << _SUBPIXEL_BITS
_MATERIAL_BITS = 8
_HULL_BITS = 24
_UNHULLED = (1 << _HULL_BITS) - 1
_FLAT = 128
_SPRITE_FLAGS = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP


class Canvas:
    """Draws into codes: texture in the low 8 bits, material row in the next 16, hull label above.

    Every camera and the labels are read from the same codes, so they agree to the pixel. A hull label
    stands for a class whose outline is labelled as a filled shape although one sees through it.

    Args:
        camera: maps street points to pixels.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.codes = np.zeros((camera.height, camera.width), np.int32)

    def polygon(self, pixels: Sequence[Pixel], material: int) -> None:
        """Fill a convex polygon."""
        fixed = np.array([(int(u * _SCALE), int(v * _SCALE)) for u, v in pixels], np.int32)
        cv2.fillConvexPoly(self.codes, fixed, _code(material), 8, _SUBPIXEL_BITS)

    def rectangle(self, centre: float, half: float, top: float, bottom: float, material: int) -> None:
        """Fill an upright rectangle around the column ``centre``."""
        corners = (
            (centre - half, top),
            (centre + half, top),
            (centre + half, bottom),
            (centre - half, bottom),
        )
        self.polygon(corners, material)

    def polygons(self, pixels: NDArray[np.float32], material: int, texture: int = _FLAT) -> None:
        """Fill many simple polygons, shape (m, n, 2), that do not overlap."""
        cv2.fillPoly(self.codes, list(_fixed(pixels)), _code(material, texture), 8, _SUBPIXEL_BITS)

    def line(self, start: Pixel, end: Pixel, width: float, material: int) -> None:
        """Draw a line with round ends, ``width`` pixels wide but at least one."""
        first = (int(start[0] * _SCALE), int(start[1] * _SCALE))
        last = (int(end[0] * _SCALE), int(end[1] * _SCALE))
        cv2.line(
            self.codes, first, last, _code(material), int(min(max(1.0, width + 0.5), 200)), 8, _SUBPIXEL_BITS
        )

    def faces(
        self,
        points: NDArray[np.float32],
        faces: Sequence[NDArray[np.intp]],
        materials: Sequence[int],
        chosen: Sequence[int],
    ) -> None:
        """Fill the chosen convex faces (rows of ``points``, shape (n, 3)) in that order."""
        fixed = _fixed(self.camera.project(points))
        for face in chosen:
            code = _code(materials[face])
            cv2.fillConvexPoly(self.codes, fixed[faces[face]], code, 8, _SUBPIXEL_BITS)

    def ring(self, points: NDArray[np.float32], metres: float, material: int) -> None:
        """Draw the closed outline through street points, shape (n, 3)."""
        width = metres * self.camera.place(float(points[0, 0]), float(points[0, 2])).scale
        thickness = int(min(max(1.0, width + 0.5), 100))
        outline = [_fixed(self.camera.project(points))]
        cv2.polylines(self.codes, outline, True, _code(material), thickness, 8, _SUBPIXEL_BITS)  # noqa: FBT003 (OpenCV takes it by position)

    def ellipse(self, centre: Pixel, radii: Pixel, material: int) -> None:
        """Fill an upright ellipse with the radii (across, up)."""
        fixed = (max(1, int(radii[0] * _SCALE)), max(1, int(radii[1] * _SCALE)))
        middle = (int(centre[0] * _SCALE), int(centre[1] * _SCALE))
        cv2.ellipse(self.codes, middle, fixed, 0, 0, 360, _code(material), -1, 8, _SUBPIXEL_BITS)

    def sprite(
        self, sprite: NDArray[np.int16], box: tuple[float, float, float, float], material: int
    ) -> None:
        """Scale a sprite into a box of pixels (left, top, right, bottom).

        A sprite holds texture values, and -1 where one sees through it.
        """
        left, top, right, bottom = box
        first_column, last_column = max(0, math.ceil(left)), min(self.camera.width, math.floor(right))
        first_row, last_row = max(0, math.ceil(top)), min(self.camera.height, math.floor(bottom))
        if last_column <= first_column or last_row <= first_row:
            return
        across, down = sprite.shape[1] / (right - left), sprite.shape[0] / (bottom - top)
        shift = ((first_column - left) * across, (first_row - top) * down)
        to_sprite = np.array([[across, 0, shift[0]], [0, down, shift[1]]])
        size = (last_column - first_column, last_row - first_row)
        scaled = cv2.warpAffine(sprite, to_sprite, size, flags=_SPRITE_FLAGS, borderMode=cv2.BORDER_REPLICATE)
        codes = np.asarray(scaled, np.int32) | (material << _MATERIAL_BITS)
        target = self.codes[first_row:last_row, first_column:last_column]
        np.copyto(target, codes, where=codes >= 0)

    def hull(self, outline: Sequence[Pixel] | NDArray[np.float32], label: int) -> None:
        """Label a convex polygon as filled and leave what is seen there as it is."""
        fixed = np.asarray(np.asarray(outline, np.float32) * np.float32(_SCALE), np.int32)
        left, top, wide, high = cv2.boundingRect(fixed)
        columns = slice(
            max(0, left >> _SUBPIXEL_BITS), min(self.camera.width, 1 + ((left + wide) >> _SUBPIXEL_BITS))
        )
        rows = slice(
            max(0, top >> _SUBPIXEL_BITS), min(self.camera.height, 1 + ((top + high) >> _SUBPIXEL_BITS))
        )
        if columns.stop <= columns.start or rows.stop <= rows.start:
            return
        target = self.codes[rows, columns]
        mask = np.zeros(target.shape, np.uint8)
        fixed -= np.array((columns.start, rows.start), np.int32) << _SUBPIXEL_BITS
        cv2.fillConvexPoly(mask, fixed, 1, 8, _SUBPIXEL_BITS)
        np.copyto(target, target & _UNHULLED | (label << _HULL_BITS), where=mask.astype(bool))

    def materials(self) -> NDArray[np.intp]:
        """The material row seen in each pixel, shape (H, W)."""
        return ((self.codes >> _MATERIAL_BITS) & 0xFFFF).astype(np.intp)

    def texture(self) -> NDArray[np.uint8]:
        """The texture value of each pixel, 128 is flat, shape (H, W)."""
        return self.codes.astype(np.uint8)

    def labels(self, label_of: NDArray[np.uint8], seen: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Class ids, shape (H, W), from the label of each material row and the hulls."""
        labels = label_of.take(seen)
        hulls = (self.codes >> _HULL_BITS).astype(np.uint8)
        np.copyto(labels, hulls, where=hulls > 0)
        return labels


def _code(material: int, texture: int = _FLAT) -> int:
    return (material << _MATERIAL_BITS) | texture


def _fixed(pixels: NDArray[np.float32]) -> NDArray[np.int32]:
    return np.asarray(pixels * np.float32(_SCALE), np.float32).astype(np.int32)
