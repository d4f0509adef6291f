from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from pixel_net import PixelNet

from csk_ros.cli.main import main
from csk_ros.evaluation import pictures
from csk_ros.evaluation.tables import NONE
from csk_ros.inference import Segmenter
from csk_ros.labels import MFNET
from csk_ros.network import ARCHITECTURES, DEFAULT_NORMALISATION, save_checkpoint
from csk_ros.share import share_path

PICTURES = {
    "confusion_fused.png",
    "confusion_ir_only.png",
    "confusion_eo_only.png",
    "classes.png",
    "degradations.png",
    "frames_worst.png",
    "frames_best.png",
}


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, PixelNet.name, PixelNet)


@pytest.fixture
def checkpoint(tmp_path):
    return _save(tmp_path / "weights.safetensors")


@pytest.fixture
def root(tmp_path):
    """Four pairs in the MFNet layout, three of them a sequence."""
    rng = np.random.default_rng(0)
    names = ("00001D", "00002D", "00003D", "00009N")
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for name in names:
        image = rng.integers(0, 256, (64, 80, 4), np.uint8)
        labels = np.where(image[..., 3] > 150, 2, 0).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"data/images/{name}.png"), image)
        cv2.imwrite(str(tmp_path / f"data/labels/{name}.png"), labels)
    (tmp_path / "data/val.txt").write_text("\n".join(names))
    return tmp_path / "data"


def _save(path, **arguments):
    torch.manual_seed(0)
    network = PixelNet(9, **arguments)
    save_checkpoint(path, network, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    return path


def _evaluate(checkpoint, root, out, *others):
    places = ["--checkpoint", str(checkpoint), "--data", f"mfnet:{root}", "--split", "val", "--out", str(out)]
    return main(["evaluate", *places, "--engine", "torch", "--threads", "1", *others])


def test_everything_twice_gives_the_same_file(checkpoint, root, tmp_path, capsys, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    assert _evaluate(checkpoint, root, first) == 0
    shown = capsys.readouterr()
    assert "Modalities, the missing one not run" in shown.out
    assert f"wrote {first}" in shown.out
    assert "Latency, ms: torch on cpu" in shown.out
    assert "mask/s" in shown.err  # progress
    assert {path.name for path in first.iterdir()} == {*PICTURES, "metrics.json", "speed.json"}
    for name in PICTURES:
        assert cv2.imread(str(first / name)).std() > 1

    monkeypatch.setattr(pictures, "write_pictures", lambda *_: None)
    assert _evaluate(checkpoint, root, second) == 0
    assert (first / "metrics.json").read_bytes() == (second / "metrics.json").read_bytes()
    table = json.loads((first / "metrics.json").read_text())["modalities"]
    assert list(table) == ["eo+ir", "eo", "ir", "mean"]
    for row in table.values():
        assert {"miou", "miou_present", "macc", "iou"} <= set(row)
        assert set(row["iou"]) == set(MFNET.names)
    spoken = capsys.readouterr().out.partition("Latency")[0]
    assert spoken == shown.out.partition("Latency")[0]


def test_parts_limit_and_size(checkpoint, root, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "write_pictures", lambda *_: None)
    out = tmp_path / "out"
    chosen = ["--only", "noise", "--limit", "2", "--size", "96x128", "--gaussian"]
    assert _evaluate(checkpoint, root, out, *chosen) == 0
    document = json.loads((out / "metrics.json").read_text())
    assert document["data"]["frames"] == 2
    assert document["run"]["working_size"] == [96, 128]
    assert len(document["noise"]) == 6
    assert not {"degradations", "missing", "zero_filled"} & set(document)
    assert not (out / "speed.json").exists()


def test_a_network_of_one_modality(root, tmp_path, capsys):
    single = _save(tmp_path / "single.safetensors", modalities=("ir",))
    out = tmp_path / "out"
    assert _evaluate(single, root, out) == 0
    names = {path.name for path in out.iterdir()}
    assert {"confusion_ir_only.png", "frames_worst.png"} <= names
    assert "confusion_fused.png" not in names
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:3] == ["EO+IR", NONE, NONE] for line in lines)


@pytest.mark.parametrize("broken", ["images/00003D.png", "labels/00003D.png"])
def test_a_broken_pair_is_one_line_that_names_it(checkpoint, root, tmp_path, capsys, broken):
    (root / broken).write_bytes(b"\x89PNG cut short")
    assert _evaluate(checkpoint, root, tmp_path / "out") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("csk: error: ")
    assert broken in error
    assert "not an image" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (["--only", "sped"], "parts are sped: use some of"),
        (["--size", "480"], "size is '480': write HEIGHTxWIDTH"),
        (["--limit", "0"], "limit is 0"),
        (["--engine", "fast"], "engine 'fast' is not available"),
    ],
)
def test_a_mistake_is_one_line(checkpoint, root, tmp_path, capsys, others, words):
    assert _evaluate(checkpoint, root, tmp_path / "out", *others) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(checkpoint, root, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert _evaluate(checkpoint, root, out) == 1
    assert "is not an empty folder" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_interrupt_leaves_nothing(checkpoint, root, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Segmenter, "segment", stop)
    assert _evaluate(checkpoint, root, tmp_path / "out") == 130
    assert capsys.readouterr().err.splitlines()[-1].endswith("csk: interrupted")
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_the_extra_is_named(checkpoint, root, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "csk_ros.evaluation.pictures", raising=False)
    assert _evaluate(checkpoint, root, tmp_path / "out", "--only", "modalities", "--limit", "1") == 1
    assert "pip install 'csk_ros[evaluate]'" in capsys.readouterr().err


def test_the_library_does_not_load_matplotlib():
    code = "import sys, csk_ros.evaluation; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_real_images_with_the_shipped_weights(shared, tmp_path):
    out = tmp_path / "out"
    weights = share_path("models/csk_mobilenet_v2_scenes.safetensors")
    data = shared / "data/mfnet_subset"
    assert _evaluate(weights, data, out, "--only", "modalities", "--limit", "12", "--size", "240x320") == 0
    table = json.loads((out / "metrics.json").read_text())["modalities"]
    assert table["eo+ir"]["miou_present"] > table["eo"]["miou_present"] > 0.1
