from __future__ import annotations

import numpy as np
import pytest

from csk_ros.inference.overlay import draw_overlay, grey8
from csk_ros.labels import MFNET


def test_classes_are_blended_and_background_is_left_clear():
    eo = np.full((4, 4, 3), 100, np.uint8)
    labels = np.zeros((4, 4), np.uint8)
    labels[0] = 1
    overlay = draw_overlay(labels, MFNET, eo=eo, opacity=0.5)
    expected = (100 + np.array(MFNET.colors[1])) / 2
    assert np.abs(overlay[0].astype(float) - expected).max() <= 1
    np.testing.assert_array_equal(overlay[1:], eo[1:])


def test_optical_image_is_resized_to_the_labels():
    overlay = draw_overlay(np.zeros((4, 6), np.uint8), MFNET, eo=np.full((8, 12, 3), 9, np.uint8))
    assert overlay.shape == (4, 6, 3)
    assert (overlay == 9).all()


def test_thermal_alone_is_shown_in_grey():
    overlay = draw_overlay(np.zeros((4, 6), np.uint8), MFNET, ir=np.full((4, 6), 7, np.uint8))
    assert (overlay == 7).all()


def test_sixteen_bits_are_stretched():
    ir = np.linspace(20000, 21000, 64 * 64).reshape(64, 64).astype(np.uint16)
    grey = grey8(ir)
    assert grey.min() == 0
    assert grey.max() == 255


def test_no_image_is_an_error():
    with pytest.raises(ValueError, match="pass eo or ir"):
        draw_overlay(np.zeros((2, 2), np.uint8), MFNET)
