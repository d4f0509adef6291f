from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csk_ros.data import Sample
from csk_ros.data.augmentation import Augmentation
from csk_ros.labels import LabelSet
from csk_ros.training.samplers import EpochSampler
from csk_ros.training.samples import (
    JoinedSamples,
    SampleModule,
    TrainingSamples,
)
from csk_ros.training.settings import complete_specs

STILL = Augmentation(flip=0, scale=(2, 2), color=0, darkness=0, blur=0, gain=0, offset=0, noise=0, shift=0)


class Ramps(list[Sample]):
    """Pictures whose pixels say where they are; one pixel is of class 3."""

    label_set = LabelSet(("a", "b", "c", "d"), ((0, 0, 0),) * 4)
    rate_hz = 10.0

    def __init__(self, count=4, height=96, width=128):
        x, y = np.meshgrid(np.arange(width, dtype=np.uint8), np.arange(height, dtype=np.uint8))
        for i in range(count):
            labels = np.zeros((height, width), np.uint8)
            labels[5 + i, 100] = 3
            super().append(Sample(np.stack([x, y, y], 2), x, labels, f"ramp {i}", i))


def training_samples(data, **changes):
    base = {"crop": (48, 64), "augmentation": STILL, "focus": 0.0}
    return TrainingSamples(JoinedSamples([Ramps()], ["ramps"]), replace(data, **(base | changes)), seed=7)


@pytest.fixture
def data(make_settings):
    return make_settings(epochs=1).data


def test_crops_cut_eo_ir_and_labels_alike(data):
    batch = training_samples(data)[0, 1]
    assert batch["eo"].shape == (3, 48, 64)
    assert batch["ir"].shape == (1, 48, 64)
    assert batch["labels"].shape == (48, 64)
    torch.testing.assert_close(batch["eo"][0], batch["ir"][0])
    assert (batch["ir"][0, 0].diff() == 1).all()


def test_focus_lays_the_crop_around_the_rare_class(data):
    def share(focus):
        samples = training_samples(data, focus=focus)
        return np.mean([bool((samples[epoch, 0]["labels"] == 3).any()) for epoch in range(40)])

    assert share(1.0) == 1.0
    assert share(0.0) < 0.6


def test_a_factor_below_one_shows_the_whole_image_smaller(data):
    small = replace(STILL, scale=(0.5, 0.5))
    batch = training_samples(data, augmentation=small)[0, 0]
    inside = batch["labels"] != 255
    assert inside.sum() == 24 * 32
    assert int(batch["ir"].max()) > 120


def test_without_augmentation_the_middle_is_taken_and_small_images_are_refused(data):
    batch = training_samples(data, augmentation=None)[3, 2]
    assert batch["ir"][0, 0, 0] == 32
    assert batch["eo"][1, 0, 0] == 24
    with pytest.raises(ValueError, match=r"ramp 0 is 128x96, smaller than data.crop"):
        training_samples(data, augmentation=None, crop=(97, 128))[0, 0]


def test_a_sample_depends_on_epoch_index_and_seed_alone(data):
    samples = training_samples(data, augmentation=Augmentation())
    first = samples[2, 1]
    samples[3, 1]
    torch.testing.assert_close(samples[2, 1], first)
    assert not torch.equal(samples[3, 1]["ir"], first["ir"])


@settings(max_examples=30)
@given(length=st.integers(1, 50), seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_an_epoch_is_every_index_once_in_an_order_of_its_own(length, seed, epoch):
    sampler = EpochSampler(length, seed)
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert keys == list(sampler)
    assert {e for e, _ in keys} == {epoch}
    assert sorted(i for _, i in keys) == list(range(length))
    sampler.set_epoch(epoch + 1)
    if length > 8:
        assert [i for _, i in sampler] != [i for _, i in keys]


def test_joined_samples_are_one_and_keep_what_they_made():
    joined = JoinedSamples([Ramps(2), Ramps(3)], ["two", "three"])
    assert [sample.name for sample in joined] == ["ramp 0", "ramp 1", "ramp 0", "ramp 1", "ramp 2"]
    before = [sample.ir.copy() for sample in joined]
    joined.load(workers=0, title="ramps")
    assert all(np.array_equal(a, b.ir) for a, b in zip(before, joined, strict=True))
    assert joined[1] is joined[1]


def test_sets_with_other_classes_and_samples_without_labels_are_refused():
    other = Ramps(1)
    other.label_set = LabelSet(("x",), ((0, 0, 0),))
    with pytest.raises(ValueError, match="classes of 'second' differ from those of 'first'"):
        JoinedSamples([Ramps(1), other], ["first", "second"])
    bare = Ramps(1)
    bare[0] = replace(bare[0], labels=None)
    with pytest.raises(ValueError, match="ramp 0 has no labels"):
        JoinedSamples([bare], ["bare"])[0]


def test_batches_of_the_loaders(data):
    module = SampleModule(replace(data, workers=1, batch=3), seed=0)
    module.prepare()
    batches = list(module.train_dataloader())
    assert [batch["ir"].shape for batch in batches] == [(3, 1, 64, 96)]
    assert len(list(module.val_dataloader())) == 4


def test_specs_need_a_root_where_they_name_it():
    assert complete_specs(["mfnet:{root}", "scenes:seed=1"], "a") == ["mfnet:a", "scenes:seed=1"]
    with pytest.raises(ValueError, match=r"data\.root is not set"):
        complete_specs(["mfnet:{root}"], None)


def test_examples_are_what_the_first_epoch_has_of_samples_spread_over_all(data):
    module = SampleModule(data, seed=3)
    examples = module.examples()
    first = TrainingSamples(module.train_samples, data, 3)
    count = len(first)
    assert count == 4
    for name, images in examples.items():
        assert torch.equal(images, torch.stack([first[0, index][name] for index in range(count)]))
    module.train_samples = JoinedSamples([Ramps(40)], ["ramps"])
    bytes_of_ir = module.examples()["ir"]
    assert len(bytes_of_ir) == 16
