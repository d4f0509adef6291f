from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from csk_ros.data.synthetic import SceneDrive
from csk_ros.looking import Looker
from csk_ros.messages import ImageError, read_ir
from csk_ros.perception import ContentHealth, PerceptionSettings

ENCODINGS = {(np.uint8, 2): "mono8", (np.uint8, 3): "rgb8", (np.uint16, 2): "mono16"}


def raw(pixels):
    pixels = np.ascontiguousarray(pixels)
    return SimpleNamespace(
        height=pixels.shape[0], width=pixels.shape[1], step=pixels.strides[0], is_bigendian=0,
        encoding=ENCODINGS[pixels.dtype.type, pixels.ndim], data=array.array("B", pixels.tobytes()),
    )  # fmt: skip


def compressed(pixels, extension):
    data = array.array("B", cv2.imencode(extension, pixels)[1].tobytes())
    return SimpleNamespace(format=extension, data=data, header="its header")


def glance(looker, message):
    return looker.look(message)[0]


def noise(high, shape=(120, 160, 3), dtype=np.uint8, low=0):
    return np.random.default_rng(0).integers(low, high, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_levels_are_those_of_the_camera(dtype):
    pixels = np.full((100, 100), 1000 % np.iinfo(dtype).max, dtype)
    pixels[:4], pixels[4:9], pixels[99:] = 0, 7, 255
    look = glance(Looker(), raw(pixels))
    assert (look.low, look.high) == (7, pixels[50, 50])


def test_one_changed_bit_anywhere_is_another_image():
    pixels = noise(255)
    looker = Looker()
    first = glance(looker, raw(pixels))
    assert glance(looker, raw(pixels.copy())) == first
    for place in ((0, 0, 0), (63, 71, 2), (119, 159, 1)):
        changed = pixels.copy()
        changed[place] ^= 1
        assert glance(looker, raw(changed)).signature != first.signature


def test_a_flat_square_that_moves_over_a_flat_ground_is_another_image():
    looks = []
    for left in range(0, 80, 8):
        pixels = np.full((120, 160, 3), 50, np.uint8)
        pixels[40:60, left : left + 20] = 200
        looks.append(glance(Looker(), raw(pixels)).signature)
    assert len(set(looks)) == len(looks)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_compressed_images_are_looked_into(extension):
    looker = Looker()
    assert glance(looker, compressed(np.full((120, 160, 3), 9, np.uint8), extension)).high == 9
    assert glance(Looker(), compressed(noise(255), extension)).high > 100


def test_compressed_images_are_decoded_for_a_tenth_of_the_time_at_most(monkeypatch):
    now, decodes = 0, []

    def decode(_):
        nonlocal now
        decodes.append(now)
        now += 5_000_000
        return np.zeros((60, 60), np.uint8)

    monkeypatch.setattr("csk_ros.looking.thin_pixels", decode)
    looker = Looker(clock_ns=lambda: now, processor_ns=lambda: now)
    looks, image = [], compressed(noise(255), ".jpg")
    for arrival in range(0, 1_000_000_000, 33_000_000):
        now = max(now, arrival)
        looks.append(glance(looker, image))
    assert 0.07 * now < 5_000_000 * len(decodes) <= 0.1 * now + 5_000_000
    assert {look.high for look in looks} == {0, None}
    assert len({look.signature for look in looks}) == 1


def test_every_compressed_image_is_looked_into_where_time_does_not_count():
    looker = Looker(sparing=False)
    assert all(glance(looker, compressed(noise(255), ".png")).high is not None for _ in range(5))


@pytest.mark.parametrize(("shape", "dtype"), [((120, 160), "u1"), ((120, 160), "u2"), ((120, 160, 3), "u1")])
def test_a_png_that_was_decoded_for_the_look_is_not_decoded_again(monkeypatch, shape, dtype):
    pixels = noise(255, shape, dtype)
    message = compressed(pixels, ".png")
    wanted = read_ir(message)
    look, image = Looker().look(message)
    assert look.high > 240
    assert image.header == "its header"
    monkeypatch.setattr("cv2.imdecode", None)
    assert np.array_equal(read_ir(image), wanted)


def test_what_was_not_decoded_in_full_comes_back_as_it_is():
    looker = Looker(clock_ns=lambda: 0)
    jpeg, png, image = compressed(noise(255), ".jpg"), compressed(noise(255), ".png"), raw(noise(255))
    assert looker.look(image)[1] is image
    assert looker.look(jpeg)[1] is jpeg
    assert looker.look(png)[1] is png  # the time for decoding is spent


def test_a_look_at_a_png_tells_the_same_content_whether_it_was_decoded_or_not():
    looker = Looker(clock_ns=lambda: 0)
    first, second = (glance(looker, compressed(noise(255), ".png")) for _ in range(2))
    assert first.high is not None
    assert second.high is None
    assert first.signature == second.signature


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_compressed_image_that_is_cut_short_is_refused(extension, share):
    whole = compressed(noise(255), extension)
    whole.data = whole.data[: int(share * len(whole.data))]
    with pytest.raises(ImageError, match="compressed image"):
        glance(Looker(), whole)


def verdict(settings, messages):
    content, looker = ContentHealth(settings), Looker()
    faults = set()
    for message in messages:
        content.see(glance(looker, message))
        faults.add(content.fault)
    return faults, content.bad


@pytest.mark.parametrize("light", ["night", "dusk", "day"])
@pytest.mark.parametrize("ir_bits", [8, 16])
def test_no_synthetic_scene_is_bad(light, ir_bits):
    settings = PerceptionSettings()
    drive = SceneDrive(3, frames=6, height=120, width=160, light=light, ir_bits=ir_bits)
    assert verdict(settings.eo_content, [raw(sample.eo) for sample in drive]) == ({None}, {})
    assert verdict(settings.ir_content, [raw(sample.ir) for sample in drive]) == ({None}, {})


def test_no_real_pair_by_day_or_night_is_bad(shared):
    settings = PerceptionSettings()
    files = sorted((shared / "data" / "mfnet_subset" / "images").glob("*.png"))[::3]
    assert files
    images = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files]
    assert verdict(settings.eo_content, [raw(image[..., 2::-1]) for image in images]) == ({None}, {})
    assert verdict(settings.ir_content, [raw(image[..., 3]) for image in images]) == ({None}, {})
