from __future__ import annotations

import cv2
import numpy as np
import pytest

from csk_ros.data.images import PixelFormatError
from csk_ros.replay.label_folder import LabelFolder, LabelFolderError

STAMP = 1_700_000_000_123_456_789


@pytest.mark.parametrize("name", ["1700000000123456789", "1700000000.123456789"])
def test_labels_are_found_by_stamp(tmp_path, name):
    labels = np.array([[0, 1], [255, 2]], np.uint8)
    cv2.imwrite(str(tmp_path / f"{name}.png"), labels)
    folder = LabelFolder(tmp_path)
    np.testing.assert_array_equal(folder.labels_at(STAMP), labels)
    assert folder.labels_at(STAMP + 1) is None


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "holds no PNG"),
        (None, "there is no folder of labels"),
        (["frame_1"], "frame_1.png is not named by a stamp"),
        (["1700000000123456789", "1700000000.123456789"], "are of the same stamp: keep one"),
    ],
)
def test_folders_of_no_use_are_refused(tmp_path, names, says):
    folder = tmp_path / "labels"
    if names is not None:
        folder.mkdir()
    for name in names or ():
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((2, 2), np.uint8))
    with pytest.raises(LabelFolderError, match=says):
        LabelFolder(folder)


def test_files_that_are_no_label_map_are_named(tmp_path):
    cv2.imwrite(str(tmp_path / f"{STAMP}.png"), np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    with pytest.raises(PixelFormatError, match=f"{STAMP}.png"):
        LabelFolder(tmp_path).labels_at(STAMP)
