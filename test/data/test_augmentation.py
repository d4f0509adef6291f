from __future__ import annotations

from dataclasses import replace

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


def blocks(seed: int, height: int, width: int, dtype=np.uint8) -> Sample:
    """Big blocks of classes; eo and ir show the class as brightness, so that geometry can be compared."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 9, (height // 16, width // 16)), np.ones((16, 16))).astype(np.uint8)
    bright = labels * 20 + 30
    return Sample(np.repeat(bright[..., None], 3, axis=2), bright.astype(dtype), labels, "blocks", 7)


@given(seed=st.integers(0, 2**32), height=st.sampled_from([48, 64, 96]), width=st.sampled_from([64, 96]))
@settings(max_examples=40, deadline=None)
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
@settings(max_examples=40, deadline=None)
def test_labels_are_never_invented_and_sizes_hold(seed, size):
    sample = blocks(seed, 64, 96)
    out = augment(sample, np.random.default_rng(seed), size=size)
    assert set(np.unique(out.labels)) <= {*np.unique(sample.labels).tolist(), UNLABELLED}
    height, width = size or (64, 96)
    assert out.eo.shape == (height, width, 3)
    assert out.ir.shape == out.labels.shape == (height, width)
    assert (out.eo.dtype, out.ir.dtype, out.labels.dtype) == (np.uint8,) * 3
    assert (out.name, out.stamp_ns) == ("blocks", 7)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_depends_on_the_generator_alone_and_leaves_its_input(seed):
    sample = blocks(1, 64, 64)
    before = [image.copy() for image in (sample.eo, sample.ir, sample.labels)]
    first, second = (augment(sample, np.random.default_rng(seed)) for _ in range(2))
    for a, b in ((first.eo, second.eo), (first.ir, second.ir), (first.labels, second.labels)):
        assert np.array_equal(a, b)
    for image, copy in zip((sample.eo, sample.ir, sample.labels), before, strict=True):
        assert np.array_equal(image, copy)


def test_nothing_changes_nothing():
    sample = blocks(3, 64, 96)
    out = augment(sample, np.random.default_rng(0), NOTHING)
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
    [({"color": 0.5}, "eo"), ({"gain": 0.3}, "ir"), ({"offset": 0.3}, "ir"), ({"noise": 0.1}, "ir")],
)
def test_light_and_drift_change_one_camera_only(change, changed):
    sample = blocks(3, 64, 96)
    out = augment(sample, np.random.default_rng(5), Augmentation(**{**vars(NOTHING), **change}))
    assert np.array_equal(out.labels, sample.labels)
    for name in ("eo", "ir"):
        assert np.array_equal(getattr(out, name), getattr(sample, name)) == (name != changed)


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


@pytest.mark.parametrize("bad", [{"flip": 2}, {"scale": (0, 1)}, {"scale": (2, 1)}, {"noise": -1}])
def test_senseless_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Augmentation(**bad)


@pytest.mark.parametrize("switch", ["darkness", "blackout", "washout"])
def test_bad_light_spoils_the_optical_image_alone(switch):
    sample = blocks(3, 64, 96)
    out = augment(sample, np.random.default_rng(0), replace(NOTHING, **{switch: 1.0}))
    assert np.array_equal(out.ir, sample.ir)
    assert np.array_equal(out.labels, sample.labels)
    before, after = sample.eo.astype(float), out.eo.astype(float)
    if switch == "washout":
        contrast = np.corrcoef(before.ravel(), after.ravel())[0, 1] * after.std() / before.std()
        assert contrast < 0.55
    else:
        assert after.mean() < before.mean() * (0.65 if switch == "darkness" else 0.06)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_chances_are_kept_apart(seed):
    sample = blocks(3, 64, 64)
    both = replace(NOTHING, blackout=0.5, darkness=0.5)
    out = augment(sample, np.random.default_rng(seed), both)
    assert out.eo.mean() < 0.65 * sample.eo.mean()
