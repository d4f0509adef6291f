from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from squares_samples import Squares

from csk_ros.cli.main import main
from csk_ros.modality import Modality, Route
from csk_ros.replay import node_process
from csk_ros.replay.bag import BagReader
from csk_ros.replay.demo import RESULTS, DemoError, DemoSettings, check_result, run_demo
from csk_ros.replay.result import FrameRow, ReplayResult
from csk_ros.replay.topics import InputTopics

RATE_HZ = 10


@pytest.fixture
def demo(tmp_path, monkeypatch, capsys):
    """Runs ``csk demo`` for some seconds on a stand-in for the node, which answers at once."""
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"any")
    monkeypatch.setattr(node_process, "_NODE_MODULE", "echo_node")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))

    def run(out="demo_out", **ways):
        ways = {"period_ns": 10**9 // RATE_HZ, "drop_every": 0, "honest": "yes", "exit_code": 0} | ways
        monkeypatch.setenv("ECHO_WAYS", ",".join(f"{name}={way}" for name, way in ways.items()))
        settings = {
            "seconds": 3,
            "rate": RATE_HZ,
            "cut-from": 1,
            "cut-to": 2,
            "checkpoint": weights,
            "height": 96,
            "width": 128,
        }
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        code = main(["demo", f"--out={tmp_path / out}", *arguments])
        return code, tmp_path / out, capsys.readouterr()

    return run


def test_the_demo_leaves_its_results_and_says_what_it_saw(demo, tmp_path):
    code, out, printed = demo(drop_every=7)
    assert code == 0, printed.err
    assert {entry.name for entry in out.iterdir()} == RESULTS
    report = json.loads((out / "report.json").read_text())
    assert [span["route"] for span in report["routes"]] == ["FUSED", "IR_ONLY", "FUSED"]
    assert report["frames"]["ir_in"] == 30
    assert report["frames"]["dropped"] == 4
    assert report["frames"]["masks_out"] == 26
    assert "FUSED -> IR_ONLY -> FUSED" in printed.out
    assert "30 in, 26 masks, 4 dropped, 0 lost in transport" in printed.out
    for step in range(1, 4):
        assert f"[{step}/3]" in printed.err
    with BagReader(out / "masks") as bag:
        assert bag.topics["/segment/mask"].messages == 26
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["demo_out", "weights.safetensors"]


@pytest.mark.slow
def test_an_earlier_demo_is_replaced_and_nothing_else(demo, tmp_path):
    out = tmp_path / "demo_out"
    out.mkdir()
    (out / "report.json").write_text("{}")
    (out / "strip.png").write_text("old")
    code, _, printed = demo()
    assert code == 0, printed.err
    assert (out / "strip.png").read_bytes()[:4] == b"\x89PNG"
    (out / "notes.txt").write_text("mine")
    code, _, printed = demo()
    assert code == 1
    assert "holds what no demo wrote (notes.txt): give another --out" in printed.err
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_frames_that_do_not_add_up_fail_the_demo_and_leave_the_report(demo):
    code, out, printed = demo(drop_every=7, honest="no")
    assert code == 1
    last = printed.err.splitlines()[-1]
    assert last.startswith(
        "csk: error: the frames do not add up: 30 in, 26 masks, 0 dropped, 0 lost in transport"
    )
    assert (out / "report.html").exists()


@pytest.mark.slow
def test_a_node_that_never_falls_back_fails_the_demo(demo):
    code, _, printed = demo(period_ns=10**12)
    assert code == 1
    assert "expected FUSED -> IR_ONLY -> FUSED around the cut, saw FUSED;" in printed.err


@pytest.mark.slow
def test_a_node_that_ends_badly_fails_the_demo_with_its_log(demo, tmp_path):
    code, out, printed = demo(exit_code=3)
    assert code == 1
    assert printed.err.endswith("csk: error: the node ended with exit code 3\n")
    assert "  node | " in printed.err
    assert not out.exists()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["weights.safetensors"]


def test_a_node_that_does_not_start_fails_the_demo_with_its_log(demo, monkeypatch):
    monkeypatch.setattr(node_process, "_NODE_MODULE", "no_such_node")
    code, _, printed = demo()
    assert code == 1
    assert "  node | " in printed.err
    assert "No module named no_such_node" in printed.err
    assert printed.err.endswith("csk: error: the node /segment ended before it was active\n")


@pytest.mark.parametrize("content", ["nothing of a demo", "file"])
def test_a_foreign_output_is_refused_before_anything_runs(tmp_path, content):
    out = tmp_path / "out"
    if content == "file":
        out.write_text("mine")
    else:
        (out / "masks").mkdir(parents=True)
    with pytest.raises(RuntimeError, match="give another --out"):
        run_demo(DemoSettings(out=str(out), checkpoint=str(tmp_path / "missing")))
    assert out.exists()


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint at .*missing: check the path"):
        run_demo(DemoSettings(out=str(tmp_path / "out"), checkpoint=str(tmp_path / "missing")))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"rate": 0.5}, "use 1 to 60"),
        ({"cut_from": 23, "cut_to": 30}, "does not fit into 24 s"),
        ({"cut_from": 0}, "leave 0.67 s before, in and after it"),
        ({"cut_from": 5, "cut_to": 5.1}, "does not fit"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        DemoSettings(**settings)


def result_of(counts, routes):
    rows = [
        FrameRow(i / 10, i, i, Modality.IR, None, route, "PAIRED", latency_ms=5.0)
        for i, route in enumerate(routes)
    ]
    topics = InputTopics("/eo/image", "/ir/image", None)
    switched = (120.0,) if len(set(routes)) > 1 else ()
    return ReplayResult(
        "live",
        Path("drive"),
        Path("masks"),
        topics,
        Squares().label_set,
        2.4,
        rows=tuple(rows),
        counts={"sent_ir": 24, "masks": 22, "lost_ir": 0, "lost_masks": 0, "dropped_superseded": 1} | counts,
        lost_ms=switched,
        returned_ms=switched,
    )


def test_a_result_that_does_not_add_up_is_refused_with_its_numbers(tmp_path):
    there_and_back = [Route.FUSED, Route.IR_ONLY, Route.FUSED]
    check_result(result_of({"lost_ir": 1}, there_and_back), tmp_path)
    with pytest.raises(
        DemoError, match=r"24 in, 22 masks, 1 dropped, 0 lost in transport; see .*report\.html"
    ):
        check_result(result_of({}, there_and_back), tmp_path)
    check_result(result_of({"eo_anchors": 1, "dropped_superseded": 3}, there_and_back), tmp_path)
    with pytest.raises(DemoError, match="25 in, 22 masks, 1 dropped"):
        check_result(result_of({"eo_anchors": 1}, there_and_back), tmp_path)
    for routes in ([Route.FUSED], [Route.IR_ONLY, Route.FUSED]):
        with pytest.raises(DemoError, match="expected FUSED -> IR_ONLY -> FUSED around the cut"):
            check_result(result_of({"lost_ir": 1}, routes), tmp_path)
