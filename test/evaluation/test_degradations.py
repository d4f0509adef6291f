from __future__ import annotations

import numpy as np
import pytest

from csk_ros.evaluation import degradations


@pytest.fixture
def eo():
    return np.random.default_rng(0).integers(0, 256, (45, 60, 3), dtype=np.uint8)


def test_pointwise_changes_by_hand():
    eo = np.array([[[0, 100, 200]]], np.uint8)  # mean 100
    assert degradations.darken(eo, 0.25).tolist() == [[[0, 25, 50]]]
    assert degradations.overexpose(eo, 1.5).tolist() == [[[0, 150, 255]]]
    assert degradations.wash_out(eo, 0.5).tolist() == [[[50, 100, 150]]]
    assert degradations.fog(eo, 0.5).tolist() == [[[100, 150, 200]]]
    assert degradations.fog(eo, 0).tolist() == [[[200, 200, 200]]]


def test_shift_moves_right_and_repeats_the_edge(eo):
    moved = degradations.shift(eo, 7)
    assert np.array_equal(moved[:, 7:], eo[:, :-7])
    assert (moved[:, :7] == eo[:, :1]).all()
    assert degradations.shift(eo, 1000).shape == eo.shape


def test_motion_blur_is_the_mean_along_a_row(eo):
    blurred = degradations.motion_blur(eo, 9)
    assert np.abs(blurred[10, 20].astype(float) - eo[10, 16:25].mean(axis=0)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_lost_regions_are_squares_of_the_asked_share(eo, share):
    eo = np.maximum(eo, 1)
    lost = degradations.lose_regions(eo, share, np.random.default_rng(0)) == 0
    assert lost.any(axis=2).mean() == pytest.approx(share, abs=1e-3)
    squares = lost.all(axis=2).reshape(15, 3, 20, 3).transpose(0, 2, 1, 3).reshape(-1, 9)
    assert (squares.all(axis=1) == squares.any(axis=1)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_salt_and_pepper_hit_the_asked_share_half_each(dtype):
    image = np.full((300, 400), 30_000 if dtype == np.uint16 else 100, dtype)
    image[0, 0], image[0, 1] = (29_000, 31_000) if dtype == np.uint16 else (90, 110)
    low, high = (29_000, 31_000) if dtype == np.uint16 else (0, 255)
    noisy = degradations.add_noise(image, 0.1, 0, np.random.default_rng(0))
    assert noisy.dtype == dtype
    assert (noisy == low).mean() == pytest.approx(0.05, abs=0.003)
    assert (noisy == high).mean() == pytest.approx(0.05, abs=0.003)


def test_gaussian_noise_has_the_asked_spread():
    image = np.full((200, 300, 3), 128, np.uint8)
    noisy = degradations.add_noise(image, 0, 0.1, np.random.default_rng(0)).astype(float)
    assert noisy.std() == pytest.approx(25.5, rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=0.3)


def test_the_input_stays_as_it_is(eo):
    before, rng = eo.copy(), np.random.default_rng(0)
    degradations.lose_regions(eo, 0.5, rng)
    degradations.add_noise(eo, 0.5, 0.5, rng)
    degradations.shift(eo, 3)[:] = 0
    assert np.array_equal(eo, before)
