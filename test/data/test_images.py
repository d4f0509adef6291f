from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csk_ros.data.images import ImageFileError, PixelFormatError, read_eo, read_ids, read_ir, read_rgbt


def saved(path, image):
    assert cv2.imwrite(str(path), image)
    return path


def grey(dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (20, 30), dtype)


def palette_png(ids, bits):
    """A PNG with a palette, written by hand: cv2 writes none."""
    per_byte = 8 // bits
    rows = np.pad(ids, ((0, 0), (0, -ids.shape[1] % per_byte)))
    packed = sum(rows[:, i::per_byte].astype(int) << (8 - bits * (i + 1)) for i in range(per_byte))
    raw = b"".join(b"\0" + bytes(row.astype(np.uint8)) for row in packed)
    header = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], bits, 3, 0, 0, 0)
    colors = np.random.default_rng(5).integers(0, 256, (2**bits, 3), np.uint8).tobytes()
    chunks = [
        (b"IHDR", header),
        (b"PLTE", colors),
        (b"tRNS", b"\0"),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_thermal_is_grey_or_three_equal_channels(tmp_path, dtype):
    image = grey(dtype)
    for pixels in (image, np.dstack([image] * 3)):
        read = read_ir(saved(tmp_path / "ir.png", pixels))
        assert read.dtype == dtype
        assert np.array_equal(read, image)


def test_coloured_thermal_is_refused(tmp_path):
    image = np.dstack([grey()] * 3)
    image[4, 5, 2] ^= 1
    with pytest.raises(PixelFormatError, match=r"ir\.png is coloured, its channels differ by up to 1"):
        read_ir(saved(tmp_path / "ir.png", image))


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_channel_that_differs_makes_a_thermal_image_coloured(tmp_path, channel):
    image = np.dstack([np.full((4, 5), 90, np.uint8)] * 3)
    image[2, 3, channel] += 1
    with pytest.raises(PixelFormatError, match="is coloured"):
        read_ir(saved(tmp_path / "ir.png", image))


def test_grey_thermal_in_a_jpeg_is_read_and_a_colour_scale_is_not(tmp_path):
    smooth = np.tile(np.arange(0, 240, 4, np.uint8), (40, 1))
    assert read_ir(saved(tmp_path / "ir.jpg", np.dstack([smooth] * 3))).shape == smooth.shape
    with pytest.raises(PixelFormatError, match="coloured"):
        read_ir(saved(tmp_path / "ir.jpg", cv2.applyColorMap(smooth, cv2.COLORMAP_JET)))


def test_optical_image_must_be_8_bit_colour(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (4, 5, 4), np.uint8)
    assert np.array_equal(read_eo(saved(tmp_path / "eo.png", rgba)), rgba[..., 2::-1])
    for image in (grey(), np.dstack([grey(np.uint16)] * 3)):
        with pytest.raises(PixelFormatError, match=r"eo\.png has . channels of uint.*3 channels of uint8"):
            read_eo(saved(tmp_path / "eo.png", image))


def test_four_channels(tmp_path):
    rgbt = np.random.default_rng(0).integers(0, 256, (4, 5, 4), np.uint8)
    assert np.array_equal(read_rgbt(saved(tmp_path / "x.png", rgbt[..., [2, 1, 0, 3]])), rgbt)
    with pytest.raises(PixelFormatError, match="R, G, B, thermal"):
        read_rgbt(saved(tmp_path / "x.png", rgbt[..., :3]))


@given(data=st.data(), bits=st.sampled_from([1, 2, 4, 8]))
def test_palette_labels_are_their_indices(tmp_path_factory, data, bits):
    height, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 9))
    cells = st.integers(0, min(2**bits - 1, 25))
    ids = data.draw(st.lists(cells, min_size=height * width, max_size=height * width))
    ids = np.array(ids, np.uint8).reshape(height, width)
    path = tmp_path_factory.mktemp("palette") / "labels.png"
    path.write_bytes(palette_png(ids, bits))
    assert np.array_equal(read_ids(path), ids)


def test_labels_as_three_equal_channels_are_read_and_colours_are_not(tmp_path):
    ids = grey() % 9
    assert np.array_equal(read_ids(saved(tmp_path / "l.png", np.dstack([ids] * 3))), ids)
    for image in (np.dstack([ids, ids, ids + 1]), grey(np.uint16)):
        with pytest.raises(PixelFormatError, match="ids, not their colours"):
            read_ids(saved(tmp_path / "l.png", image))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize(
    ("keep", "reason"),
    [(0, "is not an image: it is empty"), (5, "is (not|cut)"), (300, "is cut short after 300 bytes")],
)
def test_a_file_cut_short_is_named(tmp_path, suffix, keep, reason):
    path = saved(tmp_path / f"whole{suffix}", grey())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ImageFileError, match=rf"whole\{suffix} {reason}.*fetch it again"):
        read_ir(path)


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\nIEND\xaeB`\x82", b"\xff\xd8\xff\xd9"])
def test_start_and_end_make_no_image(tmp_path, data):
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(ImageFileError, match="not an image that can be decoded"):
        read_ids(tmp_path / "x.png")


def test_an_impossible_size_is_no_image(tmp_path):
    path = saved(tmp_path / "x.png", grey())
    data = bytearray(path.read_bytes())
    data[16:24] = b"\x00\x0f\xff\xff" * 2
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(ImageFileError, match=r"x\.png is not an image"):
        read_ids(path)


def test_a_changed_byte_is_noticed(tmp_path):
    path = saved(tmp_path / "x.png", grey())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ImageFileError, match="not an image that can be decoded"):
        read_ir(path)


def test_something_else_is_no_image(tmp_path):
    (tmp_path / "x.png").write_text("not found")
    with pytest.raises(ImageFileError, match="not an image"):
        read_eo(tmp_path / "x.png")
