from __future__ import annotations

import numpy as np
import pytest

from csk_ros.data.statistics import class_frequencies


def test_frequencies_leave_unlabelled_pixels_out():
    maps = [np.array([[0, 0, 255]], np.uint8), np.array([[2, 0, 255]], np.uint8)]
    np.testing.assert_allclose(class_frequencies(maps, 3), [0.75, 0, 0.25])


def test_frequencies_refuse_foreign_ids_and_nothing_labelled():
    with pytest.raises(ValueError, match=r"id 7.*only 3 classes"):
        class_frequencies([np.array([[7]], np.uint8)], 3)
    with pytest.raises(ValueError, match="no labelled pixel"):
        class_frequencies([np.array([[255]], np.uint8)], 3)
