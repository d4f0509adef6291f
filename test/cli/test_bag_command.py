from __future__ import annotations

import cv2
import numpy as np
import pytest
from made_bags import messages, write_mcap, write_ros1

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


def _shown(capsys):
    captured = capsys.readouterr()
    return captured.out, [line for line in captured.err.splitlines() if line.startswith("csk: ")]


def test_from_images_to_a_labelled_bag(tmp_path, capsys):
    random = np.random.default_rng(0)
    for folder in ("eo", "ir"):
        (tmp_path / folder).mkdir()
        for i in range(6):
            pixels = random.integers(0, 256, (24, 32, 3) if folder == "eo" else (24, 32), np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"FLIR_{i}.png"), pixels)
    images = ["--eo-images", str(tmp_path / "eo"), "--ir-images", str(tmp_path / "ir")]
    bag, data, labelled = (str(tmp_path / name) for name in ("bag", "data", "labelled"))
    assert main(["bag", "make", bag, *images]) == 1
    assert "give --rate HZ" in _shown(capsys)[1][0]
    assert main(["bag", "make", bag, *images, "--rate", "5"]) == 0
    assert main(["bag", "info", bag]) == 0
    out, _ = _shown(capsys)
    assert "storage   mcap" in out
    assert "/ir/image      sensor_msgs/msg/Image, 6 messages, 5.0 Hz, mono8 32x24" in out
    assert main(["bag", "extract", bag, data, "--eo", "/eo/image", "--ir", "/ir/image"]) == 0
    assert "wrote 6 frames, 0 with labels" in _shown(capsys)[0]
    assert main(["data", "check", f"mfnet:{data}"]) == 0
    first = min((tmp_path / "data" / "labels").iterdir())
    cv2.imwrite(str(first), np.full((24, 32), 2, np.uint8))
    assert main(["bag", "label", bag, labelled, "--labels", f"{data}/labels"]) == 0
    out, warnings = _shown(capsys)
    assert "wrote 1 label maps and 12 messages" in out
    assert "5 label files hold no labelled pixel and are left out" in warnings[0]


def test_from_videos(tmp_path, capsys):
    for name in ("eo", "ir"):
        writer = cv2.VideoWriter(str(tmp_path / f"{name}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 20, (32, 24))
        for i in range(8 if name == "eo" else 7):
            writer.write(np.full((24, 32, 3), 20 * i, np.uint8))
        writer.release()
    videos = ["--eo-video", str(tmp_path / "eo.avi"), "--ir-video", str(tmp_path / "ir.avi")]
    assert main(["bag", "make", str(tmp_path / "bag"), *videos]) == 0
    out, warnings = _shown(capsys)
    assert "wrote 7 frames" in out
    assert warnings == ["csk: the videos have 8 and 7 frames: the last ones are left out"]


def test_damage_is_exit_code_3_with_a_line_for_each(tmp_path, capsys):
    bag, out = tmp_path / "bag.mcap", tmp_path / "out"
    write_mcap(bag, messages())
    data = bag.read_bytes()
    bag.write_bytes(data[: len(data) // 2])
    assert main(["bag", "info", str(bag)]) == 3
    killed = "csk: bag.mcap: its end is missing, as when a recorder is killed (it is cut short)"
    assert killed in _shown(capsys)[1]
    assert main(["bag", "cut", str(bag), str(out), "--from", "0.1"]) == 3
    shown, problems = _shown(capsys)
    assert shown.startswith("wrote ")
    assert killed in problems
    assert main(["bag", "info", str(out)]) == 0
    bag.write_bytes(data[:100])
    assert main(["bag", "cut", str(bag), str(tmp_path / "none")]) == 1
    assert len(_shown(capsys)[1]) == 1


def test_a_ros1_bag_is_shown_and_converted(tmp_path, capsys):
    write_ros1(tmp_path / "drive.bag", messages(), "BZ2")
    assert main(["bag", "info", str(tmp_path / "drive.bag")]) == 0
    out, _ = _shown(capsys)
    assert "storage   ros1, compressed: bz2 by chunk" in out
    assert "/eo/image  sensor_msgs/msg/Image, 30 messages, 49.2 Hz, mono8 64x48" in out
    arguments = ["--storage", "sqlite3", "--topics", "/eo/image", "/ir/image"]
    assert main(["bag", "cut", str(tmp_path / "drive.bag"), str(tmp_path / "out"), *arguments]) == 0
    assert "wrote 54 messages" in _shown(capsys)[0]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give one of --data, --eo-images with --ir-images, or --eo-video with --ir-video"),
        (["--eo-images", "x"], "both cameras are needed"),
        (["--eo-images", "x", "--eo-video", "y"], "give one of"),
    ],
)
def test_make_says_what_it_needs(tmp_path, capsys, arguments, reason):
    with pytest.raises(SystemExit) as stop:
        main(["bag", "make", str(tmp_path / "out"), *arguments])
    assert stop.value.code == 2
    assert reason in _shown(capsys)[1][0]


def test_a_missing_video_is_one_line(tmp_path, capsys):
    assert main(["bag", "make", str(tmp_path / "out"), "--eo-video", "x", "--ir-video", "y"]) == 1
    assert "there is no video x" in _shown(capsys)[1][0]
