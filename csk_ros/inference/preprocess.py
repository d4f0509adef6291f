"""Camera images to normalised network inputs, on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from csk_ros.inference.errors import InputError
from csk_ros.modality import Modality

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csk_ros.network import Normalisation

PERCENTILES = (0.01, 0.99)
"""16-bit thermal counts at these shares of an image become 0 and 1."""

_LEVELS = 1 << 16


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


def upload(image: NDArray[Any], device: torch.device) -> torch.Tensor:
    """The bytes of a camera image on the device, as (1, C, H, W).

    uint16 arrives as int16 of the same bits, which every torch version can copy; :func:`to_unit` undoes it.
    """
    if image.dtype == np.uint16:
        image = (
            image.view(np.int16) if image.flags.c_contiguous else np.ascontiguousarray(image).view(np.int16)
        )
    image = np.require(image, requirements=("C", "W"))
    tensor = torch.from_numpy(image).to(device)
    return (tensor if tensor.dim() == 3 else tensor[..., None]).permute(2, 0, 1)[None]


def to_unit(image: torch.Tensor) -> torch.Tensor:
    """Pixels to float32 in 0..1: uint8 by 255, 16-bit by its own percentiles.

    Args:
        image: what :func:`upload` gave, (1, C, H, W).
    """
    if image.dtype == torch.uint8:
        return image.float() / 255
    counts = image.to(torch.int32) & (_LEVELS - 1)
    low, high = count_percentiles(counts)
    return ((counts - low) / (high - low).clamp(min=1)).clamp(0, 1)


def count_percentiles(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest counts that at least 1 % and 99 % of the pixels do not exceed, from the exact histogram.

    Args:
        counts: int32, 0 to 65535.

    Returns:
        Two int64 scalars on the device.
    """
    cumulative = torch.bincount(counts.flatten(), minlength=_LEVELS).cumsum(0)
    # shares in integers: float32 cannot count all pixels of a large image
    ranks = torch.tensor(
        [-(-round(share * 100) * counts.numel() // 100) for share in PERCENTILES], device=counts.device
    )
    low, high = torch.searchsorted(cumulative, ranks)
    return low, high


def resize_image(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear resize of float (1, C, H, W) to ``size`` (height, width), low-passed where it shrinks."""
    height, width = image.shape[-2:]
    if (height, width) == size:
        return image
    shrinks = size[0] < height or size[1] < width
    return functional.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=shrinks)


def normalise(image: torch.Tensor, normalisation: Normalisation) -> torch.Tensor:
    """Subtract the mean and divide by the standard deviation of each channel, in place."""
    mean, std = (
        torch.tensor(values, device=image.device)[None, :, None, None]
        for values in (normalisation.mean, normalisation.std)
    )
    return image.sub_(mean).div_(std)
