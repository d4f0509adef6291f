from __future__ import annotations

import numpy as np
import pytest
from fault_images import CameraImages, fill, save_images
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from csk_ros.looking import Looker
from csk_ros.messages import ImageError, read_eo, read_ir
from csk_ros.perception import ContentSettings, Fault
from csk_ros.perception.content import EO_CONTENT, IR_CONTENT, ContentHealth

READ = {"eo": read_eo, "ir": read_ir}
CONTENT = {"eo": EO_CONTENT, "ir": IR_CONTENT}


@pytest.fixture(scope="module")
def cameras(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npz"
    save_images("scenes:seed=3,frames=3,height=64,width=96,light=dusk", path)
    with np.load(path) as arrays:
        return {stream: CameraImages(arrays[stream]) for stream in ("eo", "ir")}


def message(cameras, stream, *spoilt, content=0):
    made = Image()
    fill(made, cameras[stream].pixels(content), Header(), spoilt)
    return made


def verdict(messages, settings: ContentSettings):
    looker, health = Looker(), ContentHealth(settings)
    for one in messages:
        health.see(looker.look(one)[0])
    return health.fault


@pytest.mark.parametrize("stream", ["eo", "ir"])
def test_frames_differ_by_a_level_and_equal_contents_are_equal(cameras, stream):
    images = [cameras[stream].pixels(content).astype(int) for content in (0, 6, 6)]
    assert np.abs(images[0] - images[1]).max() == 1
    assert (images[1] == images[2]).all()


@pytest.mark.parametrize("stream", ["eo", "ir"])
def test_whole_images_are_read_as_they_are_and_good(cameras, stream):
    messages = [message(cameras, stream, content=2 * n) for n in range(10)]
    assert (READ[stream](messages[0]) == cameras[stream].pixels(0)).all()
    assert verdict(messages, CONTENT[stream]) is None


@pytest.mark.parametrize(
    ("stream", "way", "fault"),
    [
        ("eo", "black", Fault.DARK),
        ("eo", "blown out", Fault.BRIGHT),
        ("eo", "flat", Fault.FLAT),
        ("ir", "black", Fault.FLAT),
        ("ir", "blown out", Fault.FLAT),
        ("ir", "flat", Fault.FLAT),
    ],
)
def test_spoilt_contents_are_what_they_are_called(cameras, stream, way, fault):
    messages = [message(cameras, stream, way, content=2 * n) for n in range(10)]
    assert verdict(messages, CONTENT[stream]) is fault


@pytest.mark.parametrize("stream", ["eo", "ir"])
def test_equal_contents_are_frozen(cameras, stream):
    assert verdict([message(cameras, stream)] * 10, CONTENT[stream]) is Fault.FROZEN


@pytest.mark.parametrize("stream", ["eo", "ir"])
@pytest.mark.parametrize("way", ["truncated", "wrong step", "unknown encoding", "absurd size", "empty"])
def test_broken_messages_are_refused(cameras, stream, way):
    with pytest.raises(ImageError):
        READ[stream](message(cameras, stream, way))


@pytest.mark.parametrize("way", ["sixteen bit", "big endian"])
def test_sixteen_bits_are_thermal_counts_and_no_optical_image(cameras, way):
    counts = read_ir(message(cameras, "ir", way))
    assert counts.dtype == np.uint16
    assert (counts == cameras["ir"].pixels(0).astype(np.uint16) * 64 + 20_000).all()
    with pytest.raises(ImageError, match="swapped"):
        read_eo(message(cameras, "eo", way))


@pytest.mark.parametrize("stream", ["eo", "ir"])
def test_the_other_size_is_half(cameras, stream):
    assert READ[stream](message(cameras, stream, "other size")).shape[:2] == (32, 48)
