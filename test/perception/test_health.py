from __future__ import annotations

import random

import pytest

from csk_ros.perception.health import HealthSettings, StreamHealth, StreamState

MS = 1_000_000
SETTINGS = HealthSettings(stale_periods=1.5, first_timeout_ns=1000 * MS, return_frames=2)


def health_after(arrivals_ms, settings=SETTINGS):
    health = StreamHealth(settings, start_ns=0)
    for arrival in arrivals_ms:
        health.arrive(round(arrival * MS))
    return health


def steady(rate_hz, start_ms=0.0, count=20):
    return [start_ms + index * 1000 / rate_hz for index in range(count)]


def test_a_stream_is_awaited_until_the_first_timeout():
    health = StreamHealth(SETTINGS, start_ns=10 * MS)
    assert health.state(1010 * MS - 1) is StreamState.AWAITED
    assert health.state(1010 * MS) is StreamState.STALE


def test_before_a_period_is_measured_the_first_timeout_holds():
    health = health_after([0, 33, 66])
    assert health.period_ns is None
    assert health.alive_until_ns == (66 + 1000) * MS


def test_the_first_frame_of_all_is_trusted():
    assert health_after([0]).state(1) is StreamState.ALIVE


@pytest.mark.parametrize("rate", [5, 9, 10, 30, 60, 120])
def test_stale_exactly_after_the_periods_asked_for(rate):
    health = health_after(steady(rate))
    period = 1e9 / rate
    assert health.period_ns == pytest.approx(period, rel=1e-6)
    assert health.alive_until_ns - health.last_arrival_ns <= 1.5 * period + 2
    assert health.alive(health.alive_until_ns - 1)
    assert not health.alive(health.alive_until_ns)


@pytest.mark.parametrize("seed", range(5))
def test_loss_and_jitter_hardly_move_the_period(seed):
    rng = random.Random(seed)
    arrivals = [t + rng.uniform(0, 8) for t in steady(30, count=400) if rng.random() > 0.1]
    health = StreamHealth(SETTINGS, start_ns=0)
    periods = []
    for arrival in arrivals:
        health.arrive(round(arrival * MS))
        periods.append(health.period_ns)
    assert all(25 * MS < period < 40 * MS for period in periods[20:])


@pytest.mark.parametrize("size", [2, 3])
def test_frames_that_come_in_groups_show_their_true_period(size):
    arrivals = [index // size * size * 20.0 for index in range(60)]
    health = health_after(arrivals)
    assert health.period_ns == pytest.approx(20 * MS, rel=0.1)


def test_one_frame_in_a_row_lost_does_not_need_hysteresis():
    arrivals = [*steady(30), 21 * 1000 / 30]
    health = health_after(arrivals)
    assert health.state(health.last_arrival_ns) is StreamState.ALIVE


def test_return_needs_frames_in_rhythm_and_the_outage_is_no_period():
    settings = HealthSettings(1.5, 1000 * MS, return_frames=3)
    before = steady(30)
    for count, state in ((1, StreamState.RETURNING), (2, StreamState.RETURNING), (3, StreamState.ALIVE)):
        health = health_after(before + steady(30, start_ms=5000, count=count), settings)
        assert health.state(health.last_arrival_ns) is state
        assert health.period_ns == pytest.approx(1e9 / 30, rel=1e-6)


def test_a_stream_in_return_turns_stale_again():
    health = health_after([*steady(30), 5000])
    assert health.state(5049 * MS) is StreamState.RETURNING
    assert health.state(5050 * MS) is StreamState.STALE


def test_a_backlog_after_an_outage_is_no_return():
    health = health_after([*steady(30), 5000, 5000.1, 5000.2, 5000.3])
    assert health.state(health.last_arrival_ns) is StreamState.RETURNING
    health.arrive(5033 * MS)
    assert health.state(health.last_arrival_ns) is StreamState.ALIVE
    assert health.period_ns == pytest.approx(1e9 / 30, rel=1e-6)


@pytest.mark.parametrize(("before", "after"), [(10, 120), (120, 10), (30, 5), (5, 30), (30, 15), (60, 30)])
def test_a_new_rate_is_learned(before, after):
    first = steady(before)
    health = health_after(first + steady(after, start_ms=first[-1] + 3000, count=25))
    assert health.period_ns == pytest.approx(1e9 / after, rel=0.01)
    assert health.state(health.last_arrival_ns) is StreamState.ALIVE


@pytest.mark.parametrize("history", [[], steady(30, count=60)], ids=["at the start", "after an outage"])
@pytest.mark.parametrize("count", [4, 9, 15, 30])
@pytest.mark.parametrize("step_ms", [0.5, 3, 5, 8, 12, 16])
def test_a_burst_at_the_start_of_frames_is_soon_forgotten(history, count, step_ms):
    burst = [5000 + step_ms * index for index in range(count)]
    rest = steady(30, start_ms=burst[-1] + 1000 / 30, count=60)
    health = health_after(history + burst)
    for arrival in rest:
        settled = arrival > burst[-1] + 400
        assert health.alive(round(arrival * MS)) or not settled
        health.arrive(round(arrival * MS))
    assert health.period_ns == pytest.approx(1e9 / 30, rel=0.01)


def test_a_camera_slower_than_the_first_timeout_has_no_period():
    health = health_after([0, 33, 66, 100, *(5000 + 2000 * index for index in range(20))])
    assert health.period_ns == pytest.approx(33 * MS, rel=0.02)


def test_frames_closer_than_any_camera_are_no_period():
    health = health_after([index * 0.01 for index in range(20)])
    assert health.period_ns is None


def test_report_says_rate_and_age():
    report = health_after(steady(25)).report(1000 * MS)
    assert report.state is StreamState.STALE
    assert report.rate_hz == 0
    live = health_after(steady(25)).report(770 * MS)
    assert live.rate_hz == pytest.approx(25)
    assert live.age_ns == 10 * MS
    assert live.period_ns == 40 * MS
    assert StreamHealth(SETTINGS, start_ns=0).report(5).age_ns is None


def test_memory_is_bounded():
    health = health_after(steady(100, count=5000))
    assert len(health._marks) + len(health._means) + len(health._outages) + len(health._late) < 30
