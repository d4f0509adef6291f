from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from csk_ros.cli.main import main


@pytest.fixture
def root(tmp_path):
    """PST900's layout with one pair in each split."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for folder, shape, top in (("rgb", (8, 9, 3), 256), ("thermal", (8, 9), 256), ("labels", (8, 9), 5)):
            (tmp_path / "set" / split / folder).mkdir(parents=True)
            image = rng.integers(0, top, shape, np.uint8)
            assert cv2.imwrite(str(tmp_path / "set" / split / folder / f"{split}_1.png"), image)
    return tmp_path / "set"


def test_a_good_set_passes(root, capsys):
    assert main(["data", "check", str(root)]) == 0
    shown = capsys.readouterr().out
    assert f"PST900 in {root}" in shown
    assert "2 of 9x8" in shown
    assert "survivor" in shown
    assert "0 errors, 0 warnings" in shown


def test_warnings_pass_and_errors_fail_after_the_report(root, tmp_path, capsys):
    cv2.imwrite(str(root / "train/rgb/train_1.png"), np.zeros((8, 9, 3), np.uint8))
    assert main(["data", "check", f"pst900:{root}"]) == 0
    assert "warning: black optical image (1)" in capsys.readouterr().out
    (root / "test/labels/test_1.png").unlink()
    out = tmp_path / "report.json"
    assert main(["data", "check", str(root), "--json", str(out)]) == 1
    shown = capsys.readouterr()
    assert "test/labels/test_1.png" in shown.out
    assert f"csk: error: 1 error in {root} (missing file): a training would fail" in shown.err
    document = json.loads(out.read_text())
    assert (document["errors"], document["warnings"]) == (1, 1)
    assert document["splits"]["train"]["frames"] == 1
    assert main(["data", "check", str(root), "--split", "train"]) == 0


def test_unknown_folder_is_one_line(tmp_path, capsys):
    assert main(["data", "check", str(tmp_path)]) == 1
    assert "looks like no known data set" in capsys.readouterr().err


def test_list(capsys):
    assert main(["data", "list"]) == 0
    shown = capsys.readouterr().out
    for kind in ("mfnet", "msrs", "fmb", "mvseg", "pst900"):
        assert f"{kind}:ROOT" in shown
    assert "Segmentation_labels" in shown
    assert "fire_extinguisher" in shown
