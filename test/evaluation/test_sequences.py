from __future__ import annotations

import pytest

from csk_ros.evaluation.sequences import light_of, runs


def test_frames_follow_where_their_last_number_counts_up():
    names = ["01208N", "01209N", "01500D", "01501D", "01501N", "scene-1-day-000001", "scene-2-day-000002"]
    assert runs(names) == [range(2), range(2, 4), range(4, 5), range(5, 6), range(6, 7)]
    assert runs(["scene-1-day-000009", "scene-1-day-000010"]) == [range(2)]
    assert runs(["b", "a"]) == [range(1), range(1, 2)]
    assert runs([]) == []


@pytest.mark.parametrize(
    ("name", "light"),
    [
        ("00123D", "day"),
        ("01209N", "night"),
        ("scene-3-dusk-000001", "dusk"),
        ("scene-3-night-to-day-000001", None),
        ("scene-3-random-000001", None),
        ("END", None),
        ("00123", None),
    ],
)
def test_light_is_what_the_name_says(name, light):
    assert light_of(name) == light
