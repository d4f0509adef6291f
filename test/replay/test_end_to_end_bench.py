from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from csk_ros.replay import end_to_end, node_process
from csk_ros.replay.bench_listener import Heard
from csk_ros.replay.end_to_end import EndToEndError, EndToEndSettings, find_usual_node, measure_end_to_end
from csk_ros.replay.end_to_end_rows import OURS, RATIOS, USUAL, Turn, make_row
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

ECHO = Path(__file__).parent / "echo_node.py"


def _settings(usual=None, **settings):
    given = {"rates": (10.0,), "seconds": 2.0, "turns": 1, "height": 64, "width": 64} | settings
    return EndToEndSettings(Path("any.safetensors"), usual, **given)


@pytest.fixture
def echo(monkeypatch):
    """Lets a stand-in answer for the node of the package, in ways that are given."""
    monkeypatch.setattr(node_process, "_NODE_MODULE", "echo_node")
    monkeypatch.setattr(end_to_end, "_SETTLE_S", 0.3)
    monkeypatch.setattr(end_to_end, "_QUIET_S", 0.5)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ECHO.parent), *sys.path]))

    def set_ways(**ways):
        ways = {"period_ns": 10**8, "drop_every": 0, "honest": "yes", "exit_code": 0} | ways
        monkeypatch.setenv("ECHO_WAYS", ",".join(f"{name}={way}" for name, way in ways.items()))

    set_ways()
    return set_ways


@pytest.mark.usefixtures("echo")
def test_a_node_is_measured_from_camera_to_mask():
    result = measure_end_to_end(_settings())
    assert result.complete
    (row,) = json.loads(json.dumps([dataclasses.asdict(row) for row in result.rows]))
    assert (row["node"], row["rate_hz"], row["height"], row["width"], row["turns"]) == (OURS, 10, 64, 64, 1)
    assert row["received"] == row["sent"] > 0
    assert row["loss"] == 0
    assert row["fused"] == 1
    assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] <= row["max_ms"]
    assert row["cpu_percent"] > 0
    assert row["memory_mib"] > 10
    assert row["around_p95_ms"] == 1.5  # as the stand-in says
    assert row["ratios"] == {}


def test_images_without_a_mask_are_lost(echo):
    echo(drop_every=4)
    (row,) = measure_end_to_end(_settings(rates=(20.0,))).rows
    assert row.sent - row.received == pytest.approx(row.sent / 4, abs=1)
    assert row.loss == pytest.approx(1 - row.received / row.sent)


def test_a_node_that_answers_nothing_has_a_row_and_no_latency():
    rounds = [
        [
            Turn(USUAL, 5.0, 10, 0, None, None, None, None, 100.0, 300.0, None),
            Turn(OURS, 5.0, 10, 10, 20.0, 30.0, 31.0, 32.0, 50.0, 600.0, 1.0),
        ],
        [
            Turn(USUAL, 5.0, 10, 0, None, None, None, None, 100.0, 300.0, None),
            Turn(OURS, 5.0, 10, 9, 22.0, 34.0, 35.0, 36.0, 50.0, 600.0, 1.0),
        ],
    ]
    usual, ours = (make_row((64, 64), [both[at] for both in rounds], rounds) for at in (0, 1))
    assert (usual.loss, usual.p95_ms, usual.max_ms) == (1, None, None)
    assert (ours.p95_ms, ours.max_ms) == (32.0, 36.0)
    assert ours.ratios == {"cpu_percent": 2.0, "memory_mib": 0.5}


def test_a_slow_node_is_given_time_to_work_off_its_queue(tmp_path, monkeypatch):
    masks, heard, second = tmp_path / "masks", Heard(tmp_path), 10**9
    masks.write_text(f"1 {time.time_ns() - 2 * second} \n2 {time.time_ns() - second} \n")
    monkeypatch.setattr(end_to_end, "_QUIET_S", 0.5)
    watch = end_to_end._Watch(USUAL, SimpleNamespace(alive=lambda: True), heard, [])
    late = threading.Timer(0.4, lambda: masks.open("a").write(f"3 {time.time_ns()} \n"))
    late.start()
    watch.wait_for_masks({1, 2, 3})
    assert [receipt.stamp_ns for receipt in heard.receipts()] == [1, 2, 3]
    late.join()


def test_what_a_node_says_before_and_after_it_was_measured_does_not_count(tmp_path):
    (tmp_path / "around").write_text("10 1.0\n20 2.0\n29 3.5\n30 4.0\n31")
    assert Heard(tmp_path).around(20, 30) == [2.0, 3.5]


@pytest.mark.slow
@pytest.mark.usefixtures("echo")
def test_nodes_take_turns_and_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("ROS_DOMAIN_ID", "77")
    result = measure_end_to_end(_settings(ECHO, turns=2, rates=(5.0, 10.0)))
    assert [(row.node, row.rate_hz, row.turns) for row in result.rows] == [
        (USUAL, 5, 2), (OURS, 5, 2), (USUAL, 10, 2), (OURS, 10, 2),
    ]  # fmt: skip
    assert all(row.received == row.sent > 0 for row in result.rows)
    assert all(set(row.ratios) == set(RATIOS) and min(row.ratios.values()) > 0 for row in result.rows)
    assert os.environ["ROS_DOMAIN_ID"] != "77"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("script", "reason", "shown"),
    [
        ("raise SystemExit('no camera licence')", "the node usual ended", "no camera licence"),
        ("import time; print('yawn'); time.sleep(60)", "usual gave no mask within 2 s", "yawn"),
    ],
)
@pytest.mark.usefixtures("echo")
def test_a_node_that_does_not_do_its_part_is_one_error_with_its_log(script, reason, shown, tmp_path, capfd):
    usual = tmp_path / "usual.py"
    usual.write_text(script)
    with pytest.raises(EndToEndError, match=reason):
        measure_end_to_end(_settings(usual, start_s=2.0))
    assert f"  node | {shown}\n" in capfd.readouterr().err


def test_a_node_that_dies_on_the_way_is_an_error(echo):
    echo(die_at=8)
    with pytest.raises(EndToEndError, match="the node csk_ros ended"):
        measure_end_to_end(_settings())


@pytest.mark.usefixtures("echo")
def test_a_camera_that_dies_is_an_error_at_once(monkeypatch):
    monkeypatch.setattr(end_to_end, "_render", lambda *_: None)  # so that it finds no images
    with pytest.raises(EndToEndError, match="the camera or the listener of the bench ended"):
        measure_end_to_end(_settings())


def _turn(node, **figures):
    whole = dict.fromkeys(("p50_ms", "p95_ms", "p99_ms", "max_ms", "cpu_percent", "memory_mib"), 10.0)
    return Turn(
        **{"node": node, "rate_hz": 10.0, "sent": 20, "received": 20, "fused": None} | whole | figures
    )


@pytest.fixture
def made_turns(monkeypatch):
    """Measures turns that are given; an error among them is raised."""

    def measure(made, **settings):
        left = iter(made)

        def take(_, name, *__):
            turn = next(left)
            if isinstance(turn, BaseException):
                raise turn
            assert turn.node == name
            return turn

        monkeypatch.setattr(end_to_end, "_take_turn", take)
        return measure_end_to_end(_settings(ECHO, **settings))

    return measure


def test_figures_are_medians_over_turns_and_ratios_those_of_the_same_turn(made_turns):
    usual = [_turn(USUAL, p50_ms=ms, received=18) for ms in (40.0, 90.0, 60.0)]
    ours = [
        _turn(OURS, p50_ms=ms, max_ms=2 * ms, fused=1.0, around_p95_ms=ms / 10) for ms in (20.0, 15.0, 30.0)
    ]
    result = made_turns([one for pair in zip(usual, ours, strict=True) for one in pair], turns=3)
    plain, row = result.rows
    assert (plain.p50_ms, plain.sent, plain.received, plain.loss) == (60, 60, 54, pytest.approx(0.1))
    assert (row.p50_ms, row.max_ms, row.ratios["p50_ms"], row.ratios["cpu_percent"]) == (20, 60, 2, 1)
    assert (plain.fused, row.fused, plain.ratios["p50_ms"]) == (None, 1, 1)
    assert (plain.around_p95_ms, row.around_p95_ms) == (None, 2)


def test_an_interrupt_keeps_turns_that_all_nodes_had(made_turns):
    both = [_turn(USUAL), _turn(OURS)]
    result = made_turns([*both, _turn(USUAL), KeyboardInterrupt()], turns=3)
    assert not result.complete
    assert [(row.node, row.turns) for row in result.rows] == [(USUAL, 1), (OURS, 1)]
    with pytest.raises(KeyboardInterrupt):
        made_turns([_turn(USUAL), KeyboardInterrupt()])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"rates": ()}, "rates must be"),
        ({"rates": (5.0, 0.0)}, "rates must be"),
        ({"seconds": 0.05}, "long enough"),
        ({"turns": 0}, "at least one turn"),
        ({"height": 32}, "at least 64x64"),
        ({"working_size": (0, 4)}, "working size must be positive"),
    ],
)
def test_settings_that_mean_nothing(settings, reason):
    with pytest.raises(ValueError, match=reason):
        _settings(**settings)


@pytest.mark.parametrize(("working", "height"), [((32, 48), "32"), (None, "64")])
def test_our_node_works_at_its_own_size(working, height):
    settings = _settings(height=64, width=96, working_size=working)
    assert end_to_end._parameters(settings, OURS)["height"] == height


def test_a_usual_node_that_is_missing():
    with pytest.raises(FileNotFoundError, match=r"no node to compare with at absent\.py"):
        _settings(Path("absent.py"))


@pytest.mark.slow
def test_both_real_nodes_answer():
    usual = find_usual_node()
    assert usual
    settings = EndToEndSettings(
        share_path(DEFAULT_CHECKPOINT),
        usual,
        rates=(2.0,),
        seconds=3.0,
        turns=1,
        height=96,
        width=96,
        working_size=(64, 64),
    )
    plain, ours = measure_end_to_end(settings).rows
    assert (plain.node, ours.node) == (USUAL, OURS)
    assert plain.received > 0
    assert ours.received > 0
    assert plain.fused is None
    assert ours.fused is not None
    assert plain.around_p95_ms is None
    assert 0 < ours.around_p95_ms < ours.p95_ms
