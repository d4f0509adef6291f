"""Pairs of folders and of videos."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from csk_ros.data.folder_pair import FolderPair
from csk_ros.data.stamps import stamp_from_name
from csk_ros.data.video_pair import VideoPair

RANDOM = np.random.default_rng(0)
EO = RANDOM.integers(0, 256, (4, 20, 30, 3), np.uint8)  # BGR, as files hold it
IR = RANDOM.integers(0, 60000, (4, 10, 15), np.uint16)


@pytest.mark.parametrize(
    ("stem", "stamp"),
    [
        ("1750000000123456789", 1750000000123456789),
        ("1750000000.123456789", 1750000000123456789),
        ("0.000000005", 5),
        ("1750000000.5", None),
        ("000123", None),
        ("FLIR_00001", None),
    ],
)
def test_stamps_in_names(stem, stamp):
    assert stamp_from_name(stem) == stamp


def _write(folder, names, images):
    folder.mkdir()
    for name, image in zip(names, images, strict=False):
        cv2.imwrite(str(folder / name), image)
    return folder


@pytest.fixture
def folders(tmp_path):
    """As FLIR's data sets are: colour of another size, thermal of 16 bits, other suffixes."""
    eo = _write(tmp_path / "rgb", [f"FLIR_{i}.bmp" for i in range(4)], EO)
    ir = _write(tmp_path / "thermal", [f"FLIR_{i}.tiff" for i in range(4)], IR)
    (eo / "readme.txt").write_text("no image")
    return eo, ir


def test_pairs_are_the_images_byte_for_byte(folders, tmp_path):
    labels = _write(tmp_path / "labels", ["FLIR_2.png"], [np.full((10, 15), 3, np.uint8)])
    pairs = FolderPair(*folders, labels, rate_hz=8.0)
    assert (len(pairs), pairs.rate_hz, pairs.has_stamps) == (4, 8.0, False)
    for i, sample in enumerate(pairs):
        assert np.array_equal(sample.eo, EO[i][..., ::-1])
        assert np.array_equal(sample.ir, IR[i])
        assert sample.stamp_ns == i * 125_000_000
        assert (sample.labels is not None) == (i == 2)


@pytest.mark.parametrize("form", ["{}", "1750000000.{:09d}"])
def test_names_that_are_stamps_are_the_stamps(tmp_path, form):
    start = 1_750_000_000 * 10**9
    stamps = [start + i * 100_000_000 + i for i in range(4)]
    names = [form.format(s if form == "{}" else s - start) + ".png" for s in stamps]
    pairs = FolderPair(_write(tmp_path / "eo", names, EO), _write(tmp_path / "ir", names, IR))
    assert [sample.stamp_ns for sample in pairs] == stamps
    assert pairs.has_stamps
    assert pairs.rate_hz == pytest.approx(10.0)


def test_what_does_not_pair_is_said_with_names(folders, tmp_path):
    eo, ir = folders
    with pytest.raises(ValueError, match=r"names of the images are no stamps .*: give --rate HZ"):
        FolderPair(eo, ir)
    (eo / "FLIR_3.bmp").rename(eo / "other.bmp")
    alone = r"1 only in .*rgb \(other\) and 1 only in .*thermal \(FLIR_3\): .*--pair order"
    with pytest.raises(ValueError, match=alone):
        FolderPair(eo, ir, rate_hz=5)
    assert len(FolderPair(eo, ir, rate_hz=5, pair="order")) == 4
    (ir / "FLIR_0.tiff").unlink()
    with pytest.raises(ValueError, match=r"holds 4 images and .* 3: pairing by order needs as many"):
        FolderPair(eo, ir, rate_hz=5, pair="order")
    labels = _write(tmp_path / "labels", ["FLIR_9.png"], [np.zeros((10, 15), np.uint8)])
    (eo / "FLIR_0.bmp").unlink()
    (eo / "other.bmp").rename(eo / "FLIR_3.bmp")
    with pytest.raises(ValueError, match=r"labels of no image: FLIR_9"):
        FolderPair(eo, ir, labels, rate_hz=5)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        FolderPair(eo, tmp_path / "nowhere", rate_hz=5)
    (eo / "FLIR_1.bmp").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"FLIR_1.bmp is not an image"):
        list(FolderPair(eo, ir, rate_hz=5))


def _video(path, frames, rate):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (32, 24))
    for level in frames:
        writer.write(np.full((24, 32, 3), level, np.uint8))
    writer.release()
    return path


def test_videos_pair_frame_by_frame_in_any_order(tmp_path):
    eo = _video(tmp_path / "eo.avi", range(0, 200, 10), 12.5)
    ir = _video(tmp_path / "ir.avi", range(200, 0, -10), 12.5)
    pairs = VideoPair(eo, ir)
    assert (len(pairs), pairs.rate_hz) == (20, 12.5)
    for i in [0, 0, 1, 5, 19, 3]:
        sample = pairs[i]
        assert abs(int(sample.eo.mean()) - 10 * i) <= 2
        assert abs(int(sample.ir.mean()) - (200 - 10 * i)) <= 2
        assert (sample.ir.shape, sample.stamp_ns) == ((24, 32), i * 80_000_000)


def test_videos_of_other_rates_and_lengths(tmp_path):
    eo, fast = _video(tmp_path / "eo.avi", range(60), 30), _video(tmp_path / "fast.avi", range(60), 9)
    with pytest.raises(ValueError, match=r"has 30 frames per second and .* 9: .* give --rate HZ"):
        VideoPair(eo, fast)
    assert VideoPair(eo, fast, rate_hz=5).rate_hz == 5
    assert len(VideoPair(eo, _video(tmp_path / "a.avi", range(59), 30))) == 59
    with pytest.raises(ValueError, match=r"has 60 frames and .* 40"):
        VideoPair(eo, _video(tmp_path / "b.avi", range(40), 30))
    (tmp_path / "junk.mp4").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"junk.mp4 is no video that OpenCV can read"):
        VideoPair(tmp_path / "junk.mp4", eo)
    with pytest.raises(FileNotFoundError, match="there is no video"):
        VideoPair(tmp_path / "none.mp4", eo)
