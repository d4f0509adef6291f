"""JPEG and PNG bytes to pixels, in time and memory that are bounded before anything is decoded.

The bytes may come from anybody, and a few hundred of them can ask a decoder for gigabytes or minutes. So the
size is read from the header first, and only formats are decoded whose header says it. TIFF, WebP, GIF and the
others that OpenCV knows are refused: no camera driver needs them, and each is one more decoder for a
stranger's bytes.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_MAX_PARTS = 65_536

_JPEG_END = b"\xff\xd9"
_JPEG_TAIL = 4096  # bytes; some drivers pad
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]")
_JPEG_SCAN = b"\xff\xda"
_MAX_SCANS = 100  # of a progressive JPEG: a few bytes each, and each goes over all pixels
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_SEGMENT = {0x01, *range(0xD0, 0xD8)}
_NEVER_BEFORE_FRAME = {0xD8, 0xD9, 0xDA}

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the color type of a PNG
_BEFORE_PIXELS = {b"IHDR", b"PLTE", b"tRNS"}


class CompressedError(ValueError):
    """Bytes that are no image, or one that costs too much; says why, to go after a name for them."""


class _Chunk(NamedTuple):
    kind: bytes
    whole: memoryview

    @property
    def content(self) -> memoryview:
        return self.whole[8:-4]


class Encoded(NamedTuple):
    """A compressed image that has been looked at but not decoded.

    Attributes:
        data: its bytes.
        size: height and width that its header gives.
        chunks: the parts of a PNG.
    """

    data: memoryview
    size: tuple[int, int]
    chunks: list[_Chunk]


def inspect(data: Buffer) -> Encoded:
    """Read the header of a JPEG or PNG.

    Raises:
        CompressedError: if it is neither, cut short, or made of absurdly many parts.
    """
    view = memoryview(data)
    if bytes(view[: len(_PNG)]) == _PNG:
        chunks = _png_chunks(view)
        return Encoded(view, _png_size(chunks[0]), chunks)
    if bytes(view[: len(_JPEG)]) == _JPEG:
        return Encoded(view, _jpeg_size(view), [])
    raise CompressedError("is neither JPEG nor PNG: publish it as one of them" if view else "is empty")


def decode(encoded: Encoded, flags: int = cv2.IMREAD_UNCHANGED) -> NDArray[Any]:
    """The pixels as OpenCV gives them: (H, W) or (H, W, channels), colours as B, G, R, uint8 or uint16.

    Args:
        encoded: what :func:`inspect` gave.
        flags: of ``cv2.imdecode``; with ``IMREAD_REDUCED_...`` the image comes out smaller.

    Raises:
        CompressedError: if it cannot be decoded, or holds more than its pixels.
    """
    try:
        data = _bare_png(encoded) if encoded.chunks else encoded.data
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, zlib.error) as error:
        raise CompressedError(f"cannot be decoded: {getattr(error, 'err', error)}") from error
    if pixels is None or (flags == cv2.IMREAD_UNCHANGED and pixels.shape[:2] != encoded.size):
        raise CompressedError("cannot be decoded")
    return pixels


def _jpeg_size(data: memoryview) -> tuple[int, int]:
    """Height and width of the frame that libjpeg will decode: it goes from marker to marker as this does."""
    if _JPEG_END not in bytes(data[-_JPEG_TAIL:]):
        raise CompressedError("is cut short: it has no JPEG end")
    if bytes(data).count(_JPEG_SCAN) > _MAX_SCANS:
        raise CompressedError(f"has more than {_MAX_SCANS} JPEG scans")
    position = len(_JPEG) - 1
    for _ in range(_MAX_PARTS):
        found = _JPEG_MARKER.search(data, position)
        if not found:
            break
        position = found.end()
        marker, segment = data[position - 1], data[position : position + 7]
        if marker in _WITHOUT_SEGMENT:
            continue
        if marker in _NEVER_BEFORE_FRAME or len(segment) < 7:
            break
        if marker in _FRAMES:
            height, width = struct.unpack(">3xHH", segment)
            return height, width
        position += int.from_bytes(segment[:2], "big")
    raise CompressedError("has no JPEG frame header")


def _png_chunks(data: memoryview) -> list[_Chunk]:
    """The chunks up to the end, all of them whole: OpenCV allocates what a chunk claims to hold."""
    chunks: list[_Chunk] = []
    position = len(_PNG)
    for _ in range(_MAX_PARTS):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            raise CompressedError("is cut short: a PNG chunk goes over its end")
        chunks.append(_Chunk(bytes(data[position + 4 : position + 8]), data[position:end]))
        if chunks[-1].kind == b"IEND":
            return chunks
        position = end
    raise CompressedError(f"has more than {_MAX_PARTS} PNG chunks")


def _png_size(first: _Chunk) -> tuple[int, int]:
    if first.kind != b"IHDR" or len(first.content) != 13:
        raise CompressedError("has no PNG header")
    width, height, depth, color = struct.unpack_from(">IIBB", first.content)
    if depth == 16 and color:
        raise CompressedError("has 16 bits of colour: only grey may have them")
    return height, width


def _bare_png(encoded: Encoded) -> bytes:
    """The PNG with its pixels inflated, no further than they go, and without texts and colour profiles.

    OpenCV would inflate all of these, however many there are, and whatever comes after the pixels.
    """
    chunks, (height, width) = encoded.chunks, encoded.size
    depth, color = chunks[0].content[8:10]
    row = 1 + -(-width * _CHANNELS.get(color, 4) * min(depth, 16) // 8)
    deflated = b"".join(chunk.content for chunk in chunks if chunk.kind == b"IDAT")
    most = 2 * height * row  # doubled, for the rounded rows of an interlaced image
    pixels = zlib.decompressobj().decompress(deflated, most + 1)
    if len(pixels) > most:
        raise CompressedError("inflates to more than its pixels")
    before = [chunk.whole for chunk in chunks if chunk.kind in _BEFORE_PIXELS]
    return b"".join([_PNG, *before, _chunk(b"IDAT", zlib.compress(pixels, level=0)), _chunk(b"IEND", b"")])


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(content, zlib.crc32(kind))
    return b"".join([struct.pack(">I", len(content)), kind, content, struct.pack(">I", check)])
