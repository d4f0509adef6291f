"""sensor_msgs image fields to arrays and back, duck-typed: one code for live and bagged messages.

Nothing here imports ROS: a message is anything with the fields of ``sensor_msgs/Image`` (``height``,
``width``, ``encoding``, ``is_bigendian``, ``step``, ``data``) or of ``sensor_msgs/CompressedImage``
(``format``, ``data``). Encodings beyond the common ones (Bayer, YUV) are left to ``cv_bridge`` where ROS is
installed, else to ``rosbags-image``; both are looked for when such an image comes.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from csk_ros.compressed import CompressedError, Encoded, decode, inspect

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixels = NDArray[Any]  # uint8 or uint16

MAX_PIXELS = 64_000_000
"""The largest image that is read; a header that claims more is taken for corrupt."""

MAX_FRAME_ID = 256
"""Characters of the longest ``frame_id`` that is taken; every output repeats it."""

_SECOND = 1_000_000_000


_THIN_SIDE = 60
_LUMA_FIRST_BYTE = {"yuv422": 1, "uyvy": 1, "yuv422_yuy2": 0, "yuyv": 0}


class ImageError(ValueError):
    """An image message that cannot be read; says which field is wrong."""


class _Layout(NamedTuple):
    dtype: type[np.uint8 | np.uint16]
    channels: int
    to_rgb: int | None
    to_grey: int | None


_LAYOUTS = {
    "mono8": _Layout(np.uint8, 1, cv2.COLOR_GRAY2RGB, None),
    "8UC1": _Layout(np.uint8, 1, cv2.COLOR_GRAY2RGB, None),
    "mono16": _Layout(np.uint16, 1, cv2.COLOR_GRAY2RGB, None),
    "16UC1": _Layout(np.uint16, 1, cv2.COLOR_GRAY2RGB, None),
    "rgb8": _Layout(np.uint8, 3, None, cv2.COLOR_RGB2GRAY),
    "bgr8": _Layout(np.uint8, 3, cv2.COLOR_BGR2RGB, cv2.COLOR_BGR2GRAY),
    "rgba8": _Layout(np.uint8, 4, cv2.COLOR_RGBA2RGB, cv2.COLOR_RGBA2GRAY),
    "bgra8": _Layout(np.uint8, 4, cv2.COLOR_BGRA2RGB, cv2.COLOR_BGRA2GRAY),
}


def read_eo(message: Any) -> Pixels:
    """The optical pixels of an ``Image`` or ``CompressedImage``: (H, W, 3) uint8 RGB.

    A view on the message's data where its layout already fits.

    Raises:
        ImageError: if the fields contradict each other, the encoding is not known, the compressed data
            cannot be decoded, or the image has 16 bits.
    """
    if _is_foreign(message):
        return _convert_elsewhere(message, "rgb8")
    pixels, layout = _read(message)
    if layout.dtype is np.uint16:
        raise ImageError("a 16-bit image cannot be the optical one: are the eo and ir topics swapped?")
    return pixels if layout.to_rgb is None else cv2.cvtColor(pixels, layout.to_rgb)


def read_ir(message: Any) -> Pixels:
    """The thermal pixels of an ``Image`` or ``CompressedImage``: (H, W) uint8 or uint16, colour made grey.

    Raises:
        ImageError: if the fields contradict each other, the encoding is not known, or the compressed data
            cannot be decoded.
    """
    if _is_foreign(message):
        return _convert_elsewhere(message, "mono16" if message.encoding.endswith("16") else "mono8")
    pixels, layout = _read(message)
    return pixels if layout.to_grey is None else cv2.cvtColor(pixels, layout.to_grey)


def is_png(message: Any) -> bool:
    """Whether it is a ``CompressedImage`` that holds a PNG."""
    return not hasattr(message, "encoding") and bytes(message.data[:4]) == b"\x89PNG"


def decompress(message: Any) -> Any:
    """A ``CompressedImage`` as what an ``Image`` of the same pixels has for fields.

    Raises:
        ImageError: if the compressed data cannot be decoded.
    """
    pixels = np.ascontiguousarray(_decompress(message))
    return SimpleNamespace(
        header=message.header,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=_decompressed_encoding(pixels),
        is_bigendian=0,
        step=pixels.strides[0],
        data=pixels.view(np.uint8).reshape(-1),
    )


def check_image(message: Any, *, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse what :func:`read_eo` and :func:`read_ir` would refuse, as far as can be told without decoding.

    Args:
        message: an ``Image`` or ``CompressedImage``.
        max_pixels: largest image to let through, at most :data:`MAX_PIXELS`.

    Raises:
        ImageError: as :func:`read_ir`.
    """
    if not hasattr(message, "encoding"):
        _inspect(message, max_pixels)
        return
    _check_size(int(message.height), int(message.width), max_pixels)
    if _is_foreign(message):
        _check_foreign(message)
    else:
        raw_pixels(message)


def check_header(header: Any) -> None:
    """Refuse a ``std_msgs/Header`` that no output can carry; a stamp of 0 or less means that there is none.

    Raises:
        ImageError: for a stamp with 1e9 or more nanoseconds, or a ``frame_id`` over :data:`MAX_FRAME_ID`.
    """
    if header.stamp.nanosec >= _SECOND:
        raise ImageError(f"stamp with {header.stamp.nanosec} ns in its second: there are {_SECOND}")
    if len(header.frame_id) > MAX_FRAME_ID:
        raise ImageError(f"frame_id of {len(header.frame_id)} characters: use at most {MAX_FRAME_ID}")


def raw_pixels(message: Any) -> Pixels:
    """The pixels of an ``Image`` as its encoding lays them out: (H, W) or (H, W, channels), native endian.

    A view on the message's data where it is native endian.

    Raises:
        ImageError: as :func:`read_ir`.
    """
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        raise ImageError(f"encoding {_shown(message.encoding)} is none of {', '.join(_LAYOUTS)}")
    height, width, step = int(message.height), int(message.width), int(message.step)
    _check_size(height, width)
    dtype = np.dtype(layout.dtype).newbyteorder(">" if message.is_bigendian else "<")
    row = width * layout.channels * dtype.itemsize
    if step < row or step % dtype.itemsize:
        raise ImageError(f"step {step} does not fit {width} px of {message.encoding}, which need {row} bytes")
    data = np.frombuffer(message.data, dtype=np.uint8)
    # Some drivers leave the padding of the last row out.
    if not (height - 1) * step + row <= data.size <= height * step:
        raise ImageError(
            f"data holds {data.size} bytes where height {height} x step {step} = {height * step} are due"
        )
    shape = (height, width) if layout.channels == 1 else (height, width, layout.channels)
    strides = (step, layout.channels * dtype.itemsize, dtype.itemsize)[: len(shape)]
    return np.ndarray(shape, dtype, data, strides=strides).astype(layout.dtype, copy=False)


def thin_pixels(message: Any) -> Pixels | None:
    """Some 60 x 60 or more pixels of an image, evenly spread: (H', W') uint8 or uint16, or None.

    The green channel of a raw colour image, the brightness of other YUV and Bayer images; None for
    encodings whose brightness is not known here. A raw image costs next to nothing, a compressed one is
    decoded: a JPEG at an eighth of its size, others in full.

    Raises:
        ImageError: as :func:`read_ir`.
    """
    if not hasattr(message, "encoding"):
        flags = cv2.IMREAD_REDUCED_GRAYSCALE_8 if _is_jpeg(message.data) else cv2.IMREAD_UNCHANGED
        return _thin(_decompress(message, flags))
    if message.encoding in _LAYOUTS:
        return _thin(raw_pixels(message))
    return _thin_foreign(message)


def fill_image(message: Any, pixels: NDArray[np.uint8], encoding: str, header: Any) -> None:
    """Write uint8 pixels, (H, W) or (H, W, channels), into a fresh ``sensor_msgs/Image``.

    ``frombytes`` on the message's own array: assigning an ndarray to ``data`` takes a thousand times longer.
    """
    contiguous = np.ascontiguousarray(pixels)
    message.header = header
    message.height, message.width = pixels.shape[:2]
    message.encoding = encoding
    message.is_bigendian = 0
    message.step = contiguous.strides[0]
    message.data.frombytes(contiguous.data.cast("B"))


def stamp_to_ns(stamp: Any) -> int:
    """A ``builtin_interfaces/Time`` in nanoseconds."""
    return int(stamp.sec) * _SECOND + int(stamp.nanosec)


def _is_foreign(message: Any) -> bool:
    return getattr(message, "encoding", "mono8") not in _LAYOUTS


@cache
def _converter() -> Callable[[Any, str], Any] | None:
    try:
        from cv_bridge import CvBridge  # noqa: PLC0415 (exists on a ROS installation only)
    except ImportError:
        pass
    else:
        return CvBridge().imgmsg_to_cv2  # type: ignore[no-any-return]
    try:
        from rosbags.image import message_to_cvimage  # noqa: PLC0415 (an extra)
    except ImportError:
        return None

    def convert(message: Any, encoding: str) -> Any:
        if message.step % message.width:
            raise ImageError(
                f"step {message.step} pads its rows of {message.width} px, which needs cv_bridge"
            )
        return message_to_cvimage(message, encoding)

    return convert


def _check_foreign(message: Any) -> None:
    if _converter() is None:
        raise ImageError(
            f"encoding {_shown(message.encoding)} needs cv_bridge or `pip install rosbags-image`; "
            f"without them use one of {', '.join(_LAYOUTS)}"
        )
    height, step = int(message.height), int(message.step)
    _check_size(height, int(message.width))
    if len(message.data) != height * step:
        raise ImageError(f"data holds {len(message.data)} bytes where height {height} x step {step} are due")


def _convert_elsewhere(message: Any, encoding: str) -> Pixels:
    _check_foreign(message)
    convert = _converter()
    assert convert  # noqa: S101 (checked above)
    try:
        pixels = np.asarray(convert(message, encoding))
    except Exception as error:  # the libraries raise whatever comes: their own errors, cv2's, TypeError
        reason = _shown(" ".join(str(error).split()), 160)
        raise ImageError(
            f"encoding {_shown(message.encoding)} cannot be read as {encoding}: {reason}"
        ) from error
    height = int(message.height)
    if pixels.shape[:2] != (height, int(message.width)):
        raise ImageError(
            f"encoding {_shown(message.encoding)} gave {pixels.shape} for {height}x{message.width}"
        )
    return pixels


def _read(message: Any) -> tuple[Pixels, _Layout]:
    if hasattr(message, "encoding"):
        return raw_pixels(message), _LAYOUTS[message.encoding]
    pixels = _decompress(message)
    return pixels, _LAYOUTS[_decompressed_encoding(pixels)]


def _shown(text: str, most: int = 40) -> str:
    """A stranger's text as a log may show it: quoted, on one line, in ASCII, not long."""
    return ascii(text) if len(text) <= most else f"{text[:most]!a}... ({len(text)} characters)"


def _check_size(height: int, width: int, max_pixels: int = MAX_PIXELS) -> None:
    if height <= 0 or width <= 0:
        raise ImageError(f"image of height {height} and width {width} is empty")
    if height * width > max_pixels:
        raise ImageError(
            f"image of height {height} and width {width} is over the limit of {max_pixels} pixels"
            " (max_pixels)"
        )


def _is_jpeg(data: Any) -> bool:
    return bytes(data[:3]) == b"\xff\xd8\xff"


def _thin(pixels: Pixels) -> Pixels:
    step = max(1, min(pixels.shape[:2]) // _THIN_SIDE)
    thin = pixels[step // 2 :: step, step // 2 :: step]
    return thin if thin.ndim == 2 else thin[..., 1]


def _thin_foreign(message: Any) -> Pixels | None:
    """The bytes that carry the brightness of an encoding that is left to others to read."""
    _check_foreign(message)
    stride, first = 1, 0
    if message.encoding in _LUMA_FIRST_BYTE:
        stride, first = 2, _LUMA_FIRST_BYTE[message.encoding]
    elif not (message.encoding.startswith("bayer_") and message.encoding.endswith("8")):
        return None
    row, step = int(message.width) * stride, int(message.step)
    if step < row:
        raise ImageError(f"step {step} does not fit {message.width} px of {message.encoding}: {row} bytes")
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(int(message.height), step)
    return _thin(rows[:, first:row:stride])


def _inspect(message: Any, max_pixels: int = MAX_PIXELS) -> Encoded:
    if "compressedDepth" in message.format:
        raise ImageError(f"{_named(message)} is a depth image with a header of its own: publish jpeg or png")
    try:
        encoded = inspect(message.data)
    except CompressedError as error:
        raise ImageError(f"{_named(message)} {error}") from error
    _check_size(*encoded.size, max_pixels)
    return encoded


def _named(message: Any) -> str:
    return f"compressed image (format {_shown(message.format)}, {len(message.data)} bytes)"


def _decompress(message: Any, flags: int = cv2.IMREAD_UNCHANGED) -> Pixels:
    encoded = _inspect(message)
    try:
        return decode(encoded, flags)
    except CompressedError as error:
        raise ImageError(f"{_named(message)} {error}") from error


def _decompressed_encoding(pixels: Pixels) -> str:
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 1:
        return "mono8" if pixels.dtype == np.uint8 else "mono16"
    if pixels.dtype == np.uint8 and channels in (3, 4):
        return "bgr8" if channels == 3 else "bgra8"
    raise ImageError(
        f"compressed image has {channels} channels of {pixels.dtype}: expected mono8, mono16, bgr8 or bgra8"
    )
