from __future__ import annotations

import dataclasses

import pytest
from made_result import make_result, many_rows, without_masks
from squares_samples import Squares

from csk_ros.perception.frames import DropCause, Reason
from csk_ros.replay.moments import LOST, NO_MASK, UNKNOWN, cause_words, find_moments


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_result(tmp_path_factory.mktemp("made"), Squares(frames=24), ((0.8, 1.4),), dropped=(7,))


def test_each_switch_is_seen_from_both_sides(made):
    moments = find_moments(made)
    assert (moments.switch_count, moments.shown) == (2, 2)
    assert [(moment.row.seconds, moment.caption) for moment in moments.switches] == [
        (0.0, "first mask"),
        (0.6, "last before the switch"),
        (0.8, "first after the switch (eo stale)"),
        (1.1, "in between"),
        (1.3, "last before the switch"),
        (1.4, "first after the switch (paired)"),
        (1.9, "in between"),
        (2.3, "last mask"),
    ]


def test_of_many_switches_a_dozen_is_shown_from_first_to_last(made):
    moments = find_moments(many_rows(made, 1000))
    assert (moments.switch_count, moments.shown) == (199, 12)
    assert len(moments.switches) == 2 * 12 + 2
    assert moments.switches[1].row.seconds == pytest.approx(0.4)
    assert moments.switches[-2].row.seconds == pytest.approx(99.5)


def test_the_worst_frames_come_first_and_not_from_one_moment(made):
    rows = tuple(dataclasses.replace(row, miou=row.seconds / 10) for row in made.rows)
    worst = find_moments(dataclasses.replace(made, rows=rows)).worst
    assert [(round(m.row.seconds, 1), m.caption) for m in worst] == [
        (0.0, "mIoU 0.0 %"),
        (1.0, "mIoU 10.0 %"),
        (2.0, "mIoU 20.0 %"),
    ]


def test_without_masks_or_scores_there_is_nothing_to_see(made):
    nothing = find_moments(without_masks(made))
    assert (nothing.switches, nothing.worst, nothing.switch_count) == ((), (), 0)
    rows = tuple(dataclasses.replace(row, miou=None) for row in made.rows)
    assert find_moments(dataclasses.replace(made, rows=rows)).worst == ()


def test_every_cause_has_words():
    for name in [*Reason.__members__, *DropCause.__members__, LOST, NO_MASK, UNKNOWN]:
        assert cause_words(name) != name
    assert cause_words("new one") == "new one"
