from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from squares_samples import Squares

from csk_ros.cli.main import main
from csk_ros.modality import Modality, Route
from csk_ros.replay import node_process
from csk_ros.replay.bag import BagReader
from csk_ros.replay.injection import Injection, Stretches
from csk_ros.replay.live_run import run_live
from csk_ros.replay.live_settings import LiveSettings
from csk_ros.replay.samples import write_samples
from csk_ros.share import DEFAULT_CHECKPOINT, share_path


@pytest.fixture
def own_node(tmp_path, monkeypatch):
    """Runs a live replay with a stand-in for the node as a process of its own."""
    write_samples(tmp_path / "drive", Squares(frames=30), progress=False)
    monkeypatch.setattr(node_process, "_NODE_MODULE", "echo_node")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))

    def run(**ways):
        ways = {"period_ns": 10**8, "drop_every": 0, "honest": "yes", "exit_code": 0} | ways
        monkeypatch.setenv("ECHO_WAYS", ",".join(f"{name}={way}" for name, way in ways.items()))
        return run_live(LiveSettings(bag=tmp_path / "drive", masks=tmp_path / "masks", progress=False))

    return run


def test_what_its_process_uses_is_sampled(own_node):
    result = own_node()
    assert result.complete
    assert len(result.answered) == 30
    assert len(result.resources) >= 2
    assert all(sample.cpu_percent >= 0 and sample.memory_mib > 10 for sample in result.resources)
    assert not any("the node ended" in problem for problem in result.problems)


def test_a_node_that_dies_on_the_way_leaves_what_there_is(own_node, tmp_path, capsys):
    result = own_node(die_at=10)
    assert not result.complete
    assert "the node ended with exit code 7" in result.problems
    assert 9 <= len(result.rows) < 30
    assert 1 <= len(result.answered) <= 9
    with BagReader(tmp_path / "masks") as bag:
        assert bag.topics["/segment/mask"].messages == len(result.answered)
    assert "  node | " in capsys.readouterr().err


def test_weights_that_are_missing_are_named_before_anything_starts(tmp_path):
    write_samples(tmp_path / "drive", Squares(), progress=False)
    settings = LiveSettings(
        bag=tmp_path / "drive", masks=tmp_path / "masks", parameters={"checkpoint": str(tmp_path / "missing")}
    )
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint at .*missing: check the path"):
        run_live(settings)
    assert not (tmp_path / "node.log").exists()


@pytest.mark.slow
def test_the_real_node_answers_a_compressed_bag_on_both_routes(tmp_path):
    drive = tmp_path / "drive"
    scenes = "scenes:frames=60,height=96,width=128,rate=8,light=night-to-day"
    assert main(["bag", "make", "--data", scenes, "--compress", "jpeg", str(drive)]) == 0
    parameters = tmp_path / "node.yaml"
    parameters.write_text(
        "/**/segment:\n  ros__parameters: {height: 96, width: 128, diagnostics_period: 0.5}\n"
    )
    result = run_live(
        LiveSettings(
            bag=drive,
            masks=tmp_path / "masks",
            injections=(Injection("drop", Modality.EO, Stretches(2, 5)),),
            parameters_file=parameters,
            parameters={"engine": "torch"},
            progress=False,
        )
    )
    assert result.complete
    assert len(result.rows) == 60
    counts = result.counts
    dropped = sum(count for name, count in counts.items() if name.startswith("dropped_"))
    assert counts["masks"] + dropped + counts["lost_ir"] + counts["lost_masks"] == 60
    assert {Route.FUSED, Route.IR_ONLY} <= set(result.scores.routes)
    assert {row.cause for row in result.answered if row.route is Route.IR_ONLY} <= {
        "EO_STALE",
        "EO_RETURNING",
        "UNKNOWN",
    }
    assert any(sample.state == "STALE" for sample in result.streams[Modality.EO])
    assert {"network", "read", "publish"} <= set(result.stages_ms)
    with BagReader(drive) as bag:
        assert result.label_set == bag.label_set
    assert result.configuration["engine"] == "torch"
    assert result.configuration["checkpoint"] == share_path(DEFAULT_CHECKPOINT).name
    assert min(sample.memory_mib for sample in result.resources) > 50
    with BagReader(tmp_path / "masks") as bag:
        assert bag.topics["/segment/confidence"].messages == len(result.answered)
    assert "Traceback" not in (tmp_path / "node.log").read_text()
