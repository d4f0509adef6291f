from __future__ import annotations

import cv2
import numpy as np
import pytest

from csk_ros.data import SampleSet, open_samples
from csk_ros.data.mfnet import MFNetSamples
from csk_ros.labels import MFNET


@pytest.fixture
def root(tmp_path):
    """Two pairs of random pixels in the MFNet layout."""
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for name in ("00001D", "00002N"):
        cv2.imwrite(str(tmp_path / f"images/{name}.png"), rng.integers(0, 256, (6, 8, 4), np.uint8))
        cv2.imwrite(str(tmp_path / f"labels/{name}.png"), rng.integers(0, 9, (6, 8), np.uint8))
    (tmp_path / "train.txt").write_text("00002N\n00001D\n")
    (tmp_path / "val.txt").write_text("00001D\n")
    return tmp_path


def test_reads_channels_in_the_order_r_g_b_thermal(root):
    pixels = cv2.imread(str(root / "images/00002N.png"), cv2.IMREAD_UNCHANGED)
    sample = open_samples(f"mfnet:{root}", "train")[0]
    assert sample.name == "00002N"
    assert np.array_equal(sample.eo, pixels[..., [2, 1, 0]])
    assert np.array_equal(sample.ir, pixels[..., 3])
    assert np.array_equal(sample.labels, cv2.imread(str(root / "labels/00002N.png"), cv2.IMREAD_UNCHANGED))


def test_split_gives_order_and_stamps(root):
    samples = open_samples(f"mfnet:{root}", "train")
    assert isinstance(samples, SampleSet)
    assert [s.name for s in samples] == ["00002N", "00001D"]
    assert [s.stamp_ns for s in samples] == [0, 100_000_000]
    assert samples[-1].name == "00001D"
    assert [s.name for s in open_samples(f"mfnet:{root}")] == ["00001D", "00002N"]
    with pytest.raises(IndexError, match="sample 2"):
        samples[2]


def test_missing_root_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.*MFNet"):
        MFNetSamples(tmp_path / "nowhere")


def test_unknown_split_lists_those_that_exist(root):
    with pytest.raises(ValueError, match=r"unknown split 'test'.*train, val, all"):
        MFNetSamples(root, "test")


def test_empty_split_is_refused(root):
    (root / "test.txt").write_text("")
    with pytest.raises(ValueError, match="empty"):
        MFNetSamples(root, "test")


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_missing_half_of_a_pair_is_found_at_once(root, folder):
    (root / folder / "00002N.png").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{folder}/00002N\.png is missing"):
        MFNetSamples(root, "train")


def test_labels_of_another_size_are_refused(root):
    cv2.imwrite(str(root / "labels/00001D.png"), np.zeros((5, 8), np.uint8))
    with pytest.raises(ValueError, match=r"00001D\.png is 8x5 but its image is 8x6"):
        MFNetSamples(root, "val")[0]


def test_image_without_thermal_channel_is_refused(root):
    cv2.imwrite(str(root / "images/00001D.png"), np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"00001D\.png has 3 channels"):
        MFNetSamples(root, "val")[0]


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_broken_file_is_named(root, content):
    (root / "images/00001D.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"00001D\.png is not an image"):
        MFNetSamples(root, "val")[0]


def test_foreign_label_id_is_refused(root):
    cv2.imwrite(str(root / "labels/00001D.png"), np.full((6, 8), 17, np.uint8))
    with pytest.raises(ValueError, match=r"00001D\.png holds the ids \[17\]"):
        MFNetSamples(root, "val")[0]


def test_real_frames(shared):
    samples = open_samples(f"mfnet:{shared / 'data/mfnet_subset'}", "val")
    assert len(samples) == 20
    sample = samples[7]
    assert sample.eo.shape == (480, 640, 3)
    assert sample.ir.shape == sample.labels.shape == (480, 640)
    assert sample.labels.max() < len(MFNET)
    assert sample.stamp_ns == 700_000_000


def test_a_split_may_be_ranges_of_ids(root):
    for name in ("00003D", "00010D"):
        for folder in ("images", "labels"):
            (root / folder / f"{name}.png").write_bytes((root / folder / "00001D.png").read_bytes())
    names = [s.name for s in MFNetSamples(root, "00002N-00009N+00001D-00009D")]
    assert names == ["00002N", "00001D", "00003D"]
    assert [s.name for s in MFNetSamples(root, "00010D-00010D")] == ["00010D"]
    assert [s.name for s in MFNetSamples(root, "00001D-00003D+00002D-00010D")] == [
        "00001D",
        "00003D",
        "00010D",
    ]


def test_a_range_that_holds_nothing_says_which_ids_there_are(root):
    for i in range(3, 40, 2):
        (root / f"images/{i:05}D.png").touch()
    (root / "images/no_idD.png").touch()
    with pytest.raises(ValueError, match=r"00100D-00109D holds no image.* has 00001D-00001D, 00003D.*\.\.\."):
        MFNetSamples(root, "00100D-00109D")
    with pytest.raises(ValueError, match=r"images has 00002N-00002N$"):
        MFNetSamples(root, "00001N-00001N")
    with pytest.raises(ValueError, match="goes from D to N"):
        MFNetSamples(root, "00001D-00002N")
