"""Image messages of somebody who means harm, as plain fields, any number of them from a seed."""

from __future__ import annotations

import struct
import zlib
from functools import cache

import cv2
import numpy as np

CHANNELS = {"mono8": 1, "8UC1": 1, "mono16": 2, "16UC1": 2, "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}
"""Bytes of a pixel, by encoding."""

FOREIGN = ["", "hologram", "8UC0", "8UC3", "64FC1", "32FC1", "16UC99999999", "8UC" + "9" * 5000,
           "bayer_rggb8", "bayer_grbg16", "yuv422", "yuv422_yuy2", "nv12", "nv21", "rgb16", "bgra16", "MONO8",
           "mono8 ", "a\nb [INFO] forged", "\x1b[2J", "é漢🔥", "m" * 5000]  # fmt: skip
SIDES = [0, 1, 2, 3, 24, 32, 4096, 65_535, 65_536, 1 << 20, (1 << 31) - 1, (1 << 32) - 1]
SECONDS = [-(1 << 31), -1, 0, 1, 1_700_000_000, (1 << 31) - 1]
NANOSECONDS = [0, 1, 999_999_999, 1_000_000_000, (1 << 32) - 1]
FRAMES = ["", "camera", "a" * 256, "a" * 257, "é漢🔥" * 80, "f" * 5000, "a\nb", "\x1b[31m"]
FORMATS = ["", "jpeg", "png", "rgb8; jpeg compressed bgr8", "16UC1; png compressed ", "tiff", "webp",
           "png" * 2000, "16UC1; compressedDepth png", "32FC1; compressedDepth", "a\nb",
           "\x1b[31m"]  # fmt: skip

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, *, pixels=None, extra=b"", depth=8, color=0, interlaced=0):
    """A PNG whose header says what it is told; `pixels` are the bytes behind it, deflated."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    content = zlib.compress(bytes(height * (width + 1)) if pixels is None else pixels)
    return _SIGNATURE + chunk(b"IHDR", header) + extra + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def jpeg(width, height, *, progressive=False):
    """A small JPEG, with another size written into its header."""
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    data = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8), options)[1].tobytes())
    at = data.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def many_scans():
    whole = jpeg(2000, 2000, progressive=True)
    first = whole.index(b"\xff\xda")
    second = whole.index(b"\xff\xda", first + 2)
    return whole[:second] + whole[first:second] * 2000 + whole[second:]


def _tiff(width, height):
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (278, 4, height),
    ]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)


def _bmp(width, height):
    return b"BM" + struct.pack("<IIIIiiHHI", 100, 0, 54, 40, width, height, 1, 24, 0) + bytes(40)


@cache
def bombs():
    """Small files, by name, that ask a decoder for gigabytes or minutes."""
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(7_000_000), 9))
    vp8x = b"VP8X" + struct.pack("<II", 10, 0) + (16_382).to_bytes(3, "little") * 2
    webp = b"RIFF" + struct.pack("<I", len(vp8x) + 4) + b"WEBP" + vp8x
    return {
        "png that claims 2^31 x 2^31": png((1 << 31) - 1, (1 << 31) - 1, pixels=b""),
        "png of 30000 x 30000": png(30_000, 30_000, pixels=bytes(1000)),
        "png of 16-bit RGBA": png(8000, 8001, pixels=bytes(1000), depth=16, color=6),
        "png chunk of 2 GB": png(8, 8)[:33] + struct.pack(">I", (1 << 31) - 1) + b"IDAT" + bytes(100),
        "png with pixels without end": png(8, 8, pixels=bytes(250_000_000)),
        "png with inflating texts": png(8, 8, extra=text * 100),
        "png of a million chunks": _SIGNATURE + chunk(b"IHDR", bytes(13)) + chunk(b"tEXt", b"") * 1_000_000,
        "jpeg of 65535 x 65535": jpeg(65_535, 65_535),
        "progressive jpeg of 65500 x 65500": jpeg(65_500, 65_500, progressive=True),
        "progressive jpeg of 2000 scans": many_scans(),
        "jpeg of a million segments": b"\xff\xd8" + b"\xff\xe0\0\2" * 1_000_000 + b"\xff\xd9",
        "jpeg of markers": b"\xff\xd8" + b"\xff" * 5_000_000 + b"\xff\xd9",
        "tiff of 60000 x 60000": _tiff(60_000, 60_000),
        "webp of 16383 x 16383": webp,
        "gif of 65535 x 65535": b"GIF89a" + b"\xff" * 4 + b"\0\0\0,\0\0\0\0" + b"\xff" * 4 + b";",
        "bmp of 30000 x 30000": _bmp(30_000, 30_000),
        "pgm of 30000 x 30000": b"P5 30000 30000 255\n",
    }  # fmt: skip


@cache
def _seeds():
    """Images that are in order, to be spoilt."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    return [
        cv2.imencode(end, image)[1].tobytes()
        for end in (".png", ".jpg")
        for image in (pixels, pixels[..., 0], *([pixels[..., 0].astype(np.uint16)] if end == ".png" else []))
    ]


def header(rng):
    """Seconds, nanoseconds and `frame_id`; most of them in order, so that the rest is looked at."""
    if rng.random() < 0.7:
        return {
            "sec": 1_700_000_000 + int(rng.integers(1000)),
            "nanosec": int(rng.integers(10**9)),
            "frame_id": "x",
        }
    return {"sec": _any(rng, SECONDS), "nanosec": _any(rng, NANOSECONDS), "frame_id": _any(rng, FRAMES)}


def raw(rng):
    """The fields of an `Image`: one in order with up to three of its fields spoilt, or none."""
    encoding = _any(rng, list(CHANNELS))
    height, width = int(rng.integers(1, 33)), int(rng.integers(1, 33))
    step = width * CHANNELS[encoding] + 2 * int(rng.integers(3))
    fields = {
        "height": height, "width": width, "encoding": encoding, "step": step,
        "is_bigendian": int(rng.integers(2)), "data": rng.bytes(height * step),
    }  # fmt: skip
    spoilt = {
        "height": lambda: _any(rng, SIDES),
        "width": lambda: _any(rng, SIDES),
        "step": lambda: _any(rng, [*SIDES, step - 1, step + 1]),
        "encoding": lambda: _any(rng, FOREIGN),
        "is_bigendian": lambda: int(rng.integers(256)),
        "data": lambda: rng.bytes(_any(rng, [0, 1, height * step - 1, height * step + 1, 5000])),
    }
    for name in rng.choice(list(spoilt), size=int(rng.integers(4)), replace=False):
        fields[name] = spoilt[str(name)]()
    return fields


def compressed(rng):
    """The fields of a `CompressedImage`: a bomb, an image with spoilt bytes, or no image at all."""
    kind = rng.random()
    data = bytearray(_any(rng, _seeds()))
    if kind < 0.1:
        small = [bomb for bomb in bombs().values() if len(bomb) < 5000]
        data = _any(rng, small)
    elif kind < 0.5:
        for at in rng.integers(0, len(data), int(rng.integers(1, 6))):
            data[at] = int(rng.integers(256))
    elif kind < 0.6:
        data = data[: int(rng.integers(len(data)))]
    elif kind < 0.7:
        data = data[:16] + rng.bytes(int(rng.integers(200)))
    elif kind < 0.8:
        data = rng.bytes(int(rng.integers(300)))
    elif kind < 0.85:
        at, length = (int(n) for n in rng.integers(0, len(data), 2))
        data = data[:at] + data[at : at + length] * 3 + data[at:]
    return {"format": _any(rng, FORMATS[:5] if rng.random() < 0.7 else FORMATS), "data": bytes(data)}


def _any(rng, values):
    return values[int(rng.integers(len(values)))]
