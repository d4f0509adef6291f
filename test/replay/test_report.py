from __future__ import annotations

import csv
import dataclasses
import json
import re
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from made_result import make_result, many_rows, without_masks
from squares_samples import Squares

from csk_ros.modality import Modality, Route
from csk_ros.replay import report_schema
from csk_ros.replay.report import make_report, write_report, write_rows
from csk_ros.replay.report_schema import ReportError, Spread, read_report
from csk_ros.replay.result import StreamSample

CUT = (0.8, 1.4)
DROPPED = (3, 10)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "report.md"


@pytest.fixture(scope="module", params=["offline", "live"])
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return make_result(folder, Squares(frames=24), (CUT,), kind=request.param, dropped=DROPPED)


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    return make_result(tmp_path_factory.mktemp("made"), Squares(frames=24), (CUT,), dropped=DROPPED)


def test_the_report_has_the_figures_of_the_result(made):
    report = make_report(made)
    assert [span.route for span in report.routes] == ["FUSED", "IR_ONLY", "FUSED"]
    assert (report.routes[1].start_s, report.routes[1].end_s) == (0.8, 1.3)
    assert dataclasses.asdict(report.frames) == {
        "eo_in": 18,
        "ir_in": 24,
        "anchors": 24,
        "masks_out": 22,
        "masks_hz": round(22 / 2.3, 3),
        "dropped": 2,
        "lost_in_transport": 0,
        "by_route": {"FUSED": 17, "IR_ONLY": 5, "EO_ONLY": 0},
        "dropped_by": {"SUPERSEDED": 2},
        "not_fused_by": {"EO_STALE": 5},
        "apart": {"eo_unused": 2},
    }
    assert report.miou["FUSED"] == 1
    # A square of 8 rows that is one row off: 7 of 9 rows are right; the ground loses as many pixels.
    ground = 24 * 32 - 64
    assert report.miou["IR_ONLY"] == pytest.approx((7 / 9 + (ground - 8) / (ground + 8)) / 2)
    assert report.scores["IR_ONLY"].frames == 5
    assert np.sum(report.scores["IR_ONLY"].confusion) == 5 * 24 * 32
    assert list(report.consistency) == ["FUSED", "IR_ONLY"]
    assert report.switch.eo_loss_to_ir_only_ms == [210.0]


def test_only_what_was_measured_has_a_time(made):
    report = make_report(made)
    measured, other = report.timing.compute_ms, report.latency_ms
    if made.kind == "live":
        measured, other = other, measured
        assert report.player_late_ms.max == 1
        assert report.resources["memory_mib"].max == 602
        assert "gpu_percent" not in report.resources
    assert other is None
    assert 17 <= measured.p50 <= measured.p95 <= measured.p99 <= measured.max <= 57
    assert measured.count == 22


def test_lost_frames_are_told_apart_from_dropped_ones(made):
    rows = (dataclasses.replace(made.rows[0], route=None, cause="LOST"), *made.rows[1:])
    frames = make_report(dataclasses.replace(made, rows=rows)).frames
    assert (frames.dropped, frames.lost_in_transport, frames.masks_out) == (2, 1, 21)
    assert frames.dropped_by == {"SUPERSEDED": 2}


def test_states_of_a_stream_become_spans_with_their_share(offline):
    samples = [(0.0, "ALIVE", ""), (1.0, "ALIVE", ""), (1.5, "UNUSABLE", "frozen"), (2.0, "ALIVE", "")]
    streams = {Modality.EO: tuple(StreamSample(t, state, 10.0, fault) for t, state, fault in samples)}
    stream = make_report(dataclasses.replace(offline, streams=streams)).streams["eo"]
    assert [dataclasses.astuple(span) for span in stream.states] == [
        ("ALIVE", "", 0.0, 1.5),
        ("UNUSABLE", "frozen", 1.5, 2.0),
        ("ALIVE", "", 2.0, 2.3),
    ]
    assert stream.share == {"ALIVE": round(1.8 / 2.3, 4), "UNUSABLE": round(0.5 / 2.3, 4)}
    assert stream.rate_hz == 10


def test_two_equal_offline_replays_differ_in_timing_and_machine_alone(tmp_path):
    documents, tables, strips = [], [], []
    for name, slower in (("a", 0), ("b", 5)):
        (tmp_path / name).mkdir()
        result = make_result(tmp_path / name, Squares(frames=24), (CUT,), dropped=DROPPED)
        rows = (
            dataclasses.replace(row, compute_ms=row.compute_ms and row.compute_ms + slower)
            for row in result.rows
        )
        result = dataclasses.replace(
            result,
            rows=tuple(rows),
            stages_ms={"network": 30.0 + slower},
            versions=dict(result.versions) | {"machine": name},
        )
        write_report(tmp_path / name, result, title="equal")
        document = json.loads((tmp_path / name / "report.json").read_text())
        documents.append((document.pop("timing"), document["versions"].pop("machine"), document))
        tables.append((tmp_path / name / "frames.csv").read_bytes())
        strips.append((tmp_path / name / "strip.png").read_bytes())
    assert documents[0][2] == documents[1][2]
    assert documents[0][0] != documents[1][0]
    assert tables[0] == tables[1]
    assert strips[0] == strips[1]


def test_frames_csv_has_a_row_per_anchor_frame(made, tmp_path):
    write_rows(tmp_path / "frames.csv", made)
    with (tmp_path / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert ("latency_ms" in rows[0]) == (made.kind == "live")
    assert "compute_ms" not in rows[0] or made.kind == "live"
    assert int(rows[9]["stamp_ns"]) == made.rows[9].stamp_ns
    assert (rows[9]["anchor"], rows[9]["route"], rows[9]["cause"]) == ("ir", "IR_ONLY", "EO_STALE")
    assert rows[9]["eo_stamp_ns"] == ""
    assert (rows[3]["route"], rows[3]["cause"], rows[3]["miou"]) == ("", "SUPERSEDED", "")


def test_a_result_without_masks_has_a_report_without_figures(offline, tmp_path):
    report = write_report(tmp_path, without_masks(offline), title="nothing came back")
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["miou"] == {"FUSED": None, "IR_ONLY": None}
    assert document["timing"]["compute_ms"] is None
    assert report.routes == []
    assert report.frames.dropped_by == {"ENGINE_FAILED": 24}
    page = (tmp_path / "report.html").read_text()
    assert "No masks at all" in page
    assert "dropped: engine failed" in page
    assert (tmp_path / "strip.png").read_bytes()[:4] == b"\x89PNG"


def test_an_empty_result_has_a_report(offline, tmp_path):
    bare = dataclasses.replace(without_masks(offline), rows=(), streams={}, received={}, length_s=0.0)
    report = write_report(tmp_path, bare, title="empty")
    assert report.frames.anchors == 0
    assert report.frames.masks_hz is None


def test_a_drive_without_labels_has_a_report_without_scores(tmp_path):
    result = make_result(tmp_path, Squares(frames=24, with_labels=False), (CUT,))
    report = write_report(tmp_path, result, title="bare")
    assert report.scores == {}
    assert report.labels is None
    page = (tmp_path / "report.html").read_text()
    assert 'id="classes"' not in page
    assert 'id="worst"' not in page


def test_thermal_alone_has_a_report(tmp_path):
    result = make_result(tmp_path, Squares(frames=12), ((0, 9),))
    rows = tuple(dataclasses.replace(row, cause="EO_ABSENT") for row in result.rows)
    result = dataclasses.replace(
        result,
        rows=rows,
        topics=dataclasses.replace(result.topics, eo=None),
        streams={Modality.IR: result.streams[Modality.IR]},
        injections=(),
    )
    report = write_report(tmp_path, result, title="thermal alone")
    assert report.frames.by_route == {"FUSED": 0, "IR_ONLY": 12, "EO_ONLY": 0}
    assert list(report.streams) == ["ir"]
    assert "no eo since start" in (tmp_path / "report.html").read_text()


def test_optical_alone_has_a_report(tmp_path):
    result = make_result(tmp_path, Squares(frames=12), ())
    rows = (
        dataclasses.replace(r, anchor=Modality.EO, route=Route.EO_ONLY, cause="IR_STALE") for r in result.rows
    )
    report = write_report(tmp_path, dataclasses.replace(result, rows=tuple(rows)), title="optical alone")
    assert [span.route for span in report.routes] == ["EO_ONLY"]
    assert "ir stale" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("count", [2_000, 20_000])
def test_a_report_of_many_frames_stays_small(offline, tmp_path, count):
    write_report(tmp_path, many_rows(offline, count), title="long")
    page = (tmp_path / "report.html").read_text()
    assert len(page) < 3_000_000
    assert f"12 of {count // 5 - 1} changes of the route" in page
    assert "too many changes" in page
    assert 'title="changing, ' in page


def test_a_spread_knows_what_is_missing():
    assert Spread.of([None, None]) is None
    assert Spread.of([1.0, None, 3.0]) == Spread(2, 2.0, 2.0, 2.9, 2.98, 3.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no report: it is not JSON"),
        ("[1]", "it names no schema"),
        ('{"schema": "2"}', "it names no schema"),
        ('{"schema": 1}', "is of schema 1, this csk reads 2"),
        ('{"schema": 2}', "is no whole report: it lacks agreement, bag,"),
        ("[" * 100_000, "is no report"),
    ],
)
def test_what_is_no_report_is_named(tmp_path, text, reason):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ReportError, match=re.escape(reason)) as caught:
        read_report(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_report_is_read_back_from_its_folder(offline, tmp_path):
    report = write_report(tmp_path, offline, title="read")
    assert read_report(tmp_path) == json.loads(json.dumps(dataclasses.asdict(report)))
    with pytest.raises(ReportError, match="No such file"):
        read_report(tmp_path / "missing")


def _schema_classes():
    return [one for one in vars(report_schema).values() if dataclasses.is_dataclass(one)]


@pytest.mark.parametrize("schema", _schema_classes(), ids=lambda schema: schema.__name__)
def test_every_field_of_the_schema_is_documented_under_its_object(schema):
    sections = re.split(r"^### ", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    section = next((s for s in sections if s.startswith(f"{schema.__name__}\n")), "")
    documented = re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)
    assert documented == list(get_type_hints(schema))


def _with_rows(result, causes, counts):
    rows = (dataclasses.replace(result.rows[0], route=None, cause=cause) for cause in causes)
    return make_report(dataclasses.replace(result, rows=(*result.rows[:2], *rows), counts=counts)).frames


@pytest.mark.parametrize(
    ("causes", "counts", "dropped_by", "lost"),
    [
        (["UNREADABLE"], {"dropped_unreadable": 1}, {"UNREADABLE": 1}, 0),
        (["UNREADABLE"], {"dropped_duplicate": 2}, {"DUPLICATE": 2, "UNREADABLE": 1}, 0),
        (["NO_MASK"] * 5, {"dropped_superseded": 3, "lost_ir": 1, "lost_masks": 1}, {"SUPERSEDED": 3}, 2),
        (["NO_MASK"] * 5, {"dropped_superseded": 3}, {"SUPERSEDED": 3, "NO_MASK": 2}, 0),
        (["NO_MASK"] * 5, {}, {"NO_MASK": 5}, 0),
        (["LOST"] * 2, {"lost_ir": 2, "sent_ir": 4}, {}, 2),
        (["NO_MASK"], {"lost_eo": 9}, {"NO_MASK": 1}, 0),
        (["EARTHQUAKE"], {}, {"EARTHQUAKE": 1}, 0),
    ],
)
def test_rows_and_counts_make_one_account(offline, causes, counts, dropped_by, lost):
    frames = _with_rows(offline, causes, counts)
    assert (frames.dropped_by, frames.lost_in_transport) == (dropped_by, lost)
    assert frames.anchors == frames.masks_out + frames.dropped + frames.lost_in_transport
    assert frames.masks_out == 2
    assert frames.anchors >= 2 + len(causes)


def test_a_node_whose_processor_time_is_not_seen_has_a_report(tmp_path):
    result = make_result(tmp_path, Squares(frames=12), (), kind="live")
    unseen = tuple(dataclasses.replace(sample, cpu_percent=None) for sample in result.resources)
    report = write_report(tmp_path, dataclasses.replace(result, resources=unseen), title="a node of its own")
    assert list(report.resources) == ["memory_mib"]
    assert "CPU not seen" in (tmp_path / "report.html").read_text()
