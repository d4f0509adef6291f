"""The values of the keys that were used latest."""

from __future__ import annotations

from csk_ros.inference.latest_used import LatestUsed


def test_what_was_used_longest_ago_goes():
    made = []
    kept = LatestUsed(2)
    for key in "abacab":  # b goes for c, then c for b
        assert kept.find_or(key, lambda key=key: made.append(key) or key.upper()) == key.upper()
    assert made == ["a", "b", "c", "b"]
    assert list(kept) == ["a", "b"]


def test_none_may_be_kept():
    kept = LatestUsed(0)
    assert [kept.find_or("a", lambda: 1), kept.find_or("a", lambda: 2)] == [1, 2]
