"""Image files of data sets: colour, thermal and label maps, read as they are or refused by name."""

from __future__ import annotations

import struct
import zlib
from itertools import combinations
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""What image files of data sets end in."""

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_PNG_END, _JPEG_END = b"IEND\xaeB`\x82", b"\xff\xd9"
_PALETTE = b"\x03"  # the colour type of a PNG whose pixels are indices
_GREY_STEP = {1: 255, 2: 85, 4: 17}  # a decoder spreads grey of fewer bits over 0 to 255
_JPEG_SPREAD = 8  # levels by which lossy compression may part the channels of a grey picture


class ImageFileError(ValueError):
    """A file is not a whole image."""


class PixelFormatError(ValueError):
    """An image has other channels or another type than its place asks for."""


def read_eo(path: Path) -> NDArray[np.uint8]:
    """The optical image at ``path``, uint8 RGB, shape (H, W, 3); an alpha channel is left out.

    Raises:
        ImageFileError: the file is empty, cut short or no image.
        PixelFormatError: it is not 8-bit colour.
    """
    image = decode(path)
    if image.ndim != 3 or image.shape[2] not in {3, 4} or image.dtype != np.uint8:
        raise PixelFormatError(f"{path} {_has(image)}: an optical image has 3 channels of uint8")
    order = cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGB
    return np.asarray(cv2.cvtColor(image, order), np.uint8)


def read_ir(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The thermal image at ``path``, uint8 or uint16, shape (H, W).

    Three equal channels count as one; those of a JPEG may differ by a few levels.

    Raises:
        ImageFileError: the file is empty, cut short or no image.
        PixelFormatError: it is truly coloured, or neither uint8 nor uint16.
    """
    image = decode(path)
    if image.dtype not in {np.dtype(np.uint8), np.dtype(np.uint16)}:
        raise PixelFormatError(f"{path} {_has(image)}: a thermal image is uint8 or uint16")
    if image.ndim == 2:
        return image
    spread = _spread(image)
    if spread > (_JPEG_SPREAD if path.suffix.lower() in {".jpg", ".jpeg"} else 0):
        raise PixelFormatError(
            f"{path} is coloured, its channels differ by up to {spread}: a thermal image is grey; "
            "look for the data set's uncoloured images, a colour scale cannot be undone"
        )
    return np.asarray(cv2.extractChannel(image, 1), image.dtype)


def read_ids(path: Path) -> NDArray[np.uint8]:
    """The label map at ``path`` as it is stored, uint8, shape (H, W).

    The pixels of a PNG with a palette are its indices. Three equal channels count as one.

    Raises:
        ImageFileError: the file is empty, cut short or no image.
        PixelFormatError: it holds colours, or is not uint8.
    """
    image = decode(path, palette_indices=True)
    if image.ndim == 3 and not _spread(image):
        image = image[..., 0]
    if image.ndim != 2 or image.dtype != np.uint8:
        raise PixelFormatError(
            f"{path} {_has(image)}: a label map has 1 channel of uint8 that holds ids, not their colours"
        )
    return np.ascontiguousarray(image).astype(np.uint8, copy=False)


def read_rgbt(path: Path) -> NDArray[np.uint8]:
    """The four channels R, G, B, thermal at ``path``, uint8, shape (H, W, 4), as MFNet stores them.

    Raises:
        ImageFileError: the file is empty, cut short or no image.
        PixelFormatError: it has other channels, or is not uint8.
    """
    image = decode(path)
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise PixelFormatError(f"{path} {_has(image)}: 4 of uint8 were expected (R, G, B, thermal)")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), np.uint8)


def decode(path: Path, *, palette_indices: bool = False) -> NDArray[Any]:
    """The pixels at ``path`` with the file's own channels (colours as B, G, R) and type.

    Args:
        path: an image file.
        palette_indices: give the indices of a PNG with a palette, not its colours.

    Raises:
        ImageFileError: the file is empty, cut short or no image.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    _require_end(data, path)
    spread = 1
    if palette_indices and data.startswith(_PNG) and data[25:26] == _PALETTE:
        spread = _GREY_STEP.get(data[24], 1)
        data = _without_palette(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:  # a size beyond reason
        raise ImageFileError(f"{path} is not an image: {error.err}; fetch it again") from error
    if image is None:
        raise ImageFileError(f"{path} is not an image that can be decoded: fetch it again")
    pixels: NDArray[Any] = image
    return pixels // np.uint8(spread) if spread > 1 else pixels


def _require_end(data: bytes, path: Path) -> None:
    """Some versions of OpenCV decode a file that was cut short, and leave the rest black."""
    if not data:
        raise ImageFileError(f"{path} is not an image: it is empty; fetch it again")
    for start, end in ((_PNG, _PNG_END), (_JPEG, _JPEG_END)):
        if data.startswith(start) and end not in data[-4096:]:
            raise ImageFileError(f"{path} is cut short after {len(data)} bytes: fetch it again")


def _without_palette(data: bytes) -> bytes:
    """The PNG as a grey one: its pixels are the indices into the palette it had."""
    kept, position = [_PNG], len(_PNG)
    while position + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        chunk = data[position + 4 : position + 8 + length]
        if chunk[:4] == b"IHDR":
            chunk = chunk[:13] + b"\0" + chunk[14:]
            kept.append(struct.pack(">I", length) + chunk + struct.pack(">I", zlib.crc32(chunk)))
        elif chunk[:4] not in {b"PLTE", b"tRNS", b"bKGD"}:
            kept.append(data[position : position + 12 + length])
        position += 12 + length
    return b"".join(kept)


def _spread(image: NDArray[Any]) -> int:
    """The greatest difference between two of the first three channels."""
    pairs = combinations(cv2.split(image)[:3], 2)  # a tenth of the time of np.ptp
    return max(int(cv2.absdiff(a, b).max()) for a, b in pairs)


def _has(image: NDArray[Any]) -> str:
    return f"has {1 if image.ndim == 2 else image.shape[2]} channels of {image.dtype}"
