"""Camera images to levels of the working size, on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from csk_ros.inference.errors import InputError
from csk_ros.inference.graph import LEVELS
from csk_ros.modality import Modality

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERCENTILES = (0.01, 0.99)
"""16-bit thermal counts at these shares of an image become levels 0 and 255."""

_COUNTS = 1 << 16
_LANES = 4
"""Channels with which torch resizes bytes fastest."""


def check_image(modality: Modality, image: NDArray[Any]) -> None:
    """Refuse what is not an image of ``modality``.

    Raises:
        InputError: for a wrong type, dtype, shape, or no pixels.
    """
    wanted = "uint8 (H, W, 3) RGB" if modality is Modality.EO else "uint8 or uint16 (H, W)"
    if not isinstance(image, np.ndarray):
        raise InputError(f"{modality.value} must be a numpy array, {wanted}, not {type(image).__name__}")
    dtypes = (np.uint8,) if modality is Modality.EO else (np.uint8, np.uint16)
    shaped = image.ndim == 3 and image.shape[2] == 3 if modality is Modality.EO else image.ndim == 2
    if not shaped or image.dtype not in dtypes:
        raise InputError(f"{modality.value} must be {wanted}, not {image.dtype} {image.shape}")
    if image.size == 0:
        raise InputError(f"{modality.value} has no pixels: {image.shape}")


def levels(image: NDArray[Any], size: tuple[int, int], device: torch.device) -> torch.Tensor:
    """A camera image as an engine takes it: (1, H, W, C) levels 0 to 255, of the working size, on the device.

    Args:
        image: uint8 (H, W, 3), or uint8 or uint16 (H, W).
        size: height and width to resize to.
        device: where to.

    Returns:
        uint8 of 8-bit images that keep their size or are resized on the CPU, else float32.
    """
    planes = upload(image, device).permute(0, 3, 1, 2)
    stays = tuple(planes.shape[-2:]) == size
    # on the CPU torch resizes bytes in an eighth of the time (benchmarks/resizing.py); CUDA cannot
    if planes.dtype != torch.uint8 or (device.type != "cpu" and not stays):
        planes = to_levels(planes)
    return resize_image(planes, size).permute(0, 2, 3, 1)


def upload(image: NDArray[Any], device: torch.device) -> torch.Tensor:
    """The bytes of a camera image on the device, as (1, H, W, C).

    uint16 arrives as int16 of the same bits, which every torch version can copy; :func:`to_levels` undoes it.
    """
    if image.dtype == np.uint16:
        image = (
            image.view(np.int16) if image.flags.c_contiguous else np.ascontiguousarray(image).view(np.int16)
        )
    image = np.require(image, requirements=("C", "W"))
    tensor = torch.from_numpy(image)
    if device.type == "cuda":  # from pinned memory the device fetches it by itself
        tensor = tensor.pin_memory()
    tensor = tensor.to(device, non_blocking=True)
    return (tensor if tensor.dim() == 3 else tensor[..., None])[None]


def to_levels(image: torch.Tensor) -> torch.Tensor:
    """Pixels to float32 levels 0 to 255: uint8 as they are, 16-bit by their own percentiles.

    Args:
        image: what :func:`upload` gave.
    """
    if image.dtype == torch.uint8:
        return image.float()
    counts = image.to(torch.int32) & (_COUNTS - 1)
    low, high = count_percentiles(counts)
    return ((counts - low) / (high - low).clamp(min=1)).clamp_(0, 1).mul_(LEVELS)


def count_percentiles(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest counts that at least 1 % and 99 % of the pixels do not exceed, from the exact histogram.

    Args:
        counts: int32, 0 to 65535.

    Returns:
        Two int64 scalars on the device.
    """
    cumulative = torch.bincount(counts.flatten(), minlength=_COUNTS).cumsum(0)
    # shares in integers: float32 cannot count all pixels of a large image
    ranks = torch.tensor(
        [-(-round(share * 100) * counts.numel() // 100) for share in PERCENTILES], device=counts.device
    )
    low, high = torch.searchsorted(cumulative, ranks)
    return low, high


def resize_image(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear resize of (1, C, H, W) to ``size`` (height, width), low-passed where it shrinks.

    Of uint8 on the CPU, float32 anywhere.
    """
    channels, height, width = image.shape[-3:]
    if (height, width) == size:
        return image
    shrinks = size[0] < height or size[1] < width
    if image.dtype == torch.uint8 and channels == 1 and height % _LANES == size[1] % _LANES == 0:
        return _resize_plane(image, size, low_pass=shrinks)
    return functional.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=shrinks)


def _resize_plane(image: torch.Tensor, size: tuple[int, int], *, low_pass: bool) -> torch.Tensor:
    """The same bytes in a quarter of the time (``benchmarks/resizing.py``): torch is slow with one channel.

    Where only the height changes, pixels side by side may as well be channels of one, with which it is fast.
    """
    plane = image[0, 0].numpy()
    for side in reversed(size):  # torch, too, resizes the width first
        height, width = (plane := np.asarray(cv2.transpose(plane))).shape
        pixels = torch.from_numpy(plane).view(1, height, width // _LANES, _LANES).permute(0, 3, 1, 2)
        resized = functional.interpolate(
            pixels, size=(side, width // _LANES), mode="bilinear", align_corners=False, antialias=low_pass
        )
        plane = resized.permute(0, 2, 3, 1).reshape(side, width).numpy()
    return torch.from_numpy(plane)[None, None]
