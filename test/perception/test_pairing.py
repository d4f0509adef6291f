"""Each rule of pairing and fallback by example, through the facade that node and replay use."""

from __future__ import annotations

import pytest
from frame_streams import EO, IR, MS, Drive, drive, frame, merged, outcomes, stream

from csk_ros.modality import Modality, Route
from csk_ros.perception import DropCause, Perception, PerceptionSettings, Reason, StreamState


def ready(settings=None, *, eo_hz=30, ir_hz=30, until_ms=1990):
    """Perception that has seen 20 EO frames and IR for a second; EO is 5 ms, IR 1 ms under way."""
    frames = merged(
        stream(EO, eo_hz, 2000 - 20000 / eo_hz, until_ms), stream(IR, ir_hz, 1000, until_ms, latency_ms=1)
    )
    driven = Drive(Perception(settings)).feed(frames)
    driven.decisions.clear()
    return driven


def stamps(decisions, start_ms=1000):
    """IR and EO stamps, from an IR stamp on."""
    return [
        (d.ir.stamp_ns // MS, d.eo and d.eo.stamp_ns // MS)
        for d in decisions
        if d.ir.stamp_ns >= start_ms * MS
    ]


def test_an_ir_frame_waits_for_the_eo_frame_of_its_moment():
    driven = ready()
    assert driven.perception.arrive(frame(IR, 2000, 2001)) == []
    (decision,) = driven.perception.arrive(frame(EO, 2000, 2005))
    assert stamps([decision]) == [(2000, 2000)]
    assert (decision.route, decision.reason, decision.decided_ns) == (Route.FUSED, Reason.PAIRED, 2005 * MS)
    assert decision.anchor is decision.ir


def test_no_wait_when_a_newer_eo_frame_is_there():
    driven = ready()
    driven.perception.arrive(frame(EO, 2000, 2001))
    (decision,) = driven.perception.arrive(frame(IR, 1999, 2002))
    assert stamps([decision]) == [(1999, 2000)]


def test_the_best_match_wins_on_either_side():
    for ir, eo in ((2010, 2000), (2025, 2033)):
        driven = ready()
        driven.feed([frame(EO, 2000, 2001), frame(EO, 2033, 2034)])
        (decision,) = driven.perception.arrive(frame(IR, ir, 2035))
        assert stamps([decision]) == [(ir, eo)]


def test_no_wait_when_the_next_eo_frame_would_be_no_better():
    driven = ready()
    driven.perception.arrive(frame(EO, 2000, 2001))
    (decision,) = driven.perception.arrive(frame(IR, 2012, 2013))
    assert stamps([decision]) == [(2012, 2000)]
    assert driven.perception.arrive(frame(IR, 2024, 2025)) == [], "the next one, at 2033, is nearer"


def test_no_wait_when_the_next_eo_frame_will_be_outside_the_slop():
    driven = ready(PerceptionSettings(slop_ns=20 * MS), eo_hz=5)
    driven.feed([frame(EO, 2000, 2005)])
    (decision,) = driven.perception.arrive(frame(IR, 2070, 2071))
    assert (decision.route, decision.reason) == (Route.IR_ONLY, Reason.NO_MATCH)


@pytest.mark.parametrize(("timeout_ms", "fused"), [(1000, False), (3000, True)])
def test_cameras_of_half_a_hertz_are_fused_with_a_first_timeout_above_their_period(timeout_ms, fused):
    frames = merged(stream(EO, 0.5, 0, 20000), stream(IR, 0.5, 0, 20000, latency_ms=1))
    decisions = drive(frames, PerceptionSettings(first_timeout_ns=timeout_ms * MS))
    routes = [d.route for d in decisions if d.ir and d.ir.stamp_ns >= 4000 * MS]
    assert len(routes) >= 7
    assert {route is Route.FUSED for route in routes} == {fused}


def test_no_wait_for_an_eo_frame_that_cannot_come_in_time():
    frames = merged(stream(EO, 30, 1000, 3000, latency_ms=300), stream(IR, 30, 1000, 3000, latency_ms=1))
    late = [d for d in drive(frames) if d.ir and d.ir.stamp_ns > 2000 * MS]
    assert {d.reason for d in late} == {Reason.NO_MATCH}
    assert all(d.decided_ns == d.ir.arrival_ns for d in late)


def test_the_eo_offset_moves_eo_stamps():
    settings = PerceptionSettings(eo_offset_ns=200 * MS, slop_ns=5 * MS)
    frames = merged(stream(EO, 30, 1000, 3000, shift_ms=-200), stream(IR, 30, 1000, 3000))
    decisions = drive(frames, settings)
    assert {d.route for d in decisions} == {Route.FUSED}
    assert all(d.ir.stamp_ns - d.eo.stamp_ns == 200 * MS for d in decisions)


@pytest.mark.parametrize(("distance", "route"), [(50, Route.FUSED), (50.001, Route.IR_ONLY)])
def test_the_slop_includes_its_bound(distance, route):
    driven = ready()
    driven.perception.arrive(frame(EO, 2000 + distance, 2001))
    driven.perception._pairer._keep_eo(driven.perception._pairer._eo[-1:])
    (decision,) = driven.perception.arrive(frame(IR, 2000, 2002))
    assert decision.route is route


def test_one_eo_frame_serves_several_ir_frames():
    driven = ready(eo_hz=10, ir_hz=60)
    driven.feed([frame(EO, 2000, 2001)])
    driven.feed([frame(IR, stamp, stamp + 1) for stamp in (2010, 2027, 2043)])
    assert stamps(driven.decisions, 2000) == [(2010, 2000), (2027, 2000), (2043, 2000)]
    assert driven.perception.account.streams[EO].used == 11


def test_stale_eo_is_not_waited_for_and_not_used():
    driven = ready(until_ms=2030)
    stale_at = driven.perception._health[EO].alive_until_ns
    (decision,) = driven.perception.arrive(frame(IR, 2033, stale_at / MS))
    assert (decision.route, decision.reason) == (Route.IR_ONLY, Reason.EO_STALE)
    assert decision.decided_ns == stale_at


def test_a_waiting_ir_frame_is_released_at_the_moment_eo_turns_stale():
    driven = ready()
    driven.feed([frame(IR, 2000, 2001)])
    stale_at = driven.perception.next_deadline_ns()
    assert stale_at == driven.perception._health[EO].alive_until_ns < 2030 * MS
    assert driven.perception.advance(stale_at - 1) == []
    (decision,) = driven.perception.advance(stale_at)
    assert (decision.route, decision.reason) == (Route.IR_ONLY, Reason.EO_STALE)


def test_the_wait_ends_at_its_bound_with_the_best_at_hand():
    driven = ready(PerceptionSettings(max_wait_ns=4 * MS, slop_ns=40 * MS))
    driven.feed([frame(EO, 2000, 2002)])
    assert driven.perception.arrive(frame(IR, 2030, 2031)) == []
    assert driven.perception.next_deadline_ns() == 2035 * MS
    (decision,) = driven.perception.advance(2035 * MS)
    assert (decision.route, decision.reason) == (Route.FUSED, Reason.PAIRED)
    assert stamps([decision]) == [(2030, 2000)]


def test_the_wait_ends_at_its_bound_without_a_match():
    driven = ready(PerceptionSettings(max_wait_ns=8 * MS, slop_ns=5 * MS))
    driven.perception.arrive(frame(IR, 2000, 2001))
    (decision,) = driven.perception.advance(2009 * MS)
    assert (decision.route, decision.reason) == (Route.IR_ONLY, Reason.WAIT_ENDED)


def test_a_late_call_decides_as_a_punctual_one():
    """Staleness that came after the end of the wait does not reach back."""
    driven = ready(PerceptionSettings(max_wait_ns=4 * MS, slop_ns=40 * MS))
    driven.feed([frame(EO, 2000, 2002), frame(IR, 2030, 2031)])
    (decision,) = driven.perception.advance(2500 * MS)
    assert decision.route is Route.FUSED


def test_a_late_eo_frame_does_not_cost_the_next_pair():
    """Half a period too late: its own IR frame goes alone, the next one is paired again."""
    driven = ready()
    driven.feed([frame(IR, 2000, 2001), frame(EO, 2000, 2025)])
    driven.feed([frame(IR, 2033.3, 2034.3), frame(EO, 2033.3, 2038.3)])
    assert [d.route for d in driven.decisions] == [Route.IR_ONLY, Route.FUSED]


def test_return_after_an_outage_takes_the_frames_asked_for():
    driven = ready(PerceptionSettings(return_frames=3))
    driven.feed(merged(stream(EO, 30, 4000, 4200), stream(IR, 30, 4000, 4200, latency_ms=6)))
    returned = [d.reason for d in driven.decisions if d.decided_ns > 4005 * MS]
    assert returned[:4] == [
        Reason.EO_RETURNING, Reason.EO_RETURNING, Reason.PAIRED, Reason.PAIRED,
    ]  # fmt: skip


def test_order_is_kept_when_frames_arrive_out_of_order_while_waiting():
    driven = ready(eo_hz=10, ir_hz=60)
    driven.feed([frame(EO, 2000, 2005), frame(IR, 2060, 2061), frame(IR, 2055, 2065), frame(EO, 2100, 2104)])
    assert stamps(driven.decisions, 2000) == [(2055, 2100), (2060, 2100)]


def test_a_latecomer_does_not_make_the_others_wait_longer():
    driven = ready(PerceptionSettings(max_wait_ns=20 * MS, stale_periods=5), eo_hz=10, ir_hz=60)
    driven.feed([frame(EO, 2000, 2005), frame(IR, 2085, 2090), frame(IR, 2080, 2100)])
    assert driven.perception.next_deadline_ns() == 2110 * MS
    assert stamps(driven.perception.advance(2110 * MS)) == [(2080, None), (2085, None)]


def test_an_ir_frame_older_than_the_last_decided_is_dropped():
    driven = ready(until_ms=2030)
    assert driven.perception.arrive(frame(IR, 1950, 2031)) == []
    assert driven.perception.account.dropped == {DropCause.OUT_OF_ORDER: 1}


def test_an_eo_frame_out_of_order_is_paired():
    driven = ready(PerceptionSettings(slop_ns=15 * MS))
    driven.feed([frame(EO, 2033, 2040), frame(EO, 2000, 2041)])
    (decision,) = driven.perception.arrive(frame(IR, 2000, 2042))
    assert stamps([decision]) == [(2000, 2000)]


def test_a_frame_that_comes_twice_is_dropped_once():
    driven = ready()
    driven.feed([frame(EO, 2000, 2001), frame(IR, 2000, 2002), frame(IR, 2000, 2003)])
    assert stamps(driven.decisions) == [(2000, 2000)]
    assert driven.perception.account.dropped == {DropCause.DUPLICATE: 1}


def test_a_waiting_frame_that_comes_twice_is_dropped_once():
    driven = ready(eo_hz=10)
    driven.feed([frame(EO, 2000, 2005), frame(IR, 2090, 2091), frame(IR, 2095, 2096), frame(IR, 2090, 2097)])
    assert driven.perception.account.dropped == {DropCause.DUPLICATE: 1}
    assert driven.perception.account.waiting == 2


def test_a_stuck_ir_clock_does_not_silence_thermal():
    driven = ready(until_ms=2030)
    decisions = driven.feed([frame(IR, 2033, 2034 + 33 * k) for k in range(5)]).finish()
    assert len(decisions) == 4
    assert {d.reason for d in decisions[1:]} == {Reason.NO_STAMP}
    assert driven.perception.account.dropped == {DropCause.DUPLICATE: 1}


def test_ir_without_a_stamp_is_answered_at_once_alone():
    driven = ready()
    (decision,) = driven.perception.arrive(frame(IR, 0, 2001))
    assert (decision.route, decision.reason) == (Route.IR_ONLY, Reason.NO_STAMP)


def test_eo_without_a_stamp_is_not_waited_for():
    frames = merged(
        stream(EO, 30, 1000, 2000), stream(IR, 30, 1000, 2000, latency_ms=1)
    )  # fmt: skip
    frames = [one if one.modality is IR else frame(EO, 0, one.arrival_ns / MS) for one in frames]
    decisions = drive(frames)
    assert all(d.decided_ns == d.ir.arrival_ns for d in decisions[1:])
    assert {d.reason for d in decisions[1:]} == {Reason.NO_STAMP}


@pytest.mark.parametrize("first", [EO, IR])
@pytest.mark.parametrize("back_ms", [990, 3_600_000])
def test_a_bag_loop_costs_at_most_a_frame(first, back_ms):
    """Both streams jump back, one of them three frames before the other."""
    start = 4_000_000
    lap = {EO: 30, IR: 30}
    lap[first] -= 3
    frames = []
    for modality in (EO, IR):
        for index in range(60):
            time = start + index * 1000 / 30
            stamp = time - (back_ms if index >= lap[modality] else 0)
            frames.append(frame(modality, stamp, time + (1 if modality is IR else 5)))
    decisions = drive(merged(frames))
    assert len(decisions) == 60
    routes = [d.route for d in decisions]
    assert set(routes[:26] + routes[33:]) == {Route.FUSED}
    assert all(abs(d.ir.stamp_ns - d.eo.stamp_ns) < 40 * MS for d in decisions if d.eo)


def test_a_jump_forward_keeps_pairing():
    frames = merged(
        stream(EO, 30, 1000, 2000), stream(IR, 30, 1000, 2000, latency_ms=1),
        stream(EO, 30, 2000, 3000, shift_ms=9e6), stream(IR, 30, 2000, 3000, latency_ms=1, shift_ms=9e6),
    )  # fmt: skip
    decisions = drive(frames)
    assert len(decisions) == 60
    assert sum(d.route is not Route.FUSED for d in decisions) <= 1


@pytest.mark.parametrize("modality", [EO, IR])
def test_one_absurd_stamp_costs_a_few_frames_at_most(modality):
    frames = merged(stream(EO, 30, 1000, 3000), stream(IR, 30, 1000, 3000, latency_ms=1))
    place = next(k for k, one in enumerate(frames) if one.modality is modality and one.stamp_ns > 2000 * MS)
    frames[place] = frame(modality, 9e12, frames[place].arrival_ns / MS)
    decisions = drive(frames)
    assert len(decisions) == 60
    assert sum(d.route is not Route.FUSED for d in decisions) <= 3
    assert all(d.eo.stamp_ns == d.ir.stamp_ns for d in decisions[-20:])


def test_ir_frames_that_wait_after_a_jump_back_are_not_late():
    driven = ready()
    driven.feed([frame(IR, 2000, 2001), frame(IR, 1000, 2002), frame(IR, 1010, 2003)])
    assert driven.perception.account.waiting == 2
    assert driven.perception.account.dropped == {}
    assert len(driven.finish()) == 3


def test_eo_that_jumps_back_releases_ir_frames_of_the_time_before():
    driven = ready()
    driven.feed([frame(IR, 2000, 2001), frame(EO, 1000, 2005)])
    assert stamps(driven.decisions) == [(2000, 1966)]


def test_an_eo_stream_that_comes_twice_keeps_its_period():
    twice = [frame(EO, 1000 + k * 40, 1000 + k * 40 + echo) for k in range(20) for echo in (0, 12)]
    driven = Drive(Perception()).feed(twice)
    assert driven.perception.stream(EO, 1800 * MS).period_ns == 40 * MS
    assert driven.perception.account.streams[EO].unused >= 20


@pytest.mark.parametrize("ir_hz", [9, 30, 60])
@pytest.mark.parametrize("eo_hz", [5, 9, 15, 30, 60, 120])
def test_unequal_rates_answer_every_ir_frame_with_the_nearest_eo(ir_hz, eo_hz):
    eo = stream(EO, eo_hz, 1000, 4000, latency_ms=8)
    ir = stream(IR, ir_hz, 1003, 4000, latency_ms=2)
    driven = Drive(Perception()).feed(merged(eo, ir))
    decisions = [d for d in driven.finish() if d.ir.stamp_ns < 3700 * MS]
    period = 1e9 / eo_hz
    assert driven.perception.account.balanced
    for decision in decisions:
        nearest = min(abs(one.stamp_ns - decision.ir.stamp_ns) for one in eo)
        assert (decision.eo is not None) == (nearest <= 50 * MS)
        if decision.eo:
            assert abs(decision.eo.stamp_ns - decision.ir.stamp_ns) - nearest <= period / 8 + 2
        assert decision.decided_ns - decision.ir.arrival_ns <= min(100 * MS, 1.5 * period)


def test_thermal_dies_and_comes_back():
    ir = stream(IR, 30, 1000, 2000, latency_ms=1) + stream(IR, 30, 3000, 4000, latency_ms=1)
    eo = stream(EO, 30, 1000, 4000)
    driven = Drive(Perception()).feed(merged(eo, ir))
    decisions = driven.finish()
    alone = [d for d in decisions if d.route is Route.EO_ONLY]
    assert {d.reason for d in alone} == {Reason.IR_STALE}
    dead_at = ir[29].arrival_ns + 3 * 1e9 / 30
    assert [d.eo for d in alone] == [one for one in eo if dead_at <= one.arrival_ns < ir[30].arrival_ns]
    assert alone[0].anchor is alone[0].eo
    assert all(d.decided_ns == d.eo.arrival_ns for d in alone)
    assert [d.ir for d in decisions if d.ir] == ir
    account = driven.perception.account
    assert account.streams[EO].anchors == len(alone)
    assert account.balanced


def test_eo_alone_from_the_start_is_answered_after_the_first_timeout():
    eo = stream(EO, 10, 1000, 4000)
    driven = Drive(Perception()).feed(eo)
    assert [d.eo for d in driven.finish()] == [one for one in eo if one.arrival_ns >= 2005 * MS]
    assert driven.perception.account.balanced


def test_the_eo_anchor_knows_duplicates_and_disorder():
    driven = Drive(Perception()).feed(stream(EO, 10, 1000, 3000))
    driven.decisions.clear()
    driven.feed([frame(EO, 3000, 3005), frame(EO, 3000, 3006), frame(EO, 2950, 3007), frame(EO, 0, 3100)])
    assert [d.eo.stamp_ns // MS for d in driven.decisions] == [3000, 0]
    account = driven.perception.account
    assert account.dropped == {DropCause.DUPLICATE: 1, DropCause.OUT_OF_ORDER: 1}
    assert account.balanced


def test_ir_alone_from_the_start_waits_only_in_the_first_timeout():
    decisions = drive(stream(IR, 30, 1000, 4000))
    assert len(decisions) == 90
    assert all(d.decided_ns - d.ir.arrival_ns <= 100 * MS for d in decisions)
    late = [d for d in decisions if d.ir.arrival_ns >= 2005 * MS]
    assert all(d.decided_ns == d.ir.arrival_ns and d.reason is Reason.EO_ABSENT for d in late)


def test_a_pair_right_at_the_start_is_fused():
    decisions = drive([frame(IR, 1000, 1001), frame(EO, 1000, 1010)])
    assert [d.route for d in decisions] == [Route.FUSED]


def test_crowded_waiting_decides_the_oldest_at_once():
    driven = Drive(Perception(PerceptionSettings(max_waiting=2)))
    driven.feed([frame(IR, 1000 + k, 1000 + k) for k in range(5)])
    assert stamps(driven.decisions) == [(1000, None), (1001, None), (1002, None)]
    assert {d.reason for d in driven.decisions} == {Reason.CROWDED}
    assert driven.perception.account.waiting == 2


def test_the_eo_buffer_is_bounded():
    driven = Drive(Perception(PerceptionSettings(eo_buffer=3))).feed(stream(EO, 100, 1000, 1500))
    eo = driven.perception.account.streams[EO]
    assert (driven.perception._pairer.buffered, eo.held, eo.unused) == (3, 3, 47)


@pytest.mark.parametrize(("route", "expected"), [(Route.IR_ONLY, IR), (Route.EO_ONLY, EO)])
def test_a_forced_single_route_answers_its_stream_at_once(route, expected: Modality):
    frames = merged(stream(EO, 30, 1000, 2000), stream(IR, 20, 1000, 2000))
    driven = Drive(Perception(PerceptionSettings(route=route))).feed(frames)
    assert [d.anchor for d in driven.decisions] == [one for one in frames if one.modality is expected]
    assert {(d.route, d.reason) for d in driven.decisions} == {(route, Reason.FORCED)}
    assert all(d.decided_ns == d.anchor.arrival_ns for d in driven.decisions)
    account = driven.perception.account
    assert account.balanced
    assert account.streams[EO].used == 0


def test_a_forced_fused_route_drops_what_has_no_pair():
    frames = merged(stream(EO, 30, 1000, 2000), stream(IR, 30, 1000, 3000, latency_ms=1))
    driven = Drive(Perception(PerceptionSettings(route=Route.FUSED))).feed(frames)
    assert {d.route for d in driven.finish()} == {Route.FUSED}
    account = driven.perception.account
    assert account.dropped == {DropCause.NO_PAIR: 60 - len(driven.decisions)}
    assert 29 <= len(driven.decisions) <= 32
    assert account.balanced


def test_settings_change_live_and_frames_that_wait_are_decided():
    driven = ready()
    driven.feed([frame(IR, 2000, 2001)])
    decisions = driven.perception.configure(PerceptionSettings(route=Route.IR_ONLY), 2003 * MS)
    assert [d.ir.stamp_ns // MS for d in decisions] == [2000]
    (forced,) = driven.perception.arrive(frame(IR, 2033, 2034))
    assert forced.reason is Reason.FORCED
    driven.perception.configure(PerceptionSettings(stale_periods=9), 2035 * MS)
    assert driven.perception.stream(EO, 2200 * MS).state is StreamState.ALIVE
    assert driven.perception.settings.stale_periods == 9


def test_a_clock_that_goes_back_stands_still():
    driven = ready()
    driven.perception.advance(2500 * MS)
    (decision,) = driven.perception.arrive(frame(IR, 2400, 2400))
    assert decision.decided_ns == 2500 * MS


def test_streams_route_and_anchor_are_told():
    perception = Perception()
    assert perception.stream(EO, 0) is None
    assert perception.route is None
    assert perception.next_deadline_ns() is None
    assert perception.anchor(0) is IR
    driven = ready()
    report = driven.perception.stream(EO, 2000 * MS)
    assert (report.state, round(report.rate_hz)) == (StreamState.ALIVE, 30)
    assert driven.perception.route is Route.FUSED
    assert driven.perception.anchor(9000 * MS) is EO


def test_the_same_frames_give_the_same_decisions():
    frames = merged(
        stream(EO, 30, 1000, 3000, jitter_ms=30, loss=0.2, seed=1),
        stream(IR, 30, 1000, 3000, jitter_ms=20, loss=0.1, seed=2),
    )
    assert outcomes(drive(frames)) == outcomes(drive(frames))
