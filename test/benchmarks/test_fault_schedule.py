from __future__ import annotations

from itertools import pairwise

import pytest
from fault_schedule import KINDS, NODE, FaultSchedule
from hypothesis import given, settings
from hypothesis import strategies as st


def test_there_are_at_least_25_kinds_and_a_long_run_meets_all_on_every_stream():
    assert len(KINDS) >= 25
    met = {(fault.kind, fault.stream) for fault in FaultSchedule(0, 1200).faults}
    assert met == {(name, stream) for name, kind in KINDS.items() for stream in kind.streams}


@settings(max_examples=50)
@given(
    st.integers(0, 10**6),
    st.floats(1, 600),
    st.floats(0.5, 10),
    st.none() | st.lists(st.sampled_from(sorted(KINDS)), unique=True),
)
def test_any_seed_gives_faults_inside_the_run_and_the_same_again(seed, seconds, every_s, kinds):
    schedule = FaultSchedule(seed, seconds, every_s=every_s, kinds=kinds)
    assert schedule.faults == FaultSchedule(seed, seconds, every_s=every_s, kinds=kinds).faults
    starts = [fault.start_s for fault in schedule.faults]
    assert starts == sorted(starts)
    for fault in schedule.faults:
        kind = KINDS[fault.kind]
        assert fault.stream in kind.streams
        assert 10 <= fault.start_s < fault.end_s <= seconds - 10
        assert fault.end_s - fault.start_s <= kind.seconds[1] + 1e-9
        for name, (least, greatest) in (kind.parameters or {}).items():
            assert least <= fault.parameters[name] <= greatest


@settings(max_examples=50)
@given(st.integers(0, 1000))
def test_the_node_gets_time_to_recover_from_its_own_faults(seed):
    faults = [fault for fault in FaultSchedule(seed, 600, every_s=1).faults if fault.stream == NODE]
    assert len(faults) > 5
    for fault, after in pairwise(faults):
        assert after.start_s >= fault.end_s + KINDS[fault.kind].recovers_s


def test_camera_faults_overlap():
    faults = FaultSchedule(0, 600).faults
    assert any(
        a.stream == b.stream != NODE and a.kind != b.kind and a.start_s < b.start_s < a.end_s
        for a in faults
        for b in faults
    )


def test_active_faults_are_those_in_force():
    schedule = FaultSchedule(1, 300)
    for fault in schedule.faults:
        assert fault in schedule.active(fault.start_s, fault.stream)
        assert fault not in schedule.active(fault.end_s, fault.stream)
        assert fault not in schedule.active((fault.start_s + fault.end_s) / 2, "neither")


def test_other_seeds_give_other_faults():
    assert FaultSchedule(1, 300).faults != FaultSchedule(2, 300).faults


@pytest.mark.parametrize("arguments", [{"kinds": ["gremlins"]}, {"every_s": 0}, {"seconds": -1.0}])
def test_what_makes_no_sense_is_refused(arguments):
    with pytest.raises(ValueError, match=r"gremlins.*stopped|must be positive"):
        FaultSchedule(**{"seed": 0, "seconds": 60.0} | arguments)
