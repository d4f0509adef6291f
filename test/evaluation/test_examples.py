from __future__ import annotations

from math import nan

import pytest

from csk_ros.evaluation.examples import pick_frames


def test_worst_and_best_are_apart_and_never_the_same():
    scores = [0.5, 0.9, nan, 0.1, 0.2, 0.8]
    assert pick_frames(scores, 2) == ([3, 4], [1, 5])
    assert pick_frames(scores, 9) == ([3, 4, 0], [1, 5])


def test_neighbours_in_a_long_sequence_are_left_out():
    scores = [i / 100 for i in range(100)]
    assert pick_frames(scores, 3) == ([0, 6, 12], [99, 93, 87])


@pytest.mark.parametrize(("scores", "expected"), [([0.5], ([0], [])), ([nan], ([], [])), ([], ([], []))])
def test_few_frames(scores, expected):
    assert pick_frames(scores) == expected
