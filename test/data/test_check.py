from __future__ import annotations

import json

import cv2
import layouts
import numpy as np
import pytest

from csk_ros.data.check import ERRORS, WARNINGS, check_data, find_layout
from csk_ros.data.check_text import report_text, summary
from csk_ros.data.registry import LAYOUTS


@pytest.fixture(params=layouts.KINDS)
def kind(request):
    return request.param


@pytest.fixture
def root(tmp_path, kind):
    return layouts.write_any(tmp_path, kind)


@pytest.fixture
def msrs(tmp_path):
    return layouts.write_any(tmp_path, "msrs")


@pytest.fixture
def mfnet(tmp_path):
    return layouts.write_any(tmp_path, "mfnet")


def kinds(report):
    return [(f.kind, f.where.rpartition("/")[2]) for f in report.findings]


def found(root, split=None):
    return kinds(check_data(str(root), split))


def test_a_whole_data_set_is_recognised_and_has_no_findings(root, kind):
    report = check_data(str(root))
    assert report.format.kind == kind
    assert report.findings == ()
    assert report.sizes == {"16x12": 3}
    assert {name: counts.frames for name, counts in report.splits.items()} == {"train": 2, "test": 1}
    assert check_data(f"{kind}:{root}").to_dict() == report.to_dict()


def test_classes_are_counted_as_the_loader_reads_them(msrs):
    counts = check_data(str(msrs)).splits["train"]
    labels = [cv2.imread(str(msrs / f"train/Segmentation_labels/{n}.png"), -1) for n in ("00001D", "00002N")]
    expected = np.bincount(np.ravel(labels), minlength=9)
    assert counts.pixels.tolist() == expected.tolist()
    np.testing.assert_allclose(counts.frequencies(), expected / expected.sum())
    assert (
        counts.holding.tolist() == sum(np.isin(np.arange(9), image).astype(int) for image in labels).tolist()
    )


def test_fmb_counts_zero_as_unlabelled(tmp_path):
    root = layouts.write_any(tmp_path, "fmb")
    labels = np.zeros(layouts.SIZE, np.uint8)
    labels[:3] = 14
    layouts.write(root / "test/Label/00003D.png", labels)
    counts = check_data(str(root), "test").splits["test"]
    assert counts.unlabelled == 9 * 16
    assert counts.pixels.tolist() == [0] * 13 + [3 * 16]


@pytest.mark.parametrize("folder", ["vi", "ir", "Segmentation_labels"])
def test_missing_partner(msrs, folder):
    (msrs / "train" / folder / "00002N.png").unlink()
    report = check_data(str(msrs))
    assert [(f.kind, f.where) for f in report.findings] == [
        ("missing file", str(msrs / "train" / folder / "00002N.png"))
    ]
    assert report.errors == 1


def test_every_defect_is_found_in_one_go(msrs):
    train, test = msrs / "train", msrs / "test"
    (train / "vi/00001D.png").write_bytes((train / "vi/00001D.png").read_bytes()[:-20])
    layouts.write(train / "ir/00001D.png", np.zeros((12, 16), np.uint8))
    layouts.write(train / "Segmentation_labels/00001D.png", np.full((12, 16), 9, np.uint8))
    layouts.write(train / "vi/00002N.png", np.zeros((12, 16, 3), np.uint8))
    layouts.write(train / "ir/00002N.png", np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8))
    layouts.write(train / "Segmentation_labels/00002N.png", np.full((12, 16), 255, np.uint8))
    (test / "ir/00003D.png").unlink()
    layouts.write(test / "vi/00003D.png", np.ones((13, 16, 3), np.uint8))
    (msrs / "val/vi").mkdir(parents=True)
    report = check_data(str(msrs))
    assert kinds(report) == [
        ("missing file", "00003D.png"),
        ("empty split", "val"),
        ("unreadable file", "00001D.png"),
        ("wrong format", "00002N.png"),
        ("sizes differ", "00003D.png"),
        ("foreign ids", "00001D.png"),
        ("nothing labelled", "00002N.png"),
        ("black optical image", "00002N.png"),
        ("constant thermal image", "00001D.png"),
    ]
    assert report.errors == 6
    assert [f.detail for f in report.findings if f.kind == "sizes differ"] == ["eo 16x13, labels 16x12"]
    text = report_text(report)
    for finding in report.findings:
        assert finding.where in text
    assert summary(report).startswith("6 errors in ")
    assert json.loads(json.dumps(report.to_dict()))["warnings"] == 3


def test_lists_and_files_that_do_not_agree(mfnet):
    (mfnet / "train.txt").write_text("00001D\n00009N\n00003D\n")
    (mfnet / "test_day.txt").write_text("00003D\n")
    assert found(mfnet) == [
        ("listed without files", "00009N"),
        ("in no split", "00002N"),
        ("in two splits", "00003D"),
        ("in two splits", "00003D"),
    ]
    assert found(mfnet, "train") == [("listed without files", "00009N")]


def test_mvseg_list_names_a_video_that_is_not_there(tmp_path):
    root = layouts.write_any(tmp_path, "mvseg")
    (root / "train.txt").write_text("nowhere\n")
    assert found(root) == [
        ("listed without files", "nowhere"),
        ("in no split", "00010"),
        ("in no split", "00020"),
    ]
    assert check_data(str(root)).splits["in no split"].frames == 2


def test_parts_of_a_split_may_overlap_with_it(mfnet):
    for name in ("test_day", "val_test"):
        (mfnet / f"{name}.txt").write_text("00003D\n")
    assert found(mfnet) == []


def test_the_same_images_under_another_name_in_another_split(msrs):
    for folder in ("vi", "ir"):
        image = cv2.imread(str(msrs / f"train/{folder}/00002N.png"), cv2.IMREAD_UNCHANGED)
        level = [cv2.IMWRITE_PNG_COMPRESSION, 0]  # other bytes, same pixels
        assert cv2.imwrite(str(msrs / f"test/{folder}/00003D.png"), image, level)
    assert found(msrs) == [("same images in two splits", "00003D")]
    layouts.write(msrs / "test/ir/00003D.png", np.eye(12, 16, dtype=np.uint8))
    assert found(msrs) == []


def test_only_the_files_of_a_split_are_read_if_one_is_named(msrs):
    (msrs / "train/ir/00002N.png").write_bytes(b"")
    assert found(msrs, "test") == []
    assert found(msrs, "train") == [("unreadable file", "00002N.png")]
    with pytest.raises(ValueError, match=r"unknown split 'val'.*test, train"):
        check_data(str(msrs), "val")


def test_mfnet_image_without_thermal_is_reported_once(mfnet):
    layouts.write(mfnet / "images/00002N.png", np.ones((12, 16, 3), np.uint8))
    (mfnet / "images/00001D.png").unlink()
    assert found(mfnet) == [("missing file", "00001D.png"), ("wrong format", "00002N.png")]


def test_sixteen_bit_thermal_is_fine(msrs):
    layouts.write(msrs / "test/ir/00003D.png", np.arange(192, dtype=np.uint16).reshape(12, 16) * 300)
    assert found(msrs) == []


def test_long_lists_are_cut_in_the_text_only(mfnet):
    (mfnet / "train.txt").write_text("".join(f"{i:05d}N\n" for i in range(100, 130)))
    report = check_data(str(mfnet))
    text = report_text(report)
    assert "00119N" in text
    assert "00120N" not in text
    assert "and 10 more" in text
    assert len([f for f in report.to_dict()["findings"] if f["error"]]) == 30


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("scenes:seed=3", "no files to check"),
        ("kitti:/data", "is not a folder"),
        ("msrs:/nowhere", r"is not the root of MSRS, which holds .*Segmentation_labels"),
    ],
)
def test_what_is_no_data_set(spec, reason):
    with pytest.raises((ValueError, OSError), match=reason):
        find_layout(spec)


def test_a_folder_like_none_or_like_two(tmp_path):
    with pytest.raises(ValueError, match=r"looks like no known data set.*mfnet, msrs, fmb, mvseg, pst900"):
        find_layout(str(tmp_path))
    layouts.write_any(tmp_path, "msrs")
    layouts.write_any(tmp_path, "fmb")
    with pytest.raises(ValueError, match="looks like msrs, fmb: write KIND:ROOT"):
        find_layout(str(tmp_path))
    assert find_layout(f"fmb:{tmp_path}")[0] is LAYOUTS["fmb"]


def test_kinds_of_findings_are_either_errors_or_warnings():
    assert not set(ERRORS) & set(WARNINGS)


def test_real_frames(shared):
    report = check_data(str(shared / "data/mfnet_subset"), "val")
    assert report.findings == ()
    assert report.sizes == {"640x480": 20}
    assert report.splits["val"].holding.tolist() == [20, 20, 19, 7, 14, 0, 0, 0, 0]
