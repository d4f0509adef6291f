from __future__ import annotations

import dataclasses

import pytest
from made_result import make_result, make_row, many_rows
from squares_samples import Squares

from csk_ros.replay.report import make_report
from csk_ros.replay.timeline import Bar, _coarsen, make_tracks, route_bars, ticks


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_result(tmp_path_factory.mktemp("made"), Squares(frames=24), ((0.8, 1.4),))


def test_a_route_lasts_until_the_next_one_begins(made):
    assert [(b.name, round(b.start_s, 3), round(b.end_s, 3)) for b in route_bars(made)] == [
        ("FUSED", 0.0, 0.8),
        ("IR_ONLY", 0.8, 1.4),
        ("FUSED", 1.4, 2.3),
    ]


def test_where_no_masks_came_there_is_no_bar(made):
    gap = dataclasses.replace(made, rows=tuple(row for row in made.rows if not 0.2 < row.seconds < 0.75))
    first, second = route_bars(gap)[:2]
    assert (round(first.end_s, 3), round(second.start_s, 3)) == (0.3, 0.8)
    assert route_bars(dataclasses.replace(made, rows=())) == []
    assert len(route_bars(dataclasses.replace(made, rows=(make_row(0, 0),)))) == 1


def test_bars_lie_side_by_side_on_every_track(made):
    for result in (made, many_rows(made, 5000), dataclasses.replace(made, start_s=0.5, length_s=1.0)):
        for track in make_tracks(make_report(result), result):
            assert len(track.bars) <= 300
            pairs = zip(track.bars, track.bars[1:], strict=False)
            assert all(one.start_s < one.end_s <= other.start_s + 1e-9 for one, other in pairs)


def test_short_faults_stay_visible_among_many_bars():
    bars = []
    for i in range(400):
        bars += [Bar("ALIVE", "alive", i, i + 0.99), Bar("STALE", "stale", i + 0.99, i + 1)]
    bars[401:402] = [Bar("UNUSABLE", "frozen", 200.99, 201)]
    shown = _coarsen(bars)
    frozen = [bar for bar in shown if bar.text == "frozen"]
    assert [(bar.start_s < 201 <= bar.end_s + 1e-6) for bar in frozen] == [True]
    assert {bar.name for bar in shown} == {"STALE", "UNUSABLE"}


def test_common_states_that_alternate_are_shown_as_changing():
    bars = [Bar(name, name, i, i + 1) for i, name in enumerate(["FUSED", "IR_ONLY"] * 400)]
    assert [bar.name for bar in _coarsen(bars)] == ["changing"]


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 12), [0, 2, 4, 6, 8, 10, 12]),
        ((58.5, 63), [59, 60, 61, 62, 63]),
        ((0, 0), [0]),
        ((0, 0.3), [0, 0.1, 0.2, 0.3]),
        ((0, 10_000_000), [0, 10_000_000]),
    ],
)
def test_ticks_are_round_and_few(span, expected):
    assert ticks(*span) == expected
