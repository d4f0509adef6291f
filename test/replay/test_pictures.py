from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from made_result import make_result
from squares_samples import Squares

from csk_ros.labels import MFNET, LabelSet
from csk_ros.modality import Modality, Route
from csk_ros.replay.moments import find_moments
from csk_ros.replay.panels import empty, fit, frame_panels
from csk_ros.replay.pictures import draw_moments, legend_of, video_frame, write_strip, write_video
from csk_ros.replay.seen import SeenFrame, seen_frames
from csk_ros.replay.timeline import route_bars


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return make_result(folder, Squares(frames=24), ((0.8, 1.4),), dropped=(3, 10))


def test_moments_are_drawn_with_labels_beside_the_mask(made):
    pictures = draw_moments(made, find_moments(made))
    assert len(pictures.switches) == 8
    for drawn in (*pictures.switches, *pictures.worst):
        assert list(drawn.images) == ["EO", "IR", "mask", "labels"]
        assert {image.shape for image in drawn.images.values()} == {(270, 360, 3)}
        # Masks of IR_ONLY are a pixel lower than the labels.
        is_same = np.array_equal(drawn.images["mask"], drawn.images["labels"])
        assert is_same == (drawn.moment.row.route is Route.FUSED)
    assert pictures.classes == [0, 1]


def test_strip_has_a_row_for_each_moment_and_a_legend(made, tmp_path):
    write_strip(tmp_path / "strip.png", draw_moments(made, find_moments(made)), made.label_set)
    image = cv2.imread(str(tmp_path / "strip.png"))
    assert image.shape == (8 * (270 + 34) + 55, 4 * 360, 3)
    assert (image[-1] == 255).all()
    fused, thermal = image[2, 4][::-1], image[2 * 304 + 2, 4][::-1]
    assert (fused == (0x1D, 0x5F, 0xA8)).all()
    assert (thermal == (0xC2, 0x50, 0x0C)).all()


def test_a_name_in_the_legend_is_no_formula(made, tmp_path):
    hostile = LabelSet(("$\\frac{$", "_hidden"), MFNET.colors[1:3])
    strange = dataclasses.replace(made, label_set=hostile)
    write_strip(tmp_path / "strip.png", draw_moments(strange, find_moments(strange)), hostile)
    legend = cv2.imread(str(tmp_path / "strip.png"), cv2.IMREAD_GRAYSCALE)[-55:]
    assert np.count_nonzero(legend < 100) > 100, "two names and two colours"


def test_the_legend_names_what_is_drawn():
    assert legend_of([0, 1, 2, 200, 255], MFNET) == [
        ("car", "#4080ff"),
        ("person", "#ff4040"),
        ("unlabelled", "#404040"),
    ]


def test_video_plays_back_every_frame(made, tmp_path, capfd):
    write_video(tmp_path / "video.webm", made, rate_hz=10, progress=False)
    video = cv2.VideoCapture(str(tmp_path / "video.webm"))
    count = 0
    while video.read()[0]:
        count += 1
    assert count == 24
    assert (tmp_path / "video.webm").read_bytes()[:4] == b"\x1a\x45\xdf\xa3"
    assert capfd.readouterr().err == ""


def test_a_video_frame_shows_the_cut_and_moves_on_the_timeline(made):
    frames = list(seen_frames(made, made.rows))
    first, inside = (video_frame(frames[i], made, route_bars(made)) for i in (0, 9))
    assert first.shape == inside.shape == (338, 1080, 3)
    left = np.s_[40:300, :360]
    assert inside[left].mean() < 40 < first[left].mean()
    assert (first[-17, :3] == 255).all()
    assert not (inside[-17, :3] == 255).all()


def _frame(made, **images):
    given = dict.fromkeys(("eo", "ir", "labels", "mask")) | images
    return SeenFrame(row=made.rows[0], **given)


def test_what_is_missing_is_said(made):
    mask = np.ones((24, 32), np.uint8)
    panels = frame_panels(_frame(made, mask=mask), made.label_set)
    assert np.array_equal(panels[1], empty("IR not used: paired"))
    assert panels[2].max() > 60, "classes are shown even where there is no image to lay them over"
    assert np.array_equal(frame_panels(_frame(made), made.label_set)[2], empty("no mask"))
    over_eo = frame_panels(_frame(made, mask=mask, eo=np.full((24, 32, 3), 200, np.uint8)), made.label_set)[2]
    assert over_eo.mean() > panels[2].mean()


def test_overlay_colours_classes_and_leaves_the_background_clear(made):
    mask = np.zeros((270, 360), np.uint8)
    mask[:, 180:] = 2
    drawn = frame_panels(_frame(made, ir=np.full((270, 360), 100, np.uint8), mask=mask), MFNET)[2]
    assert (drawn[:, :180] == 100).all()
    assert drawn[0, 200].max() - drawn[0, 200].min() > 60


@pytest.mark.parametrize("shape", [(10, 400), (400, 10), (270, 360), (1, 1)])
def test_an_image_fits_whatever_its_proportions(shape):
    fitted = fit(np.full((*shape, 3), 255, np.uint8))
    assert fitted.shape == (270, 360, 3)
    columns, rows = (fitted.max(axis=axis)[..., 0] > 0 for axis in (0, 1))
    assert columns.all() or rows.all()


def test_frames_without_ir_are_drawn_in_the_proportions_of_eo(made):
    rows = tuple(dataclasses.replace(r, anchor=Modality.EO, route=Route.EO_ONLY) for r in made.rows)
    optical = dataclasses.replace(made, rows=rows)
    pictures = draw_moments(optical, find_moments(optical))
    assert all(one.images["EO"].shape == (270, 360, 3) for one in pictures.switches)
