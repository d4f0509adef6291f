from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from csk_ros.replay.label_folder import LabelFolder, LabelFolderError, stamp_of


@pytest.mark.parametrize(
    ("stem", "stamp_ns"),
    [
        ("1700000000123456789", 1_700_000_000_123_456_789),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        ("1700000000_5", 1_700_000_000_500_000_000),
        ("frame_1", None),
        ("1.2.3", None),
    ],
)
def test_names_tell_stamps(stem, stamp_ns):
    assert stamp_of(stem) == stamp_ns


def test_labels_are_found_by_stamp(tmp_path):
    labels = np.array([[0, 1], [255, 2]], np.uint8)
    cv2.imwrite(str(tmp_path / "12.5.png"), labels)
    folder = LabelFolder(tmp_path)
    np.testing.assert_array_equal(folder.labels_at(12_500_000_000), labels)
    assert folder.labels_at(12_500_000_001) is None


def test_names_of_an_extracted_data_set_are_known_by_its_file(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "extract.json").write_text(json.dumps({"stamps": {"00001D": 77}}))
    cv2.imwrite(str(tmp_path / "labels" / "00001D.png"), np.zeros((2, 2), np.uint8))
    assert LabelFolder(tmp_path / "labels").labels_at(77) is not None


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "holds no PNG that is named by its stamp"),
        (lambda p: p.rmdir(), "there is no folder of labels"),
        (lambda p: (p / "extract.json").write_text("[]"), "extract.json is malformed"),
    ],
)
def test_folders_of_no_use_are_refused(tmp_path, make, says):
    folder = tmp_path / "labels"
    folder.mkdir()
    make(folder)
    with pytest.raises(LabelFolderError, match=says):
        LabelFolder(folder)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (np.zeros((2, 2, 3), np.uint8), r"12.png is uint8 of shape \(2, 2, 3\): labels are class ids"),
        (np.zeros((2, 2), np.uint16), "12.png is uint16"),
        (None, "12.png cannot be read"),
    ],
)
def test_files_of_no_use_are_named(tmp_path, content, says):
    if content is None:
        (tmp_path / "12.png").write_bytes(b"no picture")
    else:
        cv2.imwrite(str(tmp_path / "12.png"), content)
    with pytest.raises(LabelFolderError, match=says):
        LabelFolder(tmp_path).labels_at(12)
