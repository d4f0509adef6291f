"""What is decided while a stream comes in rhythm but shows nothing of use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from frame_streams import EO, IR, MS, Drive, merged, stream

from csk_ros.modality import Route
from csk_ros.perception import Fault, Look, Perception, PerceptionSettings, Reason, StreamState

SETTINGS = PerceptionSettings()
FROZEN_AT = SETTINGS.eo_content.frozen_frames
IR_FROZEN_AT = SETTINGS.ir_content.frozen_frames
BAD_AT = SETTINGS.eo_content.bad_frames
GOOD_AT = SETTINGS.eo_content.good_frames


def camera(modality, fault=None, *, bad=(2000, 3000), end=4000, rate=30):
    """A camera whose frames between two stamps in ms show a fault."""
    frames = stream(modality, rate, 1000, end, latency_ms=4.0 if modality is EO else 6.0)
    return [replace(one, look=look(number, one, fault, bad)) for number, one in enumerate(frames)]


def look(number, one, fault, bad):
    if fault is None or not bad[0] * MS <= one.stamp_ns < bad[1] * MS:
        return Look(number, 30, 200)
    return {
        Fault.FROZEN: Look(-1, 30, 200),
        Fault.DARK: Look(number, 0, 9),
        Fault.FLAT: Look(number, 90, 92),
    }[fault]


def within(decisions, start_ms, end_ms):
    return [d for d in decisions if start_ms * MS <= d.anchor.stamp_ns < end_ms * MS]


def kinds(decisions):
    return {(d.route, d.reason) for d in decisions}


FUSED = {(Route.FUSED, Reason.PAIRED)}


@pytest.mark.parametrize(("fault", "frames"), [(Fault.FROZEN, FROZEN_AT + 1), (Fault.DARK, BAD_AT)])
def test_a_useless_optical_stream_is_left_within_a_few_frames_and_taken_up_again(fault, frames):
    driven = Drive(Perception()).feed(merged(camera(EO, fault), camera(IR)))
    decisions = driven.finish()
    period = 1000 / 30
    lost, back = 2000 + (frames - 1) * period - 1, 3000 + (GOOD_AT - 1) * period - 1
    assert kinds(within(decisions, 1000, lost)) == FUSED
    assert kinds(within(decisions, lost, back)) == {(Route.IR_ONLY, Reason.EO_UNUSABLE)}
    assert kinds(within(decisions, back, 4000)) == FUSED
    assert all(d.decided_ns == d.anchor.arrival_ns for d in within(decisions, lost + period, back))
    account = driven.perception.account
    assert account.balanced
    assert account.streams[EO].unusable == 30 - frames + 1 + GOOD_AT - 1
    assert account.anchors == 90


def test_the_frames_that_wait_when_eo_turns_unusable_are_answered_at_once():
    frames = merged(camera(EO, Fault.DARK, end=2000 + 90), camera(IR, end=2000))
    last_eo = frames.pop()
    driven = Drive(Perception()).feed(frames)
    ahead = replace(frames[-1], modality=IR, stamp_ns=last_eo.stamp_ns, arrival_ns=last_eo.arrival_ns - 1)
    assert driven.perception.arrive(ahead) == []
    (decision,) = driven.perception.arrive(last_eo)
    assert (decision.ir, decision.reason, decision.decided_ns) == (
        ahead, Reason.EO_UNUSABLE, last_eo.arrival_ns,
    )  # fmt: skip


def test_frames_from_before_the_verdict_are_not_paired_after_the_return():
    """A fast EO is black for three frames and back before the IR frame of the black ones has come."""
    eo = camera(EO, Fault.DARK, bad=(2000, 2000 + BAD_AT * 8), end=2000 + (BAD_AT + GOOD_AT) * 8, rate=125)
    driven = Drive(Perception()).feed(merged(eo, camera(IR, end=1990)))
    assert driven.perception.fault(EO) is None
    late = replace(eo[-1], modality=IR, stamp_ns=2009 * MS)
    assert driven.feed([late]).finish()[-1].eo is eo[-1]
    account = driven.perception.account.streams[EO]
    assert (account.unusable, account.held) == (1 + GOOD_AT - 1, 0)


@pytest.mark.parametrize(("fault", "frames"), [(Fault.FROZEN, IR_FROZEN_AT + 1), (Fault.FLAT, BAD_AT)])
def test_while_the_thermal_stream_is_useless_a_good_optical_one_is_the_anchor(fault, frames):
    driven = Drive(Perception()).feed(merged(camera(EO), camera(IR, fault)))
    decisions = driven.finish()
    period = 1000 / 30
    lost, back = 2000 + frames * period - 1, 3000 + (GOOD_AT - 1) * period - 1
    assert kinds(within(decisions, 1000, lost - period)) == FUSED
    assert kinds(within(decisions, lost, back)) == {(Route.EO_ONLY, Reason.IR_UNUSABLE)}
    assert kinds(within(decisions, back + period, 4000)) == FUSED
    assert [d.eo.stamp_ns for d in within(decisions, lost, back)] == [
        one.stamp_ns for one in camera(EO) if lost * MS <= one.stamp_ns < back * MS
    ]
    account = driven.perception.account
    assert account.balanced
    assert account.streams[IR].unusable == 30 - frames + 1 + GOOD_AT - 1
    assert account.streams[IR].anchors + account.streams[IR].unusable == 90


def test_when_neither_is_usable_the_thermal_frames_are_answered():
    driven = Drive(Perception()).feed(merged(camera(EO, Fault.DARK), camera(IR, Fault.FLAT)))
    decisions = within(driven.finish(), 2150, 3000)
    assert kinds(decisions) == {(Route.IR_ONLY, Reason.NEITHER_USABLE)}
    assert len(decisions) == len([one for one in camera(IR) if 2150 * MS <= one.stamp_ns < 3000 * MS])


def test_a_useless_thermal_stream_is_answered_while_there_is_no_optical_one():
    eo = [one for one in camera(EO) if not 2000 * MS < one.stamp_ns < 3000 * MS]
    driven = Drive(Perception()).feed(merged(eo, camera(IR, Fault.FROZEN, bad=(1500, 3500))))
    decisions = driven.finish()
    assert kinds(within(decisions, 1900, 2000)) == {(Route.EO_ONLY, Reason.IR_UNUSABLE)}
    assert kinds(within(decisions, 2100, 3000)) == {(Route.IR_ONLY, Reason.NEITHER_USABLE)}
    assert kinds(within(decisions, 3100, 3500)) == {(Route.EO_ONLY, Reason.IR_UNUSABLE)}
    assert kinds(within(decisions, 3600, 4000)) == FUSED


def test_a_useless_optical_stream_is_answered_while_there_is_no_thermal_one():
    ir = [one for one in camera(IR) if one.stamp_ns < 1500 * MS]
    decisions = Drive(Perception()).feed(merged(camera(EO, Fault.DARK), ir)).finish()
    assert kinds(within(decisions, 1700, 2000)) == {(Route.EO_ONLY, Reason.IR_STALE)}
    assert kinds(within(decisions, 2100, 3000)) == {(Route.EO_ONLY, Reason.NEITHER_USABLE)}


@pytest.mark.parametrize("route", Route)
def test_a_forced_route_takes_the_images_as_they_are_and_the_report_still_names_the_fault(route):
    perception = Perception(PerceptionSettings(route=route))
    frames = merged(camera(EO, Fault.DARK, end=3000), camera(IR, Fault.FLAT, end=3000))
    decisions = Drive(perception).feed(frames).finish()
    assert kinds(decisions) <= {(route, Reason.PAIRED), (route, Reason.FORCED)}
    assert len(decisions) == 60
    for modality, fault in ((EO, Fault.DARK), (IR, Fault.FLAT)):
        report = perception.stream(modality, 3000 * MS)
        assert (report.state, report.fault) == (StreamState.UNUSABLE, fault)


def test_unreadable_messages_make_their_stream_unusable_until_good_ones_come():
    for modality, other, fallback in ((EO, IR, Reason.EO_UNUSABLE), (IR, EO, Reason.IR_UNUSABLE)):
        driven = Drive(Perception())
        for one in merged(camera(EO), camera(IR)):
            driven.until(one.arrival_ns)
            if one.modality is modality and 2000 * MS <= one.stamp_ns < 3000 * MS:
                driven.decisions += driven.perception.refused(modality, one.arrival_ns)
                if one.stamp_ns > 2200 * MS:
                    report = driven.perception.stream(modality, one.arrival_ns)
                    assert (report.state, report.fault) == (StreamState.UNUSABLE, Fault.CORRUPT)
            else:
                driven.decisions += driven.perception.arrive(one)
        decisions = driven.finish()
        assert kinds(within(decisions, 2200, 3000)) == {
            (Route.of(eo=other is EO, ir=other is IR), fallback),
        }  # fmt: skip
        assert kinds(within(decisions, 3100, 4000)) == FUSED
        assert driven.perception.account.balanced


def test_a_stream_that_was_never_readable_is_unusable_not_absent():
    perception = Perception(start_ns=0)
    for number in range(5):
        perception.refused(EO, (1000 + 33 * number) * MS)
    (ir,) = camera(IR, end=1030)
    (decision,) = perception.arrive(replace(ir, arrival_ns=1140 * MS))
    assert decision.reason is Reason.EO_UNUSABLE


def test_an_unusable_stream_that_stops_is_stale():
    perception = Perception()
    Drive(perception).feed(camera(EO, Fault.DARK, end=2500))
    assert perception.stream(EO, 2520 * MS).state is StreamState.UNUSABLE
    report = perception.stream(EO, 2600 * MS)
    assert (report.state, report.fault) == (StreamState.STALE, None)


def test_thresholds_change_live_and_forcing_a_route_and_back_takes_effect_at_once():
    perception = Perception()
    driven = Drive(perception).feed(merged(camera(EO, Fault.DARK, end=2500), camera(IR, end=2500)))
    assert perception.fault(EO) is Fault.DARK
    perception.configure(PerceptionSettings(route=Route.FUSED), 2500 * MS)
    late = [
        replace(one, stamp_ns=one.stamp_ns + 500 * MS, arrival_ns=one.arrival_ns + 500 * MS)
        for one in merged(camera(EO, Fault.DARK, end=2500), camera(IR, end=2500))
        if one.stamp_ns >= 2000 * MS
    ]
    before = len(driven.decisions)
    assert kinds(driven.feed(late[:20]).decisions[before:]) == FUSED
    perception.configure(SETTINGS, late[19].arrival_ns)
    before = len(driven.decisions)
    assert kinds(driven.feed(late[20:]).decisions[before:]) == {(Route.IR_ONLY, Reason.EO_UNUSABLE)}
    lenient = replace(SETTINGS, eo_content=replace(SETTINGS.eo_content, dark=5))
    perception.configure(lenient, late[-1].arrival_ns)
    later = [
        replace(one, stamp_ns=one.stamp_ns + 500 * MS, arrival_ns=one.arrival_ns + 500 * MS) for one in late
    ]
    before = len(driven.decisions)
    driven.feed(later).finish()
    assert kinds(driven.decisions[before + GOOD_AT :]) == FUSED
