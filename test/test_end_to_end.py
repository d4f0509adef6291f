"""The main job as a user does it: a bag, the real node as a process of its own, masks back over DDS."""

from __future__ import annotations

import json

import numpy as np
import pytest

from csk_ros.cli.main import main
from csk_ros.replay.frames import played_frames
from csk_ros.replay.live import LiveSession
from csk_ros.replay.node_process import NodeProcess, use_image_profile
from csk_ros.share import DEFAULT_CHECKPOINT, share_path


def test_a_drive_with_a_cut_goes_to_thermal_and_back(tmp_path):
    out = tmp_path / "demo_out"
    size = ["--height=96", "--width=128"]
    code = main(["demo", f"--out={out}", "--seconds=9", "--rate=10", "--cut-from=3", "--cut-to=6", *size])
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert code == 0, report
    assert [span["route"] for span in report["routes"]] == ["FUSED", "IR_ONLY", "FUSED"]
    frames = report["frames"]
    assert frames["ir_in"] == 90
    assert frames["masks_out"] + frames["dropped"] == 90
    # 1.5 EO periods until EO counts as lost, up to one IR period to the next frame, and its inference
    slowest = report["latency_ms"]["max"] + report["player_late_ms"]["max"]
    assert report["switch"]["eo_loss_to_ir_only_ms"][0] <= 150 + 100 + slowest
    assert "Traceback" not in (out / "node.log").read_text(encoding="utf-8")


@pytest.mark.slow
def test_real_images_get_a_mask_for_every_thermal_frame(tmp_path, shared):
    drive = tmp_path / "val"
    data = f"mfnet:{shared / 'data' / 'mfnet_subset'}"
    assert main(["bag", "make", "--data", data, "--split", "val", "--rate", "2", str(drive)]) == 0
    use_image_profile()
    parameters = {"checkpoint": str(share_path(DEFAULT_CHECKPOINT)), "autostart": "true"}
    with NodeProcess(tmp_path / "node.log", parameters) as node, LiveSession() as session:
        session.wait_until_active(node.alive, 120)
        recording = session.play_and_record(drive, tmp_path / "masks", cuts=[(4, 6)], progress=False)
        node.stop()
    frames = list(played_frames(recording))
    assert len(frames) == 20
    assert all(frame.mask is not None and frame.mask.shape == (480, 640) for frame in frames)
    cars = np.concatenate([(frame.mask == 1)[frame.labels == 1] for frame in frames])
    assert cars.mean() > 0.1, "the shipped weights should know some real cars"
