from __future__ import annotations

import pytest

from csk_ros.data import open_samples


def test_unknown_kind_lists_those_that_exist():
    with pytest.raises(ValueError, match=r"unknown data 'kitti:x'.*mfnet:ROOT.*scenes:"):
        open_samples("kitti:x")


def test_mfnet_needs_a_folder():
    with pytest.raises(ValueError, match="write mfnet:ROOT"):
        open_samples("mfnet:")
