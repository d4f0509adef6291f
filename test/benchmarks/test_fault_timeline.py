from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
from fault_schedule import KINDS, Fault, FaultSchedule
from fault_timeline import SPOILING, timeline
from hypothesis import given, settings
from hypothesis import strategies as st

RATE = 20.0
FROM, UNTIL = 1.0, 2.0


def shots(kind, **parameters):
    """One camera over three seconds with one fault in the second one."""
    fault = Fault(FROM, UNTIL, "eo", kind, parameters)
    schedule = SimpleNamespace(
        seconds=3.0,
        faults=(fault,),
        active=lambda at_s, stream: [fault] if stream == "eo" and FROM <= at_s < UNTIL else [],
    )
    return list(timeline(schedule, "eo", RATE))


def during(made):
    return [shot for shot in made if FROM <= shot.number / (2 * RATE) < UNTIL]


def calm(made):
    return [shot for shot in made if not FROM <= shot.number / (2 * RATE) < UNTIL]


@pytest.mark.parametrize(
    "kind", sorted(name for name, kind in KINDS.items() if "eo" in kind.streams and not kind.parameters)
)
def test_outside_a_fault_a_camera_is_in_order(kind):
    made = calm(shots(kind))
    assert len(made) == 40
    for shot in made:
        assert shot.send_s == shot.stamp_s == shot.number / (2 * RATE)
        assert (shot.copies, shot.spoilt, shot.content) == (1, (), shot.number)


def test_stopped_sends_nothing_and_fast_twice_as_much():
    assert during(shots("stopped")) == []
    assert len(during(shots("fast"))) == 40


def test_slow_and_lossy_leave_frames_out():
    assert len(during(shots("slow", every=5))) == 4
    assert 4 <= len(during(shots("lossy", share=0.5))) <= 16


def test_a_burst_comes_all_at_once_at_the_end():
    made = during(shots("burst"))
    assert len(made) == 20
    assert {shot.send_s for shot in made} == {UNTIL}
    assert [shot.stamp_s for shot in made] == sorted(shot.stamp_s for shot in made)


def test_late_frames_keep_their_stamps():
    assert {round(shot.send_s - shot.stamp_s, 6) for shot in during(shots("late", seconds=0.3))} == {0.3}


def test_jitter_delays_each_frame_by_another_time():
    delays = {shot.send_s - shot.stamp_s for shot in during(shots("jitter", periods=2.0))}
    assert len(delays) > 15
    assert all(0 <= delay <= 2.0 / RATE for delay in delays)


def test_out_of_order_swaps_neighbours():
    stamps = [shot.stamp_s for shot in during(shots("out of order"))]
    assert stamps != sorted(stamps)
    assert sorted(stamps) == pytest.approx([FROM + n / RATE for n in range(20)])


def test_duplicated_is_sent_twice():
    assert {shot.copies for shot in during(shots("duplicated"))} == {2}


def test_stamps_missing_equal_and_stuck():
    assert {shot.stamp_s for shot in during(shots("stamp missing"))} == {None}
    assert len({round(shot.stamp_s, 6) for shot in during(shots("stamp equal"))}) == 10
    assert {shot.stamp_s for shot in during(shots("stamp stuck"))} == {FROM}


@pytest.mark.parametrize(
    ("kind", "moved"), [("stamp back", -5.0), ("stamp forward", 5.0), ("stamp offset", 5.0)]
)
def test_stamps_off_by_a_constant(kind, moved):
    made = during(shots(kind, seconds=5.0))
    assert {round(shot.stamp_s - shot.send_s, 6) for shot in made} == {moved}


def test_a_loop_starts_over():
    stamps = [shot.stamp_s for shot in during(shots("stamp loop", seconds=0.25))]
    assert sum(after < before for before, after in pairwise(stamps)) == 3


def test_frozen_shows_one_content():
    assert len({shot.content for shot in during(shots("frozen"))}) == 1


@pytest.mark.parametrize("kind", sorted(SPOILING))
def test_spoilt_messages_say_how(kind):
    assert {shot.spoilt for shot in during(shots(kind))} == {(kind,)}


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(["eo", "ir"]), st.sampled_from([9.0, 30.0, 60.0]))
def test_any_schedule_sends_in_order_of_time_and_the_same_again(seed, stream, rate):
    schedule = FaultSchedule(seed, 30, every_s=0.5, quiet_s=1)
    made = list(timeline(schedule, stream, rate, seed=seed))
    assert made == list(timeline(schedule, stream, rate, seed=seed))
    times = [shot.send_s for shot in made]
    assert times == sorted(times)
    assert len({shot.number for shot in made}) == len(made)
