"""Textures and sprites that all scenes share, made once per process from a fixed seed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILE = 512
TILE_PER_METRE = 24
SPRITE = 224
CROWNS = 6
GRAIN_MIDDLE, GRAIN_SPREAD = 127.5, 36.0
_SLACK = 101
_SEED = 20240229


def _clouds(
    rng: np.random.Generator, size: int, coarsest: int, finest: int, fall: float
) -> NDArray[np.float32]:
    """Fractal noise of unit variance that tiles, shape (size, size)."""
    total = np.zeros((size, size), np.float32)
    cells, weight = coarsest, 1.0
    while cells <= finest:
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        padded = np.pad(grid, 2, mode="wrap")
        step = size // cells
        fine = cv2.resize(padded, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += weight * fine[2 * step : 2 * step + size, 2 * step : 2 * step + size]
        cells, weight = cells * 2, weight * fall
    return np.asarray((total - total.mean()) / total.std(), np.float32)


def _as_texture(values: NDArray[np.float32], spread: float) -> NDArray[np.int16]:
    return np.asarray(np.clip(128 + spread * values, 0, 255), np.int16)


def _fitted(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(values, (size, size)), np.float32)


@lru_cache(maxsize=1)
def ground_tile() -> NDArray[np.int32]:
    """Asphalt grain, patches and cracks; tiles; shape (TILE, TILE), 128 is flat."""
    rng = np.random.default_rng(_SEED)
    grain = _clouds(rng, TILE, 64, 512, 1.0)
    patches = _clouds(rng, TILE, 2, 32, 0.7)
    return _as_texture(grain * 0.6 + patches * 0.6, 32).astype(np.int32)


@lru_cache(maxsize=1)
def sky_tile() -> NDArray[np.int32]:
    """Clouds, wider than high, shape (TILE, TILE), 128 is flat."""
    clouds = _clouds(np.random.default_rng(_SEED + 1), TILE, 2, 128, 0.55)
    return _as_texture(_fitted(clouds[::2], TILE), 34).astype(np.int32)


@lru_cache(maxsize=CROWNS)
def crown(index: int) -> NDArray[np.int16]:
    """The crown of a tree: leaf clusters with gaps, lit from above, -1 where one sees through."""
    rng = np.random.default_rng(_SEED + 10 + index)
    y, x = np.mgrid[-1 : 1 : SPRITE * 1j, -1 : 1 : SPRITE * 1j].astype(np.float32)
    body = np.full_like(x, -1.0)
    for _ in range(14):
        cx, cy = rng.normal(0, 0.32, 2)
        radius = rng.uniform(0.3, 0.55)
        body = np.maximum(body, 1 - np.hypot(x - cx, (y - cy) * 1.15) / radius)
    body = np.minimum(body, 1.6 * (1 - np.maximum(np.abs(x), np.abs(y))))
    leaves = _fitted(_clouds(rng, 256, 8, 128, 0.75), SPRITE)
    clusters = _fitted(_clouds(rng, 256, 4, 16, 0.6), SPRITE)
    seen = body + 0.22 * clusters + 0.16 * leaves > 0.12
    texture = _as_texture(leaves * 0.75 + clusters * 0.55 - 0.8 * y, 34)
    return np.where(seen, texture, np.int16(-1))


@lru_cache(maxsize=1)
def bush() -> NDArray[np.int16]:
    """A trimmed hedge's side: dense leaves with a ragged edge, -1 where one sees through."""
    rng = np.random.default_rng(_SEED + 50)
    y, x = np.mgrid[-1 : 1 : SPRITE * 1j, -1 : 1 : SPRITE * 1j].astype(np.float32)
    leaves = _fitted(_clouds(rng, 256, 16, 256, 0.9), SPRITE)
    seen = 1 - np.maximum(np.abs(x) ** 4, np.clip(-y, 0, 1) ** 4) + 0.06 * leaves > 0.14
    return np.where(seen, _as_texture(leaves - 0.6 * y, 36), np.int16(-1))


@lru_cache(maxsize=4)
def _noise_bank(height: int, width: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(_SEED + 90)
    return rng.standard_normal((height + _SLACK, width + _SLACK), np.float32)


def noise_window(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Unit Gaussian noise, a window at a random place of a larger bank, shape (height, width)."""
    top, left = rng.integers(0, _SLACK, 2)
    return _noise_bank(height, width)[top : top + height, left : left + width]


@lru_cache(maxsize=4)
def _grain_bank(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(_SEED + 91)
    noise = rng.standard_normal((height + _SLACK, width + _SLACK, 3), np.float32)
    return np.asarray(np.clip(noise * GRAIN_SPREAD + GRAIN_MIDDLE, 0, 255), np.uint8)


def grain_window(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """RGB noise around ``GRAIN_MIDDLE`` of standard deviation ``GRAIN_SPREAD``, shape (height, width, 3)."""
    top, left = rng.integers(0, _SLACK, 2)
    return _grain_bank(height, width)[top : top + height, left : left + width]
