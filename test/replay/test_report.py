from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from made_recording import make_recording
from squares_samples import Squares

from csk_ros.labels import MFNET
from csk_ros.modality import Route
from csk_ros.replay.frames import played_frames
from csk_ros.replay.pictures import (
    overlay,
    strip_captions,
    video_frame,
    write_strip,
    write_video,
)
from csk_ros.replay.recording import RecordingError
from csk_ros.replay.report import account_frames, make_report, write_html, write_json

CUT = (0.8, 1.4)
DROPPED = (3, 10)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_recording(tmp_path_factory.mktemp("made"), Squares(frames=24), CUT, dropped=DROPPED)


@pytest.fixture(scope="module")
def report(made):
    return make_report(
        made, Squares().label_set, configuration={"<weights>": "a & b"}, versions={"Python": "3"}
    )


def test_frames_pair_each_image_with_its_own_mask(made):
    frames = list(played_frames(made))
    for i, (frame, sample) in enumerate(zip(frames, Squares(frames=24), strict=True)):
        is_cut = CUT[0] <= sample.stamp_ns / 1e9 < CUT[1]
        assert np.array_equal(frame.ir, sample.ir)
        assert np.array_equal(frame.labels, sample.labels)
        assert (frame.eo is None) == is_cut
        if i in DROPPED:
            assert frame.mask is None
            assert frame.route is None
        else:
            assert np.array_equal(frame.mask, np.roll(sample.labels, int(is_cut), axis=0))
            assert frame.route is (Route.IR_ONLY if is_cut else Route.FUSED)


def test_the_report_has_the_figures_of_the_recording(report):
    assert [span.route for span in report.routes] == ["FUSED", "IR_ONLY", "FUSED"]
    assert (report.routes[1].start_s, report.routes[1].end_s) == (0.8, 1.3)
    assert dataclasses.asdict(report.frames) == {
        "ir_in": 24,
        "masks_out": 22,
        "dropped": 2,
        "dropped_by": {"dropped_superseded": 2},
        "lost_in_transport": 0,
    }
    assert report.frames.reconciled
    assert report.miou["FUSED"] == 1
    # A square of 8 rows that is one row off: 7 of 9 rows are right; the ground loses as many pixels.
    ground = 24 * 32 - 64
    assert report.miou["IR_ONLY"] == pytest.approx((7 / 9 + (ground - 8) / (ground + 8)) / 2)
    assert report.scores["IR_ONLY"].frames == 5
    assert 36 <= report.latency_ms["p50"] <= report.latency_ms["p95"] <= report.latency_ms["p99"] <= 44
    assert report.player_late_ms["max"] == 1


def test_lost_frames_are_told_apart_from_dropped_ones(made):
    account = {"ir_received": 23, "answered": 23 - 2, "dropped_superseded": 2}
    lost_one = dataclasses.replace(made, account=account, masks=made.masks[1:])
    frames = account_frames(lost_one)
    assert (frames.lost_in_transport, frames.reconciled) == (1, True)
    forgetful = dataclasses.replace(made, account=account | {"dropped_superseded": 1}, masks=made.masks[1:])
    assert not account_frames(forgetful).reconciled
    with pytest.raises(RecordingError, match="carry no account"):
        account_frames(dataclasses.replace(made, account={}))


def test_no_masks_is_an_error(made):
    with pytest.raises(RecordingError, match="no masks came back"):
        make_report(dataclasses.replace(made, masks=()), MFNET, configuration={}, versions={})


def test_a_drive_without_labels_has_a_report_without_scores(made, tmp_path):
    def without_labels(recording, _):
        unscored = make_report(recording, MFNET, configuration={}, versions={})
        assert unscored.scores == {}
        return unscored

    squares = Squares(frames=24)
    bare = dataclasses.replace(squares, with_labels=False)
    recording = dataclasses.replace(made, drive=_bag(tmp_path / "bare", bare))
    unscored = without_labels(recording, squares)
    assert unscored.miou == {"FUSED": None, "IR_ONLY": None}
    write_strip(tmp_path / "strip.png", recording, squares.label_set)
    write_html(tmp_path / "report.html", unscored, recording, tmp_path / "strip.png", title="bare")
    assert "Scores by class" not in (tmp_path / "report.html").read_text()


def _bag(path, samples):
    from csk_ros.replay.samples import write_samples  # noqa: PLC0415 (used here alone)

    write_samples(path, samples, progress=False)
    return path


def test_json_is_the_report(report, tmp_path):
    write_json(tmp_path / "report.json", report)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["routes"][0] == {"route": "FUSED", "start_s": 0.0, "end_s": 0.7}
    assert {"ir_in", "masks_out", "dropped"} <= written["frames"].keys()
    assert {"eo_loss_to_ir_only_ms", "eo_return_to_fused_ms"} == written["switch"].keys()
    assert {"p50", "p95", "p99"} <= written["latency_ms"].keys()
    assert {"FUSED", "IR_ONLY"} <= written["miou"].keys()


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.images, self.tags, self.outside = [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(values)
        self.outside += [v for k, v in values.items() if k in ("src", "href") and not v.startswith("data:")]


def test_html_stands_alone_with_text_for_every_picture(made, report, tmp_path):
    write_strip(tmp_path / "strip.png", made, Squares().label_set)
    write_html(tmp_path / "report.html", report, made, tmp_path / "strip.png", title="A <drive>")
    text = (tmp_path / "report.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.outside == []
    assert "script" not in page.tags
    assert len(page.images) == 3
    assert all(len(image["alt"]) > 30 for image in page.images)
    assert "A &lt;drive&gt;" in text
    assert "&lt;weights&gt;" in text
    assert "22 of 24" in text
    assert text.count('role="img"') == 2
    assert re.search(r"Route: FUSED from 0.0 to 0.8 seconds, IR_ONLY from 0.8 to 1.4 seconds", text)


def test_strip_has_a_row_for_each_side_of_each_switch(made, tmp_path):
    captions = strip_captions(made)
    shown = [(round(made.seconds(stamp), 3), caption) for stamp, caption in captions.items()]
    assert shown == [
        (0.0, "first frame"),
        (0.7, "last before the switch"),
        (0.8, "first after the switch"),
        (1.1, "in between"),
        (1.3, "last before the switch"),
        (1.4, "first after the switch"),
        (1.9, "in between"),
        (2.3, "last frame"),
    ]
    write_strip(tmp_path / "strip.png", made, Squares().label_set)
    image = cv2.imread(str(tmp_path / "strip.png"))
    assert image.shape[1] == 1100
    assert image.shape[0] > 8 * 200


def test_video_plays_back_every_frame(made, tmp_path, capfd):
    write_video(tmp_path / "video.webm", made, Squares().label_set, rate_hz=10, progress=False)
    video = cv2.VideoCapture(str(tmp_path / "video.webm"))
    count = 0
    while video.read()[0]:
        count += 1
    assert count == 24
    assert (tmp_path / "video.webm").read_bytes()[:4] == b"\x1a\x45\xdf\xa3"
    assert capfd.readouterr().err == ""


def test_a_video_frame_shows_the_cut_and_moves_on_the_timeline(made):
    frames = list(played_frames(made))
    first, inside = (video_frame(frames[i], made, Squares().label_set) for i in (0, 9))
    assert first.shape == inside.shape == (338, 1080, 3)
    left = np.s_[40:300, :360]
    assert inside[left].mean() < 40 < first[left].mean()
    assert (first[-17, :3] == 255).all()
    assert not (inside[-17, :3] == 255).all()


def test_overlay_colours_classes_and_leaves_the_background_clear():
    ir = np.full((4, 6), 100, np.uint8)
    mask = np.zeros((4, 6), np.uint8)
    mask[:, 3:] = 2
    drawn = overlay(ir, mask, MFNET)
    assert (drawn[:, :3] == 100).all()
    assert drawn[0, 4].max() - drawn[0, 4].min() > 60
