from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csk_ros.data import SampleSet, open_samples
from csk_ros.data.synthetic import SceneDrive, SceneDrives
from csk_ros.labels import MFNET

SIZE = {"height": 240, "width": 320}
PERSON = MFNET.names.index("person")


def digest(sample) -> str:
    pixels = (sample.eo, sample.ir, sample.labels)
    return hashlib.sha256(b"".join(image.tobytes() for image in pixels)).hexdigest()


def test_frames_are_labelled_pairs_of_the_asked_form():
    drive = SceneDrive(3, frames=5, rate_hz=20.0, light="day")
    sample = drive[2]
    assert isinstance(drive, SampleSet)
    assert (len(drive), drive.rate_hz, drive.label_set) == (5, 20.0, MFNET)
    assert (sample.eo.shape, sample.eo.dtype) == ((480, 640, 3), np.uint8)
    assert (sample.ir.shape, sample.ir.dtype) == ((480, 640), np.uint8)
    assert (sample.labels.shape, sample.labels.dtype) == ((480, 640), np.uint8)
    assert sample.labels.max() < len(MFNET)
    assert sample.stamp_ns == 100_000_000
    with pytest.raises(IndexError, match="sample 5"):
        drive[5]


@given(seed=st.integers(0, 10**6), light=st.sampled_from(["day", "dusk", "night", "night-to-day"]))
@settings(max_examples=5)
def test_a_frame_does_not_depend_on_what_was_asked_before(seed, light):
    forwards = SceneDrive(seed, frames=30, light=light, **SIZE)
    backwards = SceneDrive(seed, frames=30, light=light, **SIZE)
    indices = [0, 7, 29]
    first = [digest(forwards[i]) for i in indices]
    assert first == [digest(backwards[i]) for i in reversed(indices)][::-1]
    assert len(set(first)) == 3


def test_two_processes_make_the_same_bytes():
    program = (
        "import hashlib;from csk_ros.data.synthetic import SceneDrive;"
        "f=[SceneDrive(5,frames=40,height=240,width=320,light='night-to-day')[i] for i in (33,4)];"
        "print([hashlib.sha256(b''.join(a.tobytes() for a in (s.eo,s.ir,s.labels))).hexdigest() for s in f])"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    here = SceneDrive(5, frames=40, light="night-to-day", **SIZE)
    assert outputs == {f"{[digest(here[i]) for i in (33, 4)]}\n"}


def test_seeds_differ():
    assert len({digest(SceneDrive(seed, frames=1, light="day", **SIZE)[0]) for seed in range(6)}) == 6


def test_every_class_occurs_regularly():
    seen = np.zeros(len(MFNET))
    drives = 20
    for seed in range(drives):
        drive = SceneDrive(seed, frames=300, light="day", **SIZE)
        labels = np.stack([drive[i].labels for i in (20, 150, 290)])
        seen += np.bincount(labels.ravel(), minlength=len(MFNET)) > 60
    assert (seen / drives > 0.3).all(), dict(zip(MFNET.names, seen / drives, strict=True))


def mean_of_people(drive, indices):
    """Mean brightness of people and of the rest, in EO and IR."""
    values = {"eo": [], "ir": [], "eo_rest": [], "ir_rest": []}
    for i in indices:
        sample = drive[i]
        people = sample.labels == PERSON
        if people.sum() > 80:
            values["eo"].append(sample.eo[people].mean())
            values["ir"].append(float(sample.ir[people].mean()))
            values["eo_rest"].append(sample.eo[~people].mean())
            values["ir_rest"].append(float(np.median(sample.ir[~people])))
    return {name: np.mean(v) for name, v in values.items()}


@pytest.mark.parametrize("seed", [1, 6, 8])
def test_at_night_people_shine_in_thermal_and_hide_in_the_dark_optical(seed):
    means = mean_of_people(SceneDrive(seed, light="night", fog=0.0, **SIZE), range(0, 300, 30))
    assert means["ir"] > means["ir_rest"] + 25
    assert means["eo"] < 70


def test_it_dawns_over_the_drive():
    drive = SceneDrive(2, frames=60, light="night-to-day", fog=0.0, **SIZE)
    brightness = [drive[i].eo.mean() for i in (0, 20, 40, 59)]
    assert brightness[0] < 55
    assert min(brightness[2:]) > 1.4 * max(brightness[:2])


def test_hot_days_turn_the_thermal_contrast_of_people_over():
    contrasts = []
    for seed in range(40):
        drive = SceneDrive(seed, light="day", ir_bits=16, **SIZE)
        if drive._weather.air + drive._weather.warming > 30 or drive._weather.air < 5:
            means = mean_of_people(drive, range(0, 300, 75))
            contrasts.append((drive._weather.air, means["ir"] - means["ir_rest"]))
    cold = [contrast for air, contrast in contrasts if air < 5]
    hot = [contrast for air, contrast in contrasts if air > 20]
    assert cold
    assert hot
    assert min(cold) > max(hot)
    assert min(hot) < 100  # hundredths of a kelvin


def test_raw_counts_are_hundredths_of_a_kelvin():
    sample = SceneDrive(4, frames=1, light="day", ir_bits=16, **SIZE)[0]
    assert sample.ir.dtype == np.uint16
    assert 270 < np.median(sample.ir) / 100 < 330


def test_fog_veils_the_optical_image_more_than_the_thermal():
    clear = SceneDrive(4, frames=1, light="day", fog=0.0, ir_bits=16, **SIZE)[0]
    foggy = SceneDrive(4, frames=1, light="day", fog=0.05, ir_bits=16, **SIZE)[0]
    assert np.array_equal(clear.labels, foggy.labels)
    eo_left, ir_left = (
        contrast_of_the_distance(getattr(foggy, name)) / contrast_of_the_distance(getattr(clear, name))
        for name in ("eo", "ir")
    )
    assert eo_left < 0.7
    assert ir_left > eo_left + 0.1


def contrast_of_the_distance(image) -> float:
    """Mean step between neighbouring pixels around the horizon."""
    return np.abs(np.diff(image[90:130].astype(np.float32), axis=1)).mean()


def test_drives_stand_behind_one_another():
    drives = SceneDrives(3, seed=10, frames=4, light="day", **SIZE)
    assert len(drives) == 12
    assert digest(drives[6]) == digest(SceneDrive(11, frames=4, light="day", **SIZE)[2])
    assert drives[6].stamp_ns == 600_000_000
    assert digest(drives[-1]) == digest(drives[11])


@pytest.mark.parametrize(
    "bad",
    [
        {"light": "noon"}, {"frames": 0}, {"seed": -1}, {"rate_hz": 0.0}, {"height": 32},
        {"fog": -0.1}, {"ir_bits": 12},
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad)).split("_", maxsplit=1)[0]):
        SceneDrive(**bad)


def test_specification_opens_a_drive():
    drive = open_samples("scenes:seed=3,frames=7,light=night-to-day,rate=5,height=240,width=320,fog=0.01")
    assert (len(drive), drive.rate_hz) == (7, 5.0)
    same = SceneDrive(3, frames=7, light="night-to-day", rate_hz=5.0, fog=0.01, **SIZE)
    assert digest(drive[6]) == digest(same[6])
    assert len(open_samples("scenes:drives=2,frames=3")) == 6
    assert len(open_samples("scenes:")) == 300


@pytest.mark.parametrize(
    ("spec", "split", "message"),
    [
        ("scenes:speed=3", None, "unknown scene setting 'speed=3'.*seed"),
        ("scenes:seed=x", None, "seed: cannot read 'x' as int"),
        ("scenes:light=noon", None, "noon.*night-to-day"),
        ("scenes:seed=1", "val", "no split 'val'"),
    ],
)
def test_bad_specifications_are_refused(spec, split, message):
    with pytest.raises(ValueError, match=message):
        open_samples(spec, split)
