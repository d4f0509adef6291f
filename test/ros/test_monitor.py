from __future__ import annotations

import mmap

import pytest

from csk_ros.modality import Modality, Route
from csk_ros.perception import DropCause, Frame, Perception
from csk_ros.ros.monitor import AnswerMonitor, StageTimes, memory

MS = 1_000_000


class Flow:
    """IR frames through real perception, each answered, dropped or left in hand."""

    def __init__(self):
        self._perception = Perception(start_ns=0)
        self._now = 2_000 * MS  # eo has had its time

    def frame(self, outcome=None):
        self._now += 100 * MS
        for decision in self._perception.arrive(Frame(Modality.IR, self._now, self._now, None)):
            if isinstance(outcome, DropCause):
                self._perception.dropped(decision, outcome)
            elif outcome:
                self._perception.answered(decision, self._now)

    @property
    def account(self):
        return self._perception.account


@pytest.fixture
def flow():
    return Flow()


@pytest.fixture
def monitor(monkeypatch):
    monkeypatch.setattr("csk_ros.ros.monitor.time.monotonic", lambda: 0.0)
    return AnswerMonitor()


def test_all_is_well_while_nine_of_ten_are_answered(flow, monitor):
    for second in range(10):
        for _ in range(9):
            flow.frame(Route.IR_ONLY)
        flow.frame(DropCause.SUPERSEDED)
        assert monitor.judge(flow.account, second) == ("", False)


def test_frames_without_a_mask_are_told_by_cause(flow, monitor):
    flow.frame(Route.IR_ONLY)
    flow.frame(DropCause.ENGINE_FAILED)
    flow.frame(DropCause.SUPERSEDED)
    flow.frame(DropCause.SUPERSEDED)
    problem, severe = monitor.judge(flow.account, 1)
    assert problem == ("75 % of the frames get no mask: superseded by a newer frame (2), engine failed (1)")
    assert not severe
    flow.frame(Route.IR_ONLY)
    assert monitor.judge(flow.account, 2) == ("", False)  # counts since the last report


def test_no_mask_for_three_seconds_is_an_error(flow, monitor):
    levels = []
    for second in range(1, 6):
        flow.frame(DropCause.ENGINE_FAILED)
        levels.append(monitor.judge(flow.account, second)[1])
    assert levels == [False, False, False, True, True]
    assert monitor.judge(flow.account, 6)[0] == ""  # nothing came


def test_a_frame_in_hand_for_long_is_an_error(flow, monitor):
    flow.frame()
    assert monitor.judge(flow.account, 1) == ("", False)
    assert monitor.judge(flow.account, 5) == ("no mask for 5 s: the frame in hand is not answered", True)


def test_stage_times_start_anew_when_taken():
    times = StageTimes()
    for milliseconds in (1.0, 2.0, 4.0):
        times.add("network", milliseconds)
    taken = times.take()
    assert (taken["network"].count, taken["network"].p50_ns) == (3, pytest.approx(2e6, rel=0.01))
    assert times.take() == {}


def test_memory_is_that_of_the_process():
    before = float(memory("cpu")["memory_mib"])
    block = mmap.mmap(-1, 64 << 20)  # the allocator might hand out what is resident already
    for page in range(0, len(block), mmap.PAGESIZE):
        block[page] = 1
    assert 50 < float(memory("cpu")["memory_mib"]) - before < 100
