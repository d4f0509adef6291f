from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csk_ros import messages
from csk_ros.messages import (
    ImageError,
    check_image,
    decompress,
    fill_image,
    is_png,
    raw_pixels,
    read_eo,
    read_ir,
    stamp_to_ns,
    thin_pixels,
)

CHANNELS = {"mono8": 1, "8UC1": 1, "mono16": 1, "16UC1": 1, "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}


def image(encoding="mono8", height=4, width=6, padding=0, bigendian=0, seed=0):
    """An Image message with random pixels, and those pixels in native byte order."""
    dtype = np.dtype(np.uint16 if "16" in encoding else np.uint8)
    shape = (height, width) if CHANNELS[encoding] == 1 else (height, width, CHANNELS[encoding])
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    rows = pixels.astype(dtype.newbyteorder(">" if bigendian else "<")).reshape(height, -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=170)
    message = SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=bigendian,
        step=rows.shape[1],
        data=array.array("B", rows.tobytes()),
    )
    return message, pixels


@given(
    encoding=st.sampled_from(sorted(CHANNELS)),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 4).map(lambda n: 2 * n),
    bigendian=st.integers(0, 1),
)
def test_pixels_come_back_whatever_the_layout(encoding, height, width, padding, bigendian):
    message, pixels = image(encoding, height, width, padding, bigendian)
    np.testing.assert_array_equal(raw_pixels(message), pixels)


def test_reading_a_fitting_layout_copies_nothing():
    message, _ = image("rgb8")
    eo = read_eo(message)
    message.data[0] ^= 255
    assert eo[0, 0, 0] == message.data[0]


def test_channel_order_and_alpha_are_brought_to_rgb():
    for encoding, order in {
        "rgb8": [0, 1, 2],
        "bgr8": [2, 1, 0],
        "rgba8": [0, 1, 2],
        "bgra8": [2, 1, 0],
    }.items():
        message, pixels = image(encoding)
        np.testing.assert_array_equal(read_eo(message), pixels[..., order])


def test_grey_optical_image_becomes_three_equal_channels():
    message, pixels = image("mono8")
    np.testing.assert_array_equal(read_eo(message), np.repeat(pixels[..., None], 3, axis=2))


def test_thermal_keeps_its_sixteen_bits_and_loses_false_color():
    message, pixels = image("16UC1")
    assert read_ir(message).dtype == np.uint16
    np.testing.assert_array_equal(read_ir(message), pixels)
    assert read_ir(image("bgr8")[0]).shape == (4, 6)


def test_a_driver_may_leave_out_the_last_padding():
    message, pixels = image("mono8", padding=4)
    message.data = message.data[:-4]
    np.testing.assert_array_equal(raw_pixels(message), pixels)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoding": "hologram"}, "hologram"),
        ({"height": 0}, "empty"),
        ({"width": -1}, "empty"),
        ({"height": 1 << 30, "width": 1 << 30}, "over the limit"),
        ({"step": 5}, "step 5 does not fit 6 px"),
        ({"height": 5}, "24 bytes where height 5 x step 6 = 30"),
        ({"data": b""}, "0 bytes"),
        ({"data": bytes(1000)}, "1000 bytes"),
    ],
)
def test_contradicting_fields_are_named(changes, reason):
    message, _ = image()
    vars(message).update(changes)
    with pytest.raises(ImageError, match=reason):
        read_ir(message)


def test_check_accepts_what_can_be_read_and_refuses_an_empty_compressed_image():
    check_image(image("rgb8")[0])
    png = cv2.imencode(".png", np.zeros((4, 6), np.uint8))[1].tobytes()
    check_image(SimpleNamespace(format="png", data=png))
    with pytest.raises(ImageError, match="is empty"):
        check_image(SimpleNamespace(format="png", data=b""))


def test_odd_step_of_a_sixteen_bit_image_is_refused():
    message, _ = image("mono16")
    message.step += 1
    with pytest.raises(ImageError, match="step 13"):
        raw_pixels(message)


def test_sixteen_bit_optical_image_hints_at_swapped_topics():
    with pytest.raises(ImageError, match="swapped"):
        read_eo(image("mono16")[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_compressed_thermal(dtype):
    pixels = np.arange(24, dtype=dtype).reshape(4, 6) * 10
    message = SimpleNamespace(format="mono; png compressed", data=cv2.imencode(".png", pixels)[1].tobytes())
    np.testing.assert_array_equal(read_ir(message), pixels)


def test_bayer_and_yuv_are_left_to_a_library():
    pytest.importorskip("rosbags.image", reason="rosbags-image is not installed")
    red = np.zeros((8, 8), np.uint8)
    red[::2, ::2] = 200  # of RGGB, only the red cells are lit
    message = SimpleNamespace(
        height=8, width=8, encoding="bayer_rggb8", is_bigendian=0, step=8, data=red.tobytes()
    )
    eo = read_eo(message)
    assert eo.shape == (8, 8, 3)
    assert eo[3, 3, 0] == 200
    assert eo[..., 1:].max() == 0
    grey = SimpleNamespace(
        height=4, width=4, encoding="yuv422_yuy2", is_bigendian=0, step=8, data=bytes([126, 128]) * 16
    )
    check_image(grey)
    assert np.ptp(read_eo(grey)) <= 1
    assert read_ir(grey).shape == (4, 4)
    padded = SimpleNamespace(**{**vars(grey), "step": 10, "data": bytes(40)})
    with pytest.raises(ImageError, match="step 10 pads"):
        read_eo(padded)
    grey.data = grey.data[:-1]
    with pytest.raises(ImageError, match="31 bytes where height 4 x step 8"):
        check_image(grey)


def test_without_such_a_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(messages, "_converter", lambda: None)
    message, _ = image()
    message.encoding = "bayer_rggb8"
    with pytest.raises(ImageError, match=r"bayer_rggb8' needs cv_bridge or `pip install rosbags-image`"):
        check_image(message)


def test_compressed_optical_is_rgb():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255  # OpenCV encodes BGR
    message = SimpleNamespace(format="bgr8; png compressed", data=cv2.imencode(".png", red)[1].tobytes())
    assert tuple(read_eo(message)[0, 0]) == (255, 0, 0)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((8, 9), "u1"), ((8, 9), "u2"), ((8, 9, 3), "u1"), ((8, 9, 4), "u1")]
)
def test_a_decompressed_image_reads_and_looks_as_the_compressed_one(shape, dtype):
    pixels = np.random.default_rng(0).integers(0, 2 ** (8 * int(dtype[1])), shape).astype(dtype)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    message = SimpleNamespace(format="png", data=data, header="its header")
    assert is_png(message)
    raw = decompress(message)
    assert raw.header == "its header"
    assert not is_png(raw)
    np.testing.assert_array_equal(read_ir(raw), read_ir(message))
    np.testing.assert_array_equal(thin_pixels(raw), thin_pixels(message))
    if dtype == "u1":
        np.testing.assert_array_equal(read_eo(raw), read_eo(message))


@given(st.binary(max_size=200))
def test_garbage_compressed_data_is_one_clear_error(data):
    with pytest.raises(ImageError, match=r"compressed image \(format 'jpeg'"):
        read_eo(SimpleNamespace(format="jpeg", data=data))


@given(
    height=st.integers(-1, 40),
    width=st.integers(-1, 40),
    step=st.integers(-1, 200),
    encoding=st.sampled_from([*CHANNELS, "", "yuv422", "bayer_grbg8", "bayer_grbg16", "nv12", "32FC1"]),
    data=st.binary(max_size=300),
    bigendian=st.integers(0, 255),
)
def test_hostile_fields_give_pixels_or_an_image_error(height, width, step, encoding, data, bigendian):
    message = SimpleNamespace(
        height=height, width=width, step=step, encoding=encoding, data=data, is_bigendian=bigendian
    )
    try:
        check_image(message)
        pixels = read_ir(message)
    except ImageError:
        return
    assert pixels.shape[:2] == (height, width)


@given(
    height=st.integers(-1, 40),
    width=st.integers(-1, 40),
    step=st.integers(-1, 80),
    encoding=st.sampled_from(["mono8", "yuv422", "yuyv", "bayer_grbg8", "bayer_grbg16"]),
    size=st.integers(0, 3200),
)
def test_thinning_hostile_fields_gives_pixels_or_an_image_error(height, width, step, encoding, size):
    message = SimpleNamespace(
        height=height, width=width, step=step, encoding=encoding, data=bytes(size), is_bigendian=0
    )
    try:
        check_image(message)
        thin = thin_pixels(message)
    except ImageError:
        return
    assert thin is None or (thin.ndim == 2 and thin.size)


def test_thin_pixels_are_spread_evenly_over_the_brightness():
    message, pixels = image("rgb8", 480, 640)
    np.testing.assert_array_equal(thin_pixels(message), pixels[4::8, 4::8, 1])
    message, pixels = image("mono16", 70, 200)
    np.testing.assert_array_equal(thin_pixels(message), pixels)


def test_thin_pixels_of_yuv_and_bayer_images():
    pytest.importorskip("rosbags.image", reason="rosbags-image is not installed")
    rows = np.arange(64, dtype=np.uint8).reshape(8, 8)
    for encoding, width, expected in (
        ("yuv422_yuy2", 4, rows[:, ::2]), ("uyvy", 4, rows[:, 1::2]), ("bayer_rggb8", 8, rows),
    ):  # fmt: skip
        message = SimpleNamespace(
            height=8, width=width, encoding=encoding, is_bigendian=0, step=8, data=rows.tobytes()
        )
        np.testing.assert_array_equal(thin_pixels(message), expected)


@pytest.mark.parametrize(("extension", "shape"), [(".jpg", (60, 80)), (".png", (60, 80))])
def test_thin_pixels_of_compressed_images(extension, shape):
    pixels = np.full((480, 640), 77, np.uint8)
    message = SimpleNamespace(format="x", data=cv2.imencode(extension, pixels)[1].tobytes())
    thin = thin_pixels(message)
    assert thin.shape == shape
    assert (thin == 77).all()


def test_thin_pixels_of_compressed_thermal_counts_keep_all_bits():
    pixels = np.random.default_rng(0).integers(27_000, 28_000, (60, 60)).astype(np.uint16)
    message = SimpleNamespace(format="16UC1; png compressed", data=cv2.imencode(".png", pixels)[1].tobytes())
    np.testing.assert_array_equal(thin_pixels(message), pixels)


@pytest.mark.parametrize(("shape", "encoding"), [((4, 6), "mono8"), ((4, 6, 3), "rgb8")])
def test_fill_image_is_read_back(shape, encoding):
    pixels = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)[::-1]
    message = SimpleNamespace(data=array.array("B"))
    fill_image(message, pixels, encoding, header="kept")
    np.testing.assert_array_equal(raw_pixels(message), pixels)
    assert message.header == "kept"


def test_stamp_to_ns():
    assert stamp_to_ns(SimpleNamespace(sec=2, nanosec=3)) == 2_000_000_003
