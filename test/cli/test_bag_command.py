from __future__ import annotations

import pytest

from csk_ros.cli.main import main


def test_make_then_info(tmp_path, capsys):
    out = tmp_path / "drive"
    spec = "scenes:seed=3,frames=4,height=64,width=64,rate=10"
    assert main(["bag", "make", "--data", spec, str(out)]) == 0
    assert f"wrote 4 frames to {out}" in capsys.readouterr().out
    assert main(["bag", "info", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "length    0.300 s" in shown
    assert "classes   background, car, person" in shown
    assert "/ir/image      sensor_msgs/msg/Image, 4 messages, 10.0 Hz" in shown


def test_real_images(tmp_path, shared, capsys):
    out = str(tmp_path / "drive")
    data = f"mfnet:{shared / 'data' / 'mfnet_subset'}"
    assert main(["bag", "make", "--data", data, "--split", "val", "--compress", "jpeg", out]) == 0
    assert main(["bag", "info", out]) == 0
    assert "/eo/image/compressed  sensor_msgs/msg/CompressedImage" in capsys.readouterr().out


@pytest.mark.parametrize("spec", ["nothing:here", "mfnet:/no/such/folder", "scenes:wheels=4"])
def test_unknown_data_is_one_line(tmp_path, spec, capsys):
    assert main(["bag", "make", "--data", spec, str(tmp_path / "drive")]) == 1
    assert capsys.readouterr().err.startswith("csk: error: ")
    assert not (tmp_path / "drive").exists()
