from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from csk_ros.cli.main import main
from csk_ros.data.synthetic import SceneDrive
from csk_ros.replay.bag import BagReader, BagWriter
from csk_ros.replay.mask_bag import MASK
from csk_ros.replay.samples import START_NS, header, image_message, write_samples

RESULTS = {"masks", "replay.json", "report.json", "report.html", "frames.csv", "strip.png"}
ENGINE = ("--engine", "torch")


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    path = tmp_path_factory.mktemp("replay") / "drive"
    write_samples(path, SceneDrive(3, frames=24, height=96, width=128, light="day"), progress=False)
    return path


def run(*arguments, out):
    return main(["replay", *map(str, arguments), "--out", str(out), *ENGINE])


def one_line(capsys):
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("csk: ")]
    assert len(errors) == 1, errors
    return errors[0]


def test_a_replay_leaves_masks_and_report_and_says_what_came_of_it(drive, tmp_path, capsys):
    assert run(drive, "--drop-eo", "1:2", out=tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == RESULTS
    shown = capsys.readouterr().out
    assert re.search(r"routes +FUSED -> IR_ONLY", shown)
    assert "24 in, 24 masks, 0 dropped" in shown
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["kind"], report["frames"]["masks_out"], report["complete"]) == ("offline", 24, True)
    assert report["injections"][0]["text"] == "eo drop from 1 s to 2 s"


@pytest.mark.slow
def test_two_replays_differ_in_their_times_alone(drive, tmp_path, capsys):
    for name in ("a", "b"):
        assert run(drive, out=tmp_path / name) == 0
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("a", "b")]
    assert reports[0].pop("timing") != reports[1].pop("timing")
    assert reports[0] == reports[1]
    for file in ("frames.csv", "strip.png", "masks/masks.mcap", "masks/metadata.yaml"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert main(["compare-reports", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "mIoU FUSED" in capsys.readouterr().out


def test_a_bag_cut_short_gives_what_is_readable_and_names_what_is_not(drive, tmp_path, capsys):
    whole = (drive / "drive.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) * 2 // 3])
    assert run(tmp_path / "cut.mcap", out=tmp_path / "out") == 3
    assert "cut.mcap" in one_line(capsys)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert 0 < report["frames"]["masks_out"] < 24
    assert not report["complete"]


def write_thermal(path, topic, encoding, frames):
    pixels = np.random.default_rng(1).integers(0, 255, (48, 64), np.uint8)
    with BagWriter(path) as bag:
        bag.add_topic(topic, "sensor_msgs/msg/Image")
        for index in range(frames):
            stamp = START_NS + index * 10**8
            bag.write(topic, stamp, image_message(pixels, encoding, header(stamp, "ir")))


@pytest.mark.parametrize(
    ("topic", "encoding", "frames", "says"),
    [
        ("/ir/image", "mono8", 0, "is empty: it holds no messages"),
        (
            "/left/image",
            "mono8",
            3,
            "has no topic that is thermal by its name (/left/image): name it with --ir",
        ),
        ("/ir/image", "mono7", 3, "could be segmented: ir: encoding 'mono7'"),
    ],
)
def test_bags_of_no_use_are_one_clear_line(tmp_path, capsys, topic, encoding, frames, says):
    write_thermal(tmp_path / "bag", topic, encoding, frames)
    assert run(tmp_path / "bag", out=tmp_path / "out") == 1
    assert says in one_line(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--drop-eo", "6:3"], "'6:3' is no stretch of a bag"),
        (["--start", "5", "--end", "2"], "is no stretch of a bag"),
        (["--checkpoint", "missing.safetensors"], "there is no checkpoint at"),
        (["--parameters", "missing.yaml"], "there is no parameter file at"),
        (["--live", "--overlay"], "--overlay is for replay without --live"),
    ],
)
def test_flags_that_mean_nothing_are_one_clear_line(drive, tmp_path, capsys, flags, says):
    assert run(drive, *flags, out=tmp_path / "out") == 1
    assert says in one_line(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGKILL, -9)]
)
def test_a_replay_that_is_stopped_goes_on_to_the_same_bytes(drive, tmp_path, number, code):
    assert run(drive, "--overlay", out=tmp_path / "whole") == 0
    out = tmp_path / "out"
    command = [sys.executable, "-m", "csk_ros.cli.main", "replay", str(drive), "--overlay", "--out", str(out)]
    process = subprocess.Popen([*command, *ENGINE], stderr=subprocess.PIPE)
    mask_file = out / "partial" / "masks" / "masks.mcap"
    deadline = time.monotonic() + 60
    while not (mask_file.exists() and mask_file.stat().st_size > 20_000) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate()
    assert process.returncode in (code, 0)  # 0: it was done already
    if process.returncode:
        assert run(drive, "--overlay", out=out) == 0
    for file in ("frames.csv", "masks/masks.mcap"):
        assert (out / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    with BagReader(out / "masks") as bag:
        assert bag.topics[MASK].messages == 24
