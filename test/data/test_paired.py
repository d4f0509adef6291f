from __future__ import annotations

import cv2
import layouts
import numpy as np
import pytest

from csk_ros.data import SampleSet, open_samples
from csk_ros.labels import FMB, MFNET, MVSEG, PST900

LABEL_SETS = {"msrs": MFNET, "fmb": FMB, "mvseg": MVSEG, "pst900": PST900}
PAIRED = tuple(LABEL_SETS)


def stored(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


@pytest.fixture(params=PAIRED)
def kind(request):
    return request.param


@pytest.fixture
def root(tmp_path, kind):
    return layouts.write_any(tmp_path, kind)


@pytest.mark.parametrize("kind", layouts.FOLDERS)
def test_reads_what_the_three_folders_hold(root, kind):
    eo, ir, labels = (root / "train" / folder / "00002N.png" for folder in layouts.FOLDERS[kind])
    samples = open_samples(f"{kind}:{root}", "train")
    assert isinstance(samples, SampleSet)
    assert samples.label_set == LABEL_SETS[kind]
    sample = samples[1]
    assert sample.name == "00002N"
    assert sample.stamp_ns == 100_000_000
    assert np.array_equal(sample.eo, stored(eo)[..., ::-1])
    assert np.array_equal(sample.ir, stored(ir))
    ids = stored(labels)
    expected = np.where(ids == 0, 255, ids - 1) if kind == "fmb" else ids
    assert np.array_equal(sample.labels, expected)


def test_splits_and_all(root, kind):
    assert len(open_samples(f"{kind}:{root}", "train")) == 2
    assert len(open_samples(f"{kind}:{root}", "test")) == 1
    every = open_samples(f"{kind}:{root}")
    assert len(every) == 3
    assert len({sample.name for sample in every}) == 3
    with pytest.raises(IndexError, match="sample 3"):
        every[3]


def test_unknown_split_lists_those_that_exist(root, kind):
    with pytest.raises(ValueError, match=r"unknown split 'val'.*test, train, all"):
        open_samples(f"{kind}:{root}", "val")


def test_another_layout_is_refused_with_the_right_one(tmp_path, kind):
    layouts.write_any(tmp_path, "fmb" if kind == "pst900" else "pst900")
    with pytest.raises(FileNotFoundError, match=r"is not the root of .*NAME|NUMBER"):
        open_samples(f"{kind}:{tmp_path}")
    with pytest.raises(FileNotFoundError, match="nowhere is not the root"):
        open_samples(f"{kind}:{tmp_path / 'nowhere'}")
    with pytest.raises(ValueError, match=f"write {kind}:ROOT"):
        open_samples(f"{kind}:")


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("kind", layouts.FOLDERS)
def test_missing_part_of_a_pair_is_found_at_once(root, kind, which):
    path = root / "train" / layouts.FOLDERS[kind][which] / "00002N.png"
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{path.parent.name}/00002N\.png is missing"):
        open_samples(f"{kind}:{root}", "train")
    assert len(open_samples(f"{kind}:{root}", "test")) == 1


@pytest.mark.parametrize("kind", layouts.FOLDERS)
def test_files_of_another_size_are_refused(root, kind):
    layouts.write(root / "test" / layouts.FOLDERS[kind][1] / "00003D.png", np.zeros((9, 16), np.uint8))
    with pytest.raises(ValueError, match=r"is 16x12 but .*00003D\.png is 16x9"):
        open_samples(f"{kind}:{root}", "test")[0]


@pytest.mark.parametrize("kind", layouts.FOLDERS)
def test_foreign_id_is_refused_and_255_is_unlabelled(root, kind):
    path = root / "test" / layouts.FOLDERS[kind][2] / "00003D.png"
    layouts.write(path, np.full(layouts.SIZE, 255, np.uint8))
    assert (open_samples(f"{kind}:{root}", "test")[0].labels == 255).all()
    layouts.write(path, np.full(layouts.SIZE, layouts.IDS[kind], np.uint8))
    with pytest.raises(ValueError, match=rf"00003D\.png holds the ids \[{layouts.IDS[kind]}\]"):
        open_samples(f"{kind}:{root}", "test")[0]


def test_mvseg_takes_the_labelled_frames_of_the_listed_videos(tmp_path):
    root = layouts.write_mvseg(
        tmp_path, {"train": {"b": ["00010", "00020"], "a": ["00005"]}, "val": {"c": ["00001"]}}
    )
    (root / "README.txt").write_text("Some words about it.\n")
    samples = open_samples(f"mvseg:{root}", "train")
    assert [s.name for s in samples] == ["b/00010", "b/00020", "a/00005"]
    files = root / "data/b"
    assert np.array_equal(samples[1].eo, stored(files / "visible/00020v.png")[..., ::-1])
    assert np.array_equal(samples[1].ir, stored(files / "infrared/00020i.png")[..., 0])
    assert np.array_equal(samples[1].labels, stored(files / "label/00020l.png"))
    with pytest.raises(ValueError, match="there are train, val, all"):
        open_samples(f"mvseg:{root}", "README")


def test_mvseg_images_may_be_jpegs(tmp_path):
    root = layouts.write_mvseg(tmp_path, {"train": {"a": ["00005"]}}, eo_suffix=".jpg")
    assert open_samples(f"mvseg:{root}")[0].eo.shape == (*layouts.SIZE, 3)


@pytest.mark.parametrize("half", ["visible/00020v.png", "infrared/00020i.png"])
def test_mvseg_labels_without_an_image_are_refused(tmp_path, half):
    root = layouts.write_any(tmp_path, "mvseg")
    (root / "data/street" / half).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{half} is missing"):
        open_samples(f"mvseg:{root}", "train")


def test_mvseg_video_that_is_not_there_is_refused(tmp_path):
    root = layouts.write_any(tmp_path, "mvseg")
    (root / "train.txt").write_text("street\nstreeet\n")
    with pytest.raises(FileNotFoundError, match=r"data/streeet/.* is missing"):
        open_samples(f"mvseg:{root}", "train")
