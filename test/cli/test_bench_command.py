from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from csk_ros.cli.main import main
from csk_ros.evaluation import speed
from csk_ros.evaluation.peak_memory import PeakMemory
from csk_ros.evaluation.speed import SpeedResult, SpeedRow
from csk_ros.modality import Route
from csk_ros.replay import bench as bench_document
from csk_ros.replay import end_to_end
from csk_ros.replay.end_to_end import EndToEndError, EndToEndResult
from csk_ros.replay.end_to_end_rows import EndToEndRow

PLAIN = SpeedRow(
    "torch", "eager-fp32", "FUSED", 32, 64, "cpu", 2, 5, 40.0, 50.0, 45.0, 25.0, 1.0,
    {"prepare": 0.25, "network": 0.5, "answer": 0.25}, 2_500_000_000, 300.0, None,
)  # fmt: skip
QUICK = dataclasses.replace(PLAIN, engine="openvino", precision="float32", median_ms=10.0, ratio=4.5)
USUAL = EndToEndRow(
    "usual", 5.0, 60, 45, 200.0, 300.0, 400.0, 500.0, 150.0, 400.0, None,
    height=480, width=640, turns=3, loss=0.25, ratios={"p50_ms": 1.0, "cpu_percent": 1.0},
)  # fmt: skip
OURS = dataclasses.replace(
    USUAL, node="csk_ros", fused=0.5, around_p95_ms=1.23, ratios={"p50_ms": 3.25, "cpu_percent": 2.0}
)


@pytest.fixture
def bench(monkeypatch, capsys):
    """Runs ``csk bench`` on results that are given; keeps the settings of each part."""
    results = {
        "segmenter": SpeedResult((PLAIN, QUICK), (), complete=True),
        "end_to_end": EndToEndResult((USUAL, OURS), complete=True),
    }
    seen = {}

    def measuring(part):
        def measure(settings, **_):
            seen[part] = settings
            if isinstance(results[part], BaseException):
                raise results[part]
            return results[part]

        return measure

    monkeypatch.setattr(speed, "measure_speed", measuring("segmenter"))
    monkeypatch.setattr(end_to_end, "measure_end_to_end", measuring("end_to_end"))

    def run(*arguments, **changed):
        results.update(changed)
        seen.clear()
        return main(["bench", *map(str, arguments)]), seen, capsys.readouterr()

    return run


def test_tables_json_and_plot(bench, tmp_path):
    json_file, plot = tmp_path / "bench.json", tmp_path / "bench.svg"
    code, _, printed = bench("--json", json_file, "--plot", plot)
    assert code == 0
    lines = [" ".join(line.split()) for line in printed.out.splitlines()]
    assert "32x64 FUSED torch eager-fp32 2 40.0 50.0 45.0 25.0 1.00 25 50 25 2.50 300" in lines
    assert "32x64 FUSED openvino float32 2 10.0 50.0 45.0 25.0 4.50 25 50 25 2.50 300" in lines
    assert "5 Hz usual 60 25.0 200.0 300.0 400.0 500.0 150 400 - -" in lines
    assert "5 Hz csk_ros 60 25.0 200.0 300.0 400.0 500.0 150 400 50 1.2" in lines
    assert "5 Hz, usual node / csk_ros: p50 3.25, CPU 2.00" in lines
    document = json.loads(json_file.read_text())
    assert (document["schema"], document["complete"]) == (1, True)
    assert document["segmenter"] == [dataclasses.asdict(row) for row in (PLAIN, QUICK)]
    assert document["end_to_end"] == [dataclasses.asdict(row) for row in (USUAL, OURS)]
    assert {"torch", "machine", "checkpoint"} <= document["facts"].keys()
    drawn = plot.read_text()
    for text in ("32x64 FUSED openvino float32", "4.50x", "5 Hz csk_ros", "p95"):
        assert text in drawn


@pytest.mark.parametrize(("taken", "share"), [(30, 0.3), (1, 0.01)])
def test_what_a_hypervisor_took_is_told(tmp_path, monkeypatch, capsys, taken, share):
    stat, json_file = tmp_path / "stat", tmp_path / "bench.json"
    monkeypatch.setattr(bench_document, "_STAT", stat)
    stat.write_text("cpu  100 0 50 800 10 0 0 7 90 0\ncpu0 1 2 3\n")

    def measure(*_, **__):
        stat.write_text(f"cpu  120 0 60 {870 - taken} 10 0 0 {7 + taken} 99 0\ncpu0 1 2 3\n")
        return SpeedResult((PLAIN,), (), complete=True)

    monkeypatch.setattr(speed, "measure_speed", measure)
    assert main(["bench", "--no-end-to-end", "--json", str(json_file)]) == 0
    assert json.loads(json_file.read_text())["stolen"] == {"segmenter": pytest.approx(share)}
    told = capsys.readouterr().out
    assert ("its host gave 30 % of the processor's time to others" in told) == (taken == 30)


def test_where_nobody_tells_nothing_is_stolen(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_document, "_STAT", tmp_path / "none")
    json_file = tmp_path / "bench.json"
    assert bench("--no-end-to-end", "--json", json_file)[0] == 0
    assert json.loads(json_file.read_text())["stolen"] == {"segmenter": 0.0}


def test_a_node_without_any_mask_is_a_row_and_a_line(bench, tmp_path):
    silent = dataclasses.replace(
        USUAL, received=0, loss=1.0, p50_ms=None, p95_ms=None, p99_ms=None, max_ms=None, ratios={}
    )
    nodes = EndToEndResult((silent, OURS), complete=True)
    plot = tmp_path / "bench.svg"
    code, _, printed = bench("--no-segmenter", "--plot", plot, end_to_end=nodes)
    assert code == 0
    assert "5 Hz usual 60 100.0 - - - - 150 400 - -" in [
        " ".join(x.split()) for x in printed.out.splitlines()
    ]
    for text in ("no mask", "5 Hz usual", "5 Hz csk_ros", "p95"):
        assert text in plot.read_text()


def test_gpu_memory_has_a_column_where_there_is_a_gpu(bench, tmp_path):
    row = dataclasses.replace(PLAIN, device="cuda:0", peak_gpu_memory_mib=77.0)
    plot = tmp_path / "bench.png"
    speeds = SpeedResult((row,), (), complete=True)
    _, _, printed = bench("--no-end-to-end", "--plot", plot, segmenter=speeds)
    assert "GPU MiB" in printed.out
    assert "300       77" in printed.out
    assert plot.read_bytes()[:4] == b"\x89PNG"


def test_a_stream_of_frames_has_a_column_where_one_was_timed(bench):
    rows = [dataclasses.replace(PLAIN, at_once=2, stream_fps=fps) for fps in (1330.25, None)]
    speeds = SpeedResult(tuple(rows), (), complete=True)
    _, seen, printed = bench("--no-end-to-end", "--at-once=2", segmenter=speeds)
    assert seen["segmenter"].at_once == 2
    assert "fps, 2 at once" in printed.out
    assert [line.split()[-1] for line in printed.out.splitlines()[-2:]] == ["1330.2", "-"]


def test_what_is_asked_for_reaches_the_parts(bench):
    arguments = (
        "--engines=torch,openvino --precisions=float32 --routes=IR_ONLY --sizes=32x64,64X96 --rounds=7 "
        "--rate=5,7.5 --seconds=4 --turns=2 --height=96 --width=128 --node-engine=torch --threads=2 "
        "--confidence --device=cpu"
    )
    _, seen, _ = bench(*arguments.split())
    one = seen["segmenter"]
    assert (one.engines, one.precisions, one.routes) == (
        ("torch", "openvino"),
        ("float32",),
        (Route.IR_ONLY,),
    )
    assert (one.sizes, one.rounds, one.threads, one.confidence) == (((32, 64), (64, 96)), 7, 2, True)
    two = seen["end_to_end"]
    assert (two.rates, two.seconds, two.turns, two.height, two.width) == ((5, 7.5), 4, 2, 96, 128)
    assert two.working_size is None
    assert bench("--no-segmenter", "--node-size=48x64")[1]["end_to_end"].working_size == (48, 64)
    assert (two.engine, two.device, two.threads, two.confidence) == ("torch", "cpu", 2, True)
    assert two.usual.name == "usual_node.py"
    assert bench("--no-segmenter", "--no-usual")[1]["end_to_end"].usual is None
    assert one.checkpoint == two.checkpoint
    assert bench("--no-segmenter")[1].keys() == {"end_to_end"}
    assert bench("--no-end-to-end", "--height=96", "--width=128")[1]["segmenter"].sizes == ((96, 128),)


def test_without_a_usual_node_the_comparison_is_left_out_and_said_so(bench, monkeypatch):
    monkeypatch.setattr(end_to_end, "find_usual_node", lambda: None)
    _, seen, printed = bench("--no-segmenter")
    assert seen["end_to_end"].usual is None
    assert "usual_node.py is not installed: no comparison end to end" in printed.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--no-segmenter", "--no-end-to-end"], "nothing to measure"),
        (["--json", "HERE/old.json"], "old.json exists already"),
        (["--json", "HERE/absent/new.json"], "absent: make it first"),
        (["--plot", "HERE/new.pdf"], "new.pdf should end in .svg or .png"),
        (["--plot", "HERE/old.svg"], "old.svg exists already"),
        (["--checkpoint", "HERE/absent"], "there is no checkpoint at"),
        (["--routes", "SIDEWAYS"], "SIDEWAYS"),
        (["--sizes", "480"], "write HEIGHTxWIDTH"),
        (["--rounds", "0"], "rounds is 0"),
        (["--rate", "fast"], "fast"),
        (["--device", "abacus"], "device 'abacus' is not known"),
        (["--usual", "HERE/absent.py"], "no node to compare with"),
        (["--usual", "HERE/old.json", "--no-usual"], "give one"),
    ],
)
def test_wrong_requests_are_one_line_before_anything_is_measured(bench, tmp_path, arguments, reason):
    for name in ("old.json", "old.svg"):
        (tmp_path / name).write_text("mine")
    code, seen, printed = bench(*(part.replace("HERE", str(tmp_path)) for part in arguments))
    assert code == 1
    assert reason in printed.err
    assert printed.err.count("\n") == 1
    assert not seen
    assert (tmp_path / "old.json").read_text() == (tmp_path / "old.svg").read_text() == "mine"


def test_an_interrupt_leaves_what_was_measured(bench, tmp_path):
    json_file = tmp_path / "bench.json"
    code, _, printed = bench("--json", json_file, end_to_end=KeyboardInterrupt())
    assert code == 130
    assert printed.err.endswith("the figures are of what was measured before\ncsk: interrupted\n")
    document = json.loads(json_file.read_text())
    assert not document["complete"]
    assert len(document["segmenter"]) == 2
    assert "end_to_end" not in document


def test_an_error_leaves_what_was_measured(bench, tmp_path):
    json_file = tmp_path / "bench.json"
    code, _, printed = bench("--json", json_file, end_to_end=EndToEndError("the node usual ended"))
    assert code == 1
    assert "eager-fp32" in printed.out
    assert printed.err.endswith("csk: error: the node usual ended\n")
    assert json.loads(json_file.read_text()).keys() >= {"segmenter"}
    assert bench("--no-segmenter", end_to_end=EndToEndError("the node usual ended"))[0] == 1


def test_an_interrupted_part_is_the_last(bench):
    code, seen, printed = bench(segmenter=SpeedResult((PLAIN,), (), complete=False))
    assert code == 130
    assert seen.keys() == {"segmenter"}
    assert "eager-fp32" in printed.out


def test_an_interrupt_before_anything_was_measured_writes_nothing(bench, tmp_path):
    code, _, printed = bench("--json", tmp_path / "bench.json", segmenter=KeyboardInterrupt())
    assert code == 130
    assert "nothing was measured yet, and nothing is written" in printed.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "missing"), [("end_to_end", ""), ("bench_chart", "rclpy sensor_msgs std_msgs")]
)
def test_it_needs_the_extra_bench_alone(part, missing):
    others = f"rosbags mcap apsw lz4 zstandard jinja2 lightning {missing}".split()
    code = (
        f"import sys; sys.modules |= dict.fromkeys({others})\n"
        f"import csk_ros.replay.bench, csk_ros.evaluation.speed, csk_ros.replay.{part}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_extra_is_named(monkeypatch, capsys):
    for name in ("end_to_end", "bench_camera", "bench_listener"):
        monkeypatch.delitem(sys.modules, f"csk_ros.replay.{name}")
    monkeypatch.setitem(sys.modules, "rclpy", None)
    assert main(["bench", "--no-segmenter"]) == 1
    assert "needs rclpy, which is not installed: pip install 'csk_ros[bench]'" in capsys.readouterr().err


def test_the_segmenter_part_for_real(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(speed, "measure_peak_memory", lambda *_: PeakMemory(300.0, None))
    out = tmp_path / "bench.json"
    arguments = "--engines=torch --precisions=float32 --routes=IR_ONLY --height=32 --width=64 --rounds=1"
    assert main(["bench", "--no-end-to-end", *arguments.split(), "--json", str(out)]) == 0
    rows = json.loads(out.read_text())["segmenter"]
    assert [(row["engine"], row["precision"]) for row in rows] == [
        ("torch", "eager-fp32"),
        ("torch", "float32"),
    ]
    assert "32x64 IR_ONLY torch eager-fp32" in capsys.readouterr().out
