from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csk_ros.data import Sample
from csk_ros.data.augmentation import Augmentation, augment
from csk_ros.labels import UNLABELLED

GEOMETRY = Augmentation(color=0, darkness=0, blur=0, gain=0, offset=0, noise=0, shift=0)
NOTHING = Augmentation(flip=0, scale=(1, 1), color=0, darkness=0, blur=0, gain=0, offset=0, noise=0, shift=0)
EVERYTHING = Augmentation(
    darkness=0.3, night=0.3, blackout=0.3, washout=0.3, motion_blur=0.5, eo_noise=0.1, ir_blur=1.0
)


def blocks(seed: int, height: int, width: int, dtype=np.uint8) -> Sample:
    """Big blocks of classes; eo and ir show the class as brightness, so that geometry can be compared."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 9, (height // 16, width // 16)), np.ones((16, 16))).astype(np.uint8)
    bright = labels * 20 + 30
    return Sample(np.repeat(bright[..., None], 3, axis=2), bright.astype(dtype), labels, "blocks", 7)


@given(seed=st.integers(0, 2**32), height=st.sampled_from([48, 64, 96]), width=st.sampled_from([64, 96]))
@settings(max_examples=40)
def test_geometry_acts_alike_on_eo_ir_and_labels(seed, height, width):
    out = augment(blocks(seed, height, width), np.random.default_rng(seed), GEOMETRY)
    expected = np.where(out.labels == UNLABELLED, 0, out.labels * 20 + 30).astype(np.int32)
    # inside blocks all three must agree; along their edges interpolation may differ
    values, window = expected.astype(np.uint8), np.ones((5, 5), np.uint8)
    edges = cv2.dilate(values, window) != cv2.erode(values, window)
    edges[:2], edges[-2:], edges[:, :2], edges[:, -2:] = True, True, True, True
    assert edges.mean() < 0.9
    assert np.abs(out.ir.astype(np.int32) - expected)[~edges].max(initial=0) <= 1
    assert np.abs(out.eo.astype(np.int32) - expected[..., None])[~edges].max(initial=0) <= 1


@given(seed=st.integers(0, 2**32), size=st.none() | st.tuples(st.integers(16, 80), st.integers(16, 80)))
@settings(max_examples=40)
def test_labels_are_never_invented_and_sizes_hold(seed, size):
    sample = blocks(seed, 64, 96)
    out = augment(sample, np.random.default_rng(seed), EVERYTHING, size=size)
    assert set(np.unique(out.labels)) <= {*np.unique(sample.labels).tolist(), UNLABELLED}
    height, width = size or (64, 96)
    assert out.eo.shape == (height, width, 3)
    assert out.ir.shape == out.labels.shape == (height, width)
    assert (out.eo.dtype, out.ir.dtype, out.labels.dtype) == (np.uint8,) * 3
    assert (out.name, out.stamp_ns) == ("blocks", 7)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_depends_on_the_generator_alone_and_leaves_its_input(seed):
    sample = blocks(1, 64, 64)
    before = [image.copy() for image in (sample.eo, sample.ir, sample.labels)]
    first, second = (augment(sample, np.random.default_rng(seed), EVERYTHING) for _ in range(2))
    for a, b in ((first.eo, second.eo), (first.ir, second.ir), (first.labels, second.labels)):
        assert np.array_equal(a, b)
    for image, copy in zip((sample.eo, sample.ir, sample.labels), before, strict=True):
        assert np.array_equal(image, copy)


@given(seed=st.integers(0, 2**32), dtype=st.sampled_from([np.uint8, np.uint16]))
@settings(max_examples=15)
def test_nothing_changes_nothing(seed, dtype):
    sample = blocks(seed, 64, 96, dtype)
    out = augment(sample, np.random.default_rng(seed), NOTHING)
    assert out.ir.dtype == dtype
    assert np.array_equal(out.eo, sample.eo)
    assert np.array_equal(out.ir, sample.ir)
    assert np.array_equal(out.labels, sample.labels)


def test_flip_mirrors():
    sample = blocks(3, 64, 96)
    out = augment(sample, np.random.default_rng(0), Augmentation(**{**vars(NOTHING), "flip": 1}))
    assert np.array_equal(out.eo, sample.eo[:, ::-1])
    assert np.array_equal(out.ir, sample.ir[:, ::-1])
    assert np.array_equal(out.labels, sample.labels[:, ::-1])


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"color": 0.5}, "eo"),
        ({"blur": 3.0}, "eo"),
        ({"eo_noise": 0.1}, "eo"),
        ({"darkness": 1.0}, "eo"),
        ({"night": 1.0}, "eo"),
        ({"blackout": 1.0}, "eo"),
        ({"washout": 1.0}, "eo"),
        ({"motion_blur": 1.0}, "eo"),
        ({"gain": 0.3}, "ir"),
        ({"offset": 0.3}, "ir"),
        ({"noise": 0.1}, "ir"),
        ({"ir_blur": 3.0}, "ir"),
    ],
)
def test_light_and_drift_change_one_camera_only(change, changed):
    sample = blocks(3, 64, 96)
    changes = Augmentation(**{**vars(NOTHING), **change})
    outs = [augment(sample, np.random.default_rng(i), changes) for i in range(8)]
    assert all(np.array_equal(out.labels, sample.labels) for out in outs)
    for name in ("eo", "ir"):
        equal = [np.array_equal(getattr(out, name), getattr(sample, name)) for out in outs]
        assert not all(equal) if name == changed else all(equal)


def test_zoomed_out_images_are_unlabelled_around():
    sample = blocks(3, 64, 96)
    out = augment(sample, np.random.default_rng(5), Augmentation(**{**vars(NOTHING), "scale": (0.5, 0.5)}))
    outside = out.labels == UNLABELLED
    assert outside.mean() == pytest.approx(0.75, abs=0.02)
    assert (out.ir[outside] <= 105).all()  # at most half of the brightest edge pixel


def test_sixteen_bit_thermal_stays_sixteen_bit():
    sample = blocks(3, 64, 96, np.uint16)
    raw = Sample(sample.eo, (sample.ir + np.uint16(29000)), sample.labels, "raw", 0)
    out = augment(raw, np.random.default_rng(5), Augmentation(**{**vars(NOTHING), "noise": 0.05}))
    assert out.ir.dtype == np.uint16
    assert abs(int(np.median(out.ir)) - int(np.median(raw.ir))) < 20


def test_sample_without_labels():
    sample = blocks(3, 64, 96)
    assert augment(Sample(sample.eo, sample.ir, None, "x", 0), np.random.default_rng(0)).labels is None


@pytest.mark.parametrize(
    "bad",
    [
        {"flip": 2},
        {"scale": (0, 1)},
        {"scale": (2, 1)},
        {"noise": -1},
        {"motion_blur": 1.1},
        {"night": 0.6, "darkness": 0.5},
    ],
)
def test_senseless_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Augmentation(**bad)


def slope(before, after):
    return np.polyfit(before.ravel().astype(float), after.ravel().astype(float), 1)[0]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30)
def test_blackout_leaves_no_light_but_noise(seed):
    sample = blocks(seed, 64, 96)
    out = augment(sample, np.random.default_rng(seed), replace(NOTHING, blackout=1.0))
    assert out.eo.mean() < 0.04 * sample.eo.mean() + 2


def test_some_blackouts_show_nothing_at_all_and_most_have_noise():
    sample = blocks(3, 64, 96)
    outs = [augment(sample, np.random.default_rng(i), replace(NOTHING, blackout=1.0)) for i in range(30)]
    assert min(slope(sample.eo, out.eo) for out in outs) < 0.005
    assert np.mean([len(np.unique(out.eo)) > 2 for out in outs]) > 0.5


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30)
def test_washout_blends_half_or_more_with_one_grey(seed):
    sample = blocks(seed, 64, 96)
    out = augment(sample, np.random.default_rng(seed), replace(NOTHING, washout=1.0))
    assert -0.02 < slope(sample.eo, out.eo) < 0.51
    assert out.eo.min() >= 20


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30)
def test_darkness_and_night_keep_a_dim_picture(seed):
    sample = blocks(seed, 64, 96)
    before = sample.eo.mean()
    dusk = augment(sample, np.random.default_rng(seed), replace(NOTHING, darkness=1.0)).eo
    night = augment(sample, np.random.default_rng(seed), replace(NOTHING, night=1.0)).eo
    assert 0.04 * before < dusk.mean() < 0.61 * before
    assert night.mean() < 0.3 * 1.3 * before + 5


def test_night_is_tinted_and_noisier_than_darkness():
    grey = Sample(np.full((64, 96, 3), 200, np.uint8), np.zeros((64, 96), np.uint8), None, "grey", 0)

    def outs(switch):
        changes = replace(NOTHING, **{switch: 1.0})
        return [augment(grey, np.random.default_rng(i), changes).eo.astype(float) for i in range(20)]

    def tint(eo):
        return np.ptp(eo.mean(axis=(0, 1))) / eo.mean()

    dusk, night = outs("darkness"), outs("night")
    assert np.median([tint(eo) for eo in night]) > 0.15
    assert np.median([tint(eo) for eo in dusk]) < 0.05
    assert np.median([eo.std(axis=(0, 1)).mean() for eo in night]) > 3


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_motion_blur_smears_a_point_into_one_straight_short_line(seed):
    eo = np.zeros((61, 320, 3), np.uint8)
    eo[30, 160] = 255
    point = Sample(eo, np.zeros((61, 320), np.uint8), None, "point", 0)
    out = augment(point, np.random.default_rng(seed), replace(NOTHING, motion_blur=1.0)).eo[..., 0]
    pixels = np.argwhere(out) - (30, 160)
    assert 3 <= len(pixels) <= 17
    assert np.array_equal(pixels, -pixels[::-1])  # centred on where the labels have it
    direction = pixels[-1] / np.linalg.norm(pixels[-1])
    assert np.abs(pixels @ (direction[1], -direction[0])).max() < 1
    assert int(out.sum()) == pytest.approx(255, abs=len(pixels))


@pytest.mark.parametrize(("switch", "camera"), [("eo_noise", "eo"), ("noise", "ir")])
def test_noise_is_normal_of_at_most_the_sigma_asked_for(switch, camera):
    ramp = np.tile(np.linspace(60, 190, 200).astype(np.uint8), (150, 1))
    sample = Sample(np.repeat(ramp[..., None], 3, 2), ramp, None, "ramp", 0)
    changes = replace(NOTHING, **{switch: 0.05})
    range_ = 255 if camera == "eo" else np.ptp(np.percentile(ramp, (1, 99)))
    sigmas = []
    for seed in range(30):
        out = getattr(augment(sample, np.random.default_rng(seed), changes), camera)
        difference = out.astype(float) - getattr(sample, camera)
        assert abs(difference.mean()) < 0.2
        sigmas.append(difference.std())
        if sigmas[-1] > 3:
            whole = np.floor(sigmas[-1])
            expected = 1 - 2 * NormalDist(0, sigmas[-1]).cdf(-whole - 0.5)
            assert np.mean(np.abs(difference) <= whole) == pytest.approx(expected, abs=0.02)
            assert abs(slope(difference[:, 1:], difference[:, :-1])) < 0.05
    assert 0.6 * 0.05 * range_ < max(sigmas) < 1.05 * 0.05 * range_


def test_the_camera_effects_of_one_transform_equal_the_plain_formula():
    rng = np.random.default_rng(1)
    eo = rng.integers(90, 150, (40, 50, 3), np.uint8)
    out = augment(
        Sample(eo, eo[..., 0], None, "x", 0), np.random.default_rng(6), replace(NOTHING, color=0.3)
    ).eo
    twin = np.random.default_rng(6)  # as many draws as precede those of colour
    twin.uniform(size=1), twin.uniform(size=2), twin.random(), twin.uniform(size=2), twin.random()
    brightness, contrast, saturation = 1 + 0.3 * twin.uniform(-1, 1, 3)
    grey = eo @ np.array((0.299, 0.587, 0.114))
    pixels = grey[..., None] + saturation * (eo - grey[..., None])
    expected = brightness * ((pixels - 128) * contrast + 128)
    assert np.abs(out - expected.clip(0, 255)).max() <= 1


@given(seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_chances_are_kept_apart(seed):
    sample = blocks(3, 64, 64)
    all_dark = replace(NOTHING, blackout=0.4, night=0.3, darkness=0.3)
    out = augment(sample, np.random.default_rng(seed), all_dark)
    assert out.eo.mean() < 0.65 * sample.eo.mean()


@pytest.mark.parametrize("switch", ["flip", "darkness", "night", "blackout", "washout", "motion_blur"])
def test_a_chance_is_a_frequency(switch):
    sample = blocks(3, 48, 64)
    changes = replace(NOTHING, **{switch: 0.3})
    outs = [augment(sample, np.random.default_rng(i), changes).eo for i in range(300)]
    assert np.mean([not np.array_equal(eo, sample.eo) for eo in outs]) == pytest.approx(0.3, abs=0.1)


def test_blackout_night_and_darkness_share_one_chance():
    grey = Sample(np.full((32, 32, 3), 200, np.uint8), np.zeros((32, 32), np.uint8), None, "grey", 0)
    changes = replace(NOTHING, blackout=0.3, night=0.3, darkness=0.3)
    outs = [augment(grey, np.random.default_rng(i), changes).eo.astype(float) for i in range(300)]
    bright = [eo.mean() == 200 for eo in outs]
    black = [eo.mean() < 0.04 * 200 + 2 for eo in outs]
    tinted = [not b and np.ptp(eo.mean(axis=(0, 1))) > 2 for eo, b in zip(outs, black, strict=True)]
    assert np.mean(bright) == pytest.approx(0.1, abs=0.06)
    assert np.mean(black) == pytest.approx(0.3, abs=0.1)
    assert np.mean(tinted) == pytest.approx(0.25, abs=0.1)
