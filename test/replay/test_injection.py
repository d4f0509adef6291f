from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csk_ros.modality import Modality
from csk_ros.replay.injection import ALL, Injection, InjectionError, Stretches


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("3:6", [3, 5.99], [0, 2.99, 6, 100]),
        ("0:1", [0, 0.5], [1]),
        ("3:", [3, 1e9], [2.9]),
        ("every:10:2", [8, 9.9, 18, 29], [0, 7.9, 10, 17.9, 20]),
        ("all", [0, 1e9], []),
    ],
)
def test_stretches_hold_their_start_and_not_their_end(text, inside, outside):
    stretches = Stretches.parse(text)
    assert all(stretches.holds(second) for second in inside)
    assert not any(stretches.holds(second) for second in outside)


@pytest.mark.parametrize(
    "text", ["", "3", "6:3", "-1:3", "a:b", "every:2:10", "every:10", "every:0:0", "nan:3", "3:3"]
)
def test_what_is_no_stretch_is_refused_and_told(text):
    with pytest.raises(InjectionError, match=r"write FROM:TO \(3:6\), every:PERIOD:LENGTH"):
        Stretches.parse(text)


@given(
    period=st.floats(0.5, 20), share=st.floats(0.1, 0.9), length=st.floats(0.1, 200), moment=st.floats(0, 1)
)
def test_stretches_within_a_bag_are_those_that_hold(period, share, length, moment):
    stretches = Stretches(period * (1 - share), period, period)
    spans = stretches.within(length)
    second = moment * length
    near = any(abs(second - edge) < 1e-6 for span in spans for edge in span)
    assert near or stretches.holds(second) == any(start <= second < end for start, end in spans)
    assert all(0 <= start < end <= length for start, end in spans)


@pytest.mark.parametrize(
    ("kind", "text", "amount_ns", "pixels", "said"),
    [
        ("drop", "3:6", 0, (0, 0), "eo drop from 3 s to 6 s"),
        ("freeze", "every:10:2", 0, (0, 0), "eo freeze 2 s in every 10 s"),
        ("dark", "4:", 0, (0, 0), "eo dark from 4 s"),
        ("delay", "80ms", 80_000_000, (0, 0), "eo delay 80 ms throughout"),
        ("delay", "0.5s@3:6", 500_000_000, (0, 0), "eo delay 500 ms from 3 s to 6 s"),
        ("shift", "-40ms", -40_000_000, (0, 0), "eo shift -40 ms throughout"),
        ("shift", "12px,-4px", 0, (12, -4), "eo shift 12 px, -4 px throughout"),
        ("shift", "3px@1:2", 0, (3, 0), "eo shift 3 px, 0 px from 1 s to 2 s"),
    ],
)
def test_injections_read_and_say_what_they_are(kind, text, amount_ns, pixels, said):
    injection = Injection.parse(kind, Modality.EO, text)
    assert (injection.amount_ns, injection.pixels, str(injection)) == (amount_ns, pixels, said)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("delay", "80"),
        ("delay", "-3ms"),
        ("delay", "11s"),
        ("delay", "12px"),
        ("shift", "12"),
        ("shift", "ms"),
    ],
)
def test_amounts_that_mean_nothing_are_refused(kind, text):
    with pytest.raises(InjectionError, match=r"write a duration|use 0 to 10 s"):
        Injection.parse(kind, Modality.EO, text)


def test_all_is_all():
    assert Stretches.parse("all") == ALL
