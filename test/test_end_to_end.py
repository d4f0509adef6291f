"""The main job as a user does it: a bag, the real node as a process of its own, masks back over DDS."""

from __future__ import annotations

import json

import pytest

from csk_ros.cli.main import main
from csk_ros.messages import read_ir
from csk_ros.modality import Modality
from csk_ros.replay.bag import BagReader
from csk_ros.replay.injection import Injection, Stretches
from csk_ros.replay.live_run import run_live
from csk_ros.replay.live_settings import LiveSettings


def test_a_drive_with_a_cut_goes_to_thermal_and_back(tmp_path):
    out = tmp_path / "demo_out"
    size = ["--height=96", "--width=128"]
    code = main(["demo", f"--out={out}", "--seconds=9", "--rate=5", "--cut-from=3", "--cut-to=6", *size])
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert code == 0, report
    assert [span["route"] for span in report["routes"]] == ["FUSED", "IR_ONLY", "FUSED"]
    frames = report["frames"]
    assert frames["ir_in"] == 45
    # EO stands in for thermal that does not come, as on a machine that stands still for a moment
    assert frames["masks_out"] + frames["dropped"] == 45 + frames["apart"]["eo_anchors"]
    # 1.5 EO periods until EO counts as lost, up to one IR period to the next frame, and its inference
    slowest = report["latency_ms"]["max"] + report["player_late_ms"]["max"]
    assert report["switch"]["eo_loss_to_ir_only_ms"][0] <= 300 + 200 + slowest
    assert "Traceback" not in (out / "node.log").read_text(encoding="utf-8")


@pytest.mark.slow
def test_real_images_get_a_mask_for_every_thermal_frame(tmp_path, shared):
    drive = tmp_path / "val"
    data = f"mfnet:{shared / 'data' / 'mfnet_subset'}"
    assert main(["bag", "make", "--data", data, "--split", "val", "--rate", "2", str(drive)]) == 0
    cut = Injection("drop", Modality.EO, Stretches(4, 6))
    result = run_live(LiveSettings(bag=drive, masks=tmp_path / "masks", injections=(cut,), progress=False))
    assert result.complete
    assert len(result.answered) == len(result.rows) == 20
    with BagReader(tmp_path / "masks") as bag:
        masks = [read_ir(record.message) for record in bag.records(["/segment/mask"])]
    assert [mask.shape for mask in masks] == [(480, 640)] * 20
    confusion = sum(result.scores.scores(route).confusion for route in result.scores.routes)
    assert confusion[1, 1] / confusion[1].sum() > 0.1, "the shipped weights should know some real cars"
