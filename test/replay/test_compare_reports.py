from __future__ import annotations

import dataclasses
import json

import pytest
from made_result import make_result
from squares_samples import Squares

from csk_ros.cli.main import main
from csk_ros.replay.compare_reports import compare_reports
from csk_ros.replay.report import make_report
from csk_ros.replay.report_schema import ReportError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {
        kind: make_result(tmp_path_factory.mktemp(kind), Squares(frames=24), ((0.8, 1.4),), kind=kind)
        for kind in ("offline", "live")
    }


def _write(path, result, **changes):
    document = dataclasses.asdict(make_report(result)) | changes
    path.write_text(json.dumps(document))
    return path


def _row(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name}  ")]
    return line.removeprefix(name).split()


def test_figures_stand_side_by_side_with_their_difference(made, tmp_path):
    slower = dataclasses.replace(
        made["offline"],
        rows=tuple(dataclasses.replace(row, compute_ms=row.compute_ms + 10) for row in made["offline"].rows),
        lost_ms=(300.0, 320.0),
    )
    worse = make_report(slower).scores
    worse = {
        name: dataclasses.asdict(score) | {"iou": {"ground": 0.5, "square": None}}
        for name, score in worse.items()
    }
    a = _write(tmp_path / "a.json", made["offline"])
    b = _write(tmp_path / "b.json", slower, scores=worse, miou={"FUSED": 0.5, "IR_ONLY": None})
    text = compare_reports(a, b)
    assert _row(text, "mIoU FUSED") == ["100.0", "%", "50.0", "%", "-50.0", "%"]
    assert _row(text, "mIoU IR_ONLY") == ["87.8", "%", "-", "-"]
    assert _row(text, "IoU FUSED ground") == ["100.0", "%", "50.0", "%", "-50.0", "%"]
    assert _row(text, "EO lost to IR_ONLY, median") == ["210.0", "ms", "310.0", "ms", "+100.0", "ms"]
    assert _row(text, "Segmenter, p50")[-2:] == ["+10.0", "ms"]
    assert _row(text, "masks") == ["24", "24", "+0"]
    assert "latency" not in text
    assert "*" not in text


@pytest.mark.parametrize(
    ("part", "changes", "note", "starred"),
    [
        (
            "bag",
            {"name": "other"},
            "other bag: A drive, 0.0, 2.3, B other, 0.0, 2.3",
            {"score", "time", "speed", "count"},
        ),
        ("versions", {"machine": "big"}, "other machine: A x86_64, 2 cores, B big", {"speed"}),
        ("configuration", {"checkpoint sha256": "cd"}, "other checkpoint sha256: A abab", set()),
        (None, {"labels": "folder x"}, "other labels: A topic /labels/image, B folder x", {"score"}),
        (
            None,
            {"complete": False, "problems": ["cut at 3 s"]},
            "B is incomplete: cut at 3 s",
            {"score", "time", "speed", "count"},
        ),
        (
            None,
            {"injections": []},
            "other injections: A eo drop from 0.8 s to 1.4 s, B none",
            {"score", "time", "speed", "count"},
        ),
    ],
)
def test_what_makes_a_difference_unfair_is_said_and_starred(made, tmp_path, part, changes, note, starred):
    document = dataclasses.asdict(make_report(made["offline"]))
    changes = {part: document[part] | changes} if part else changes
    text = compare_reports(
        _write(tmp_path / "a", made["offline"]), _write(tmp_path / "b", made["offline"], **changes)
    )
    assert note in text
    kinds = {
        "score": "mIoU FUSED",
        "time": "EO back to FUSED, median",
        "speed": "Segmenter, p50",
        "count": "masks",
    }
    assert {kind for kind, name in kinds.items() if _row(text, name)[-1].endswith("*")} == starred
    assert ("not like with like" in text) == bool(starred)


def test_live_and_offline_have_their_own_times(made, tmp_path):
    text = compare_reports(*(_write(tmp_path / kind, result) for kind, result in made.items()))
    assert "other kind of replay: A offline, B live" in text
    assert _row(text, "latency, p50")[0] == "-"
    assert _row(text, "Segmenter, p50")[-2:] == ["-", "-"]
    assert _row(text, "memory, max") == ["-", "602.0", "MiB", "-"]


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": 3},
        {"miou": {"FUSED": "high"}},
        {"scores": None},
        {"latency_ms": [1]},
        {"bag": {}},
        {"switch": {"x": []}},
    ],
)
def test_a_malformed_report_is_one_line(made, tmp_path, changes):
    good, bad = _write(tmp_path / "a", made["offline"]), _write(tmp_path / "b", made["offline"], **changes)
    with pytest.raises(ReportError, match="is malformed") as caught:
        compare_reports(good, bad)
    assert "\n" not in str(caught.value)


def test_names_do_not_reach_the_terminal_as_commands(made, tmp_path):
    document = dataclasses.asdict(make_report(made["offline"]))
    scores = {"FUSED": document["scores"]["FUSED"] | {"iou": {"\x1b[2Jroad\n": 0.5, "x" * 500: 0.1}}}
    path = _write(tmp_path / "a", made["offline"], scores=scores, labels="\x1b]0;x\x07")
    text = compare_reports(path, _write(tmp_path / "b", made["offline"]))
    assert "\x1b" not in text
    assert "?[2Jroad?" in text
    assert max(len(line) for line in text.splitlines() if line.startswith("IoU")) < 100


def test_the_command_prints_the_comparison_or_one_line(made, tmp_path, capsys):
    folder = tmp_path / "a"
    folder.mkdir()
    _write(folder / "report.json", made["offline"])
    assert main(["compare-reports", str(folder), str(folder / "report.json")]) == 0
    assert "mIoU FUSED" in capsys.readouterr().out
    (tmp_path / "old.json").write_text('{"schema": 1}')
    assert main(["compare-reports", str(folder), str(tmp_path / "old.json")]) == 1
    printed = capsys.readouterr()
    assert (
        printed.err
        == f"csk: error: {tmp_path / 'old.json'} is of schema 1, this csk reads 2: replay the bag again\n"
    )
