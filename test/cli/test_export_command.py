"""``csk export`` from the command line."""

from __future__ import annotations

import pytest
import torch

from csk_ros.cli.main import main
from csk_ros.data.synthetic import SceneDrive
from csk_ros.labels import MFNET
from csk_ros.network import DEFAULT_NORMALISATION, build_network, save_checkpoint
from csk_ros.replay.samples import write_samples

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    network = build_network("single", num_classes=9, decoder_width=8, output_stride=32, modality="ir").eval()
    path = tmp_path_factory.mktemp("weights") / "thermal.safetensors"
    save_checkpoint(path, network, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    return path


def _run(weights, out, *more):
    return main(
        [
            *("export", "--checkpoint", str(weights), "--to", "openvino", "--size", "64x96"),
            *("--frames", "3", "--out", str(out), *more),
        ]
    )


def test_a_bag_is_enough_to_compare_on(weights, tmp_path, capsys):
    write_samples(tmp_path / "drive", SceneDrive(3, frames=4, height=64, width=96), progress=False)
    assert _run(weights, tmp_path / "out", "--data", f"bag:{tmp_path / 'drive'}") == 0
    said = capsys.readouterr()
    assert "| IR_ONLY | 3 | 100.00 | 100.00 |" in said.out
    assert f"wrote {tmp_path / 'out'}" in said.out
    assert "comparing 3 frames with torch" in said.err
    assert (tmp_path / "out" / "ir_only.xml").is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data", "bag:/absent"], "/absent"),
        (["--data", "scenes:seed=1,frames=2", "--size", "big"], "size is 'big': write HEIGHTxWIDTH"),
        (["--data", "scenes:seed=1,frames=2", "--routes", "fused"], "does not run FUSED"),
        (["--data", "scenes:seed=1,frames=2", "--routes", "sideways"], "SIDEWAYS"),
    ],
)
def test_what_cannot_be_is_one_line(weights, tmp_path, capsys, more, message):
    assert _run(weights, tmp_path / "out", *more) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("csk: error: ")
    assert message in said
    assert not (tmp_path / "out").exists()
