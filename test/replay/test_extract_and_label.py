"""The way from a bag to a data set, to labels, and back into a bag."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from squares_samples import Squares

from csk_ros.data.check import check_data
from csk_ros.data.mfnet import MFNetSamples
from csk_ros.labels import MFNET, UNLABELLED
from csk_ros.messages import read_ir, stamp_to_ns
from csk_ros.replay.bag import IMAGE, BagError, BagReader, BagWriter
from csk_ros.replay.extract import extract_images
from csk_ros.replay.label import label_bag
from csk_ros.replay.label_folder import LabelFolderError
from csk_ros.replay.samples import START_NS, header, image_message, write_samples

TOPICS = {"eo_topic": "/eo/image", "ir_topic": "/ir/image", "progress": False}


def _bag(path, frames=10, *, labels=True, ir_dtype=np.uint8):
    """A bag, and the samples that it is made of, with their labels."""
    samples = Squares(frames=frames, ir_dtype=ir_dtype, with_labels=labels, label_set=MFNET)
    write_samples(path, samples, progress=False)
    return Squares(frames=frames, ir_dtype=ir_dtype, label_set=MFNET)


def test_what_is_extracted_is_a_data_set_with_the_same_images(tmp_path):
    samples = _bag(tmp_path / "bag")
    done = extract_images(tmp_path / "bag", tmp_path / "out", labels_topic="/labels/image", **TOPICS)
    assert done == (10, 10, 0, [])
    assert not check_data(f"mfnet:{tmp_path / 'out'}").errors
    for found, made in zip(MFNetSamples(tmp_path / "out"), samples, strict=True):
        assert np.array_equal(found.eo, made.eo)
        assert np.array_equal(found.ir, made.ir)
        assert np.array_equal(found.labels, made.labels)
        assert int(found.name) == START_NS + made.stamp_ns
    assert [len(MFNetSamples(tmp_path / "out", split)) for split in ("train", "val", "test")] == [7, 1, 2]
    about = json.loads((tmp_path / "out" / "extract.json").read_text())
    assert about["frames"][3] == {
        "name": str(START_NS + 300_000_000),
        "eo_stamp_ns": START_NS + 300_000_000,
        "ir_stamp_ns": START_NS + 300_000_000,
        "eo_size": [32, 24],
        "ir_size": [32, 24],
    }


def test_without_labels_all_is_unlabelled(tmp_path):
    _bag(tmp_path / "bag", labels=False)
    assert extract_images(tmp_path / "bag", tmp_path / "out", **TOPICS).labelled == 0
    assert not check_data(f"mfnet:{tmp_path / 'out'}").errors
    assert all((sample.labels == UNLABELLED).all() for sample in MFNetSamples(tmp_path / "out"))


@pytest.mark.parametrize(("choice", "frames"), [({"every": 4}, [0, 4, 8]), ({"rate_hz": 3.3}, [0, 3, 6, 9])])
def test_fewer_frames(tmp_path, choice, frames):
    _bag(tmp_path / "bag")
    extract_images(tmp_path / "bag", tmp_path / "out", **TOPICS, **choice)
    names = [int(sample.name) for sample in MFNetSamples(tmp_path / "out")]
    assert [(name - START_NS) // 100_000_000 for name in names] == frames


def test_raw_thermal_is_scaled_by_its_percentiles(tmp_path):
    (sample, *_) = _bag(tmp_path / "bag", frames=1, ir_dtype=np.uint16)
    extract_images(tmp_path / "bag", tmp_path / "out", **TOPICS)
    low, high = np.percentile(sample.ir, (1, 99))
    due = np.clip((sample.ir - low) / (high - low), 0, 1) * 255
    assert np.abs(MFNetSamples(tmp_path / "out")[0].ir - due).max() <= 0.51


def _cameras(path, eo_offset_ns, eo_size=(60, 80)):
    """A thermal camera at 10 Hz, and an optical one at 30 Hz that is off, larger and received late."""
    with BagWriter(path) as bag:
        for topic in ("/eo/image", "/ir/image"):
            bag.add_topic(topic, IMAGE)
        for i in range(30):
            stamp = START_NS + i * 33_333_333
            if i % 3 == 0:
                ir = np.full((24, 32), i, np.uint8)
                bag.write("/ir/image", stamp, image_message(ir, "mono8", header(stamp, "ir")))
            eo = np.full((*eo_size, 3), i, np.uint8)
            eo_header = header(stamp + eo_offset_ns, "eo")
            bag.write("/eo/image", stamp + 200_000_000, image_message(eo, "rgb8", eo_header))


def test_the_nearest_optical_image_is_taken_at_the_size_of_the_thermal_one(tmp_path):
    _cameras(tmp_path / "bag", 5_000_000)
    done = extract_images(tmp_path / "bag", tmp_path / "out", slop_s=0.01, **TOPICS)
    assert (done.frames, done.unpaired) == (10, 0)
    for sample in MFNetSamples(tmp_path / "out"):
        assert sample.eo.shape == (24, 32, 3)
        assert (sample.eo == sample.ir[..., None]).all()


def test_what_does_not_pair_says_how_far_it_is_off(tmp_path):
    _cameras(tmp_path / "bag", 10**10)
    with pytest.raises(BagError, match=r"within 0.05 s, the nearest is 9.1 s off"):
        extract_images(tmp_path / "bag", tmp_path / "out", **TOPICS)
    with pytest.raises(BagError, match="has no topic /thermal: its image topics are /eo/image, /ir/image"):
        extract_images(tmp_path / "bag", tmp_path / "out", eo_topic="/eo/image", ir_topic="/thermal")
    assert not (tmp_path / "out").exists()


def test_images_that_cannot_be_read_are_left_out_and_named(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        for topic in ("/eo/image", "/ir/image"):
            bag.add_topic(topic, IMAGE)
        for i in range(4):
            stamp = START_NS + i
            ir = image_message(np.zeros((24, 32), np.uint8), "mono8", header(stamp, "ir"))
            ir.encoding = "32FC7" if i == 2 else "mono8"
            bag.write("/ir/image", stamp, ir)
            eo = image_message(np.zeros((24, 32, 3), np.uint8), "rgb8", header(stamp, "eo"))
            bag.write("/eo/image", stamp, eo)
    done = extract_images(tmp_path / "bag", tmp_path / "out", slop_s=0, **TOPICS)
    assert done.frames == 3
    assert done.problems[0].startswith(f"frame {START_NS + 2} is left out: encoding '32FC7'")


def _labels(folder, samples, names):
    folder.mkdir()
    for name, sample in zip(names, samples, strict=False):
        cv2.imwrite(str(folder / name), sample.labels)
    return folder


@pytest.mark.parametrize("form", ["{0}.png", "{1}.{2:09d}.png"])
def test_labels_go_into_a_copy_behind_their_images(tmp_path, form):
    samples = _bag(tmp_path / "bag", labels=False)
    stamps = [START_NS + sample.stamp_ns for sample in samples]
    names = [form.format(s, s // 10**9, s % 10**9) for s in stamps[:5]]
    before = (tmp_path / "bag" / "bag.mcap").read_bytes()
    folder = _labels(tmp_path / "l", samples, names)
    done = label_bag(tmp_path / "bag", tmp_path / "out", folder, progress=False)
    assert (done.labels, done.copied.messages, done.unmatched, done.empty) == (5, 20, [], [])
    assert (tmp_path / "bag" / "bag.mcap").read_bytes() == before
    with BagReader(tmp_path / "out") as bag:
        records = list(bag.records())
        assert bag.label_set == MFNET
    for i, record in enumerate(r for r in records if r.topic == "/labels/image"):
        image = records[records.index(record) - 1]
        assert (image.topic, image.received_ns) == ("/ir/image", record.received_ns - 1)
        assert record.message.header == image.message.header
        assert stamp_to_ns(record.message.header.stamp) == stamps[i]
        assert np.array_equal(read_ir(record.message), samples[i].labels)


def test_extracted_labelled_and_put_back_is_the_bag_it_was(tmp_path):
    samples = _bag(tmp_path / "bag", labels=False)
    extract_images(tmp_path / "bag", tmp_path / "data", every=3, **TOPICS)
    for file in sorted((tmp_path / "data" / "labels").iterdir())[:2]:
        index = (int(file.stem) - START_NS) // 100_000_000
        cv2.imwrite(str(file), samples[index].labels)
    done = label_bag(tmp_path / "bag", tmp_path / "out", tmp_path / "data" / "labels", progress=False)
    assert (done.labels, len(done.empty)) == (2, 2)
    extract_images(tmp_path / "out", tmp_path / "again", labels_topic="/labels/image", **TOPICS)
    found = {int(s.name): s.labels for s in MFNetSamples(tmp_path / "again")}
    for i, sample in enumerate(samples):
        due = sample.labels if i in {0, 3} else np.full_like(sample.labels, UNLABELLED)
        assert np.array_equal(found[START_NS + sample.stamp_ns], due)


def test_labels_that_do_not_fit_are_named(tmp_path):
    samples = _bag(tmp_path / "bag", labels=False)
    name = f"{START_NS}.png"
    folder = _labels(tmp_path / "l", samples, [name])

    def refused():
        with pytest.raises((BagError, LabelFolderError)) as caught:
            label_bag(tmp_path / "bag", tmp_path / "out", folder, progress=False)
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    cv2.imwrite(str(folder / name), np.zeros((5, 6), np.uint8))
    assert f"{name} is 6x5, but its image is 32x24" in refused()
    cv2.imwrite(str(folder / name), np.full((24, 32), 255, np.uint8))
    assert "has a labelled pixel: paint class ids over the 255" in refused()
    cv2.imwrite(str(folder / name), np.full((24, 32), 77, np.uint8))
    assert f"{name} holds the ids [77]: allowed are 0 to 8, and 255" in refused()
    (folder / name).rename(folder / "1234567890123456789.png")
    reason = refused()
    assert "no image on /ir/image has the stamp of a label file (1234567890123456789.png)" in reason
    assert f"one of its stamps is {START_NS}" in reason
    (folder / "frame7.png").write_bytes(b"")
    assert "frame7.png is not named by a stamp" in refused()


def test_labels_are_added_once(tmp_path):
    samples = _bag(tmp_path / "bag")
    with pytest.raises(BagError, match="has /labels/image already"):
        label_bag(tmp_path / "bag", tmp_path / "out", _labels(tmp_path / "l", samples, [f"{START_NS}.png"]))
