"""What must hold whatever arrives: for streams as cameras send them, and for any events at all."""

from __future__ import annotations

from frame_streams import EO, IR, MS, SECOND, Drive, merged, outcomes, stream
from hypothesis import given, settings
from hypothesis import strategies as st

from csk_ros.modality import Route
from csk_ros.perception import (
    ContentSettings,
    DropCause,
    Frame,
    Look,
    Perception,
    PerceptionSettings,
    Reason,
    StreamState,
)

SETTINGS = st.builds(
    PerceptionSettings,
    slop_ns=st.sampled_from([0, 5 * MS, 50 * MS, 200 * MS]),
    eo_offset_ns=st.sampled_from([0, 0, -40 * MS, 70 * MS]),
    max_wait_ns=st.sampled_from([0, 10 * MS, 100 * MS, 1000 * MS]),
    stale_periods=st.sampled_from([1.5, 1.5, 3.0]),
    return_frames=st.integers(1, 4),
    eo_buffer=st.sampled_from([1, 3, 32]),
    max_waiting=st.sampled_from([1, 4, 32]),
    route=st.sampled_from([None, None, None, *Route]),
    eo_content=st.deferred(lambda: CONTENT),
    ir_content=st.deferred(lambda: CONTENT),
)

# One event: which stream, time since the last event, stamp against arrival, what is odd about it, and what
# the image shows.
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([EO, IR]),
        st.sampled_from([0, 1, 4, 16, 33, 34, 100, 400, 3000]),
        st.integers(-60, 5),
        st.sampled_from(["plain"] * 8 + ["loop", "leap", "zero", "repeat", "refused"]),
        st.sampled_from(["new", "new", "nothing", "same", "same", "black", "black", "unseen"]),
    ),
    max_size=80,
)
CONTENT = st.builds(
    ContentSettings,
    frozen_frames=st.sampled_from([0, 1, 2, 5]),
    dark=st.just(16),
    bad_frames=st.sampled_from([0, 1, 3]),
    good_frames=st.integers(1, 4),
)


@st.composite
def cameras(draw):
    """Two streams with any rates, phases, delays, jitter and loss, each with an outage."""
    frames = []
    for modality, rates in ((EO, [5, 10, 15, 30, 60, 120]), (IR, [9, 30, 60])):
        rate = draw(st.sampled_from(rates))
        common = {
            "latency_ms": draw(st.integers(0, 40)), "jitter_ms": draw(st.sampled_from([0, 2, 20])),
            "loss": draw(st.sampled_from([0, 0, 0.1])), "seed": draw(st.integers(0, 999)),
        }  # fmt: skip
        away = draw(st.integers(500, 2500))
        back = away + draw(st.sampled_from([100, 700]))
        phase = draw(st.integers(0, 40))
        frames.append(stream(modality, rate, 1000 + phase, 1000 + away, **common))
        frames.append(stream(modality, rate, 1000 + back + phase, 4000, **common))
    return merged(*frames)


def stamped(events):
    """Frames for the drawn events, with their number as payload; None stands for a refused message."""
    now, shift, last = 10 * SECOND, 0, {}
    for number, (modality, wait, offset, kind, shown) in enumerate(events):
        now += wait * MS
        shift += {"loop": -2 * SECOND, "leap": 5 * SECOND}.get(kind, 0)
        stamp = last.get(modality, 1) if kind == "repeat" else now + shift + offset * MS
        stamp = 0 if kind == "zero" else stamp
        last[modality] = stamp
        one = Frame(modality, stamp, now, number, look_at(number, shown))
        yield modality, now, None if kind == "refused" else one


def look_at(number, shown):
    return {
        "new": Look(number, 20, 200), "nothing": None, "same": Look(-1, 20, 200),
        "black": Look(number, 0, 5), "unseen": Look(number),
    }[shown]  # fmt: skip


class Watch(Drive):
    """Drives perception and checks after every step what must hold at any moment."""

    def check(self, chosen):
        perception, account = self.perception, self.perception.account
        assert account.balanced
        assert account.unanswered == len(self.decisions)
        assert perception._pairer.buffered <= chosen.eo_buffer
        assert perception._pairer.waiting <= chosen.max_waiting
        deadline = perception.next_deadline_ns()
        assert (deadline is None) == (account.waiting == 0)
        assert deadline is None or deadline > perception._now_ns


def check_decision(decision, chosen):
    """What one decision must satisfy by itself."""
    assert decision.route is Route.of(eo=decision.eo is not None, ir=decision.ir is not None)
    assert (decision.reason is Reason.PAIRED) == (decision.route is Route.FUSED)
    assert 0 <= decision.decided_ns - decision.anchor.arrival_ns <= chosen.max_wait_ns
    assert chosen.route in (None, decision.route)
    if decision.route is Route.FUSED:
        distance = decision.ir.stamp_ns - decision.eo.stamp_ns - chosen.eo_offset_ns
        assert abs(distance) <= chosen.slop_ns
        assert decision.eo.arrival_ns <= decision.decided_ns
    if decision.route is Route.EO_ONLY:
        assert decision.decided_ns == decision.eo.arrival_ns


@given(EVENTS, SETTINGS)
@settings(max_examples=300)
def test_any_events_leave_each_anchor_frame_exactly_one_outcome(events, chosen):
    watch = Watch(Perception(chosen))
    refused = 0
    for modality, now, one in stamped(events):
        if one is None:
            refused += 1
            watch.until(now)
            watch.decisions += watch.perception.refused(modality, now)
            continue
        watch.until(now)
        stale = watch.perception.stream(EO, now)
        set_aside = watch.perception.account.streams[IR].unusable
        watch.decisions += watch.perception.arrive(one)
        if watch.perception.account.streams[IR].unusable > set_aside:
            assert watch.perception.stream(EO, now).state is StreamState.ALIVE
        useless = (StreamState.STALE, StreamState.RETURNING, StreamState.UNUSABLE)
        if modality is IR and chosen.route is None and stale and stale.state in useless:
            assert watch.perception.account.waiting == 0
        watch.check(chosen)
    decisions = watch.finish()
    watch.check(chosen)
    for decision in decisions:
        check_decision(decision, chosen)
    account = watch.perception.account
    anchors = [decision.anchor.payload for decision in decisions]
    assert len(set(anchors)) == len(anchors)
    assert account.anchors == len(anchors) + sum(account.dropped.values())
    assert sum(stream.received for stream in account.streams.values()) == len(events)
    assert sum(sum(stream.refused.values()) for stream in account.streams.values()) == refused
    if chosen.route is not Route.EO_ONLY:
        ir_frames = sum(one is not None and one.modality is IR for _, _, one in stamped(events))
        assert account.streams[IR].anchors + account.streams[IR].unusable == ir_frames
    if chosen.route is not None:
        assert account.streams[IR].unusable == account.streams[EO].unusable == 0


@given(EVENTS, SETTINGS, st.lists(st.integers(0, 8_000), max_size=40))
@settings(max_examples=150)
def test_decisions_do_not_hang_on_when_advance_is_called(events, chosen, extra_ms):
    """Only punctuality does: late or additional calls change no pair, no route, no reason."""
    punctual = Drive(Perception(chosen, start_ns=10 * SECOND))
    for modality, now, one in stamped(events):
        punctual.until(now)
        punctual.decisions += tell(punctual.perception, modality, now, one)
    careless = Perception(chosen, start_ns=10 * SECOND)
    calls = sorted(10 * SECOND + wait * MS for wait in extra_ms)
    decisions = []
    for modality, now, one in stamped(events):
        while calls and calls[0] < now:
            decisions += careless.advance(calls.pop(0))
        decisions += tell(careless, modality, now, one)
    decisions += careless.advance(10**15)
    assert outcomes(decisions) == outcomes(punctual.finish())


def tell(perception, modality, now, one):
    return perception.refused(modality, now) if one is None else perception.arrive(one)


@given(EVENTS, SETTINGS)
@settings(max_examples=200)
def test_a_stream_turns_unusable_and_back_no_faster_than_the_frames_asked_for(events, chosen):
    perception = Perception(chosen)
    messages = dict.fromkeys((EO, IR), 0)
    switched = dict.fromkeys((EO, IR), 0)
    for modality, now, one in stamped(events):
        other = IR if modality is EO else EO
        before = {either: perception.fault(either) for either in (EO, IR)}
        tell(perception, modality, now, one)
        messages[modality] += 1
        assert perception.fault(other) is before[other]
        fault = perception.fault(modality)
        if bool(fault) is not bool(before[modality]):
            content = chosen.eo_content if modality is EO else chosen.ir_content
            limits = [content.frozen_frames, content.bad_frames] if fault else [content.good_frames]
            assert messages[modality] - switched[modality] >= min(limit for limit in limits if limit)
            switched[modality] = messages[modality]


@given(EVENTS, SETTINGS.filter(lambda chosen: chosen.route is None))
@settings(max_examples=150)
def test_whatever_was_shown_good_frames_bring_the_fused_route_back(events, chosen):
    driven = Drive(Perception(chosen))
    for modality, now, one in stamped(events):
        driven.until(now)
        driven.decisions += tell(driven.perception, modality, now, one)
    start = driven.perception._now_ns + 5 * SECOND
    for number in range(40):
        for modality, offset in ((EO, -chosen.eo_offset_ns), (IR, 0)):
            now = start + number * 33 * MS
            good = Frame(modality, 10**6 * SECOND + now + offset, now, None, Look(10**6 + number, 20, 200))
            driven.feed([good])
    assert driven.finish()[-1].reason is Reason.PAIRED
    assert driven.perception.account.balanced


@given(cameras(), SETTINGS.filter(lambda chosen: chosen.route is None and chosen.eo_buffer == 32))
@settings(max_examples=100)
def test_cameras_are_answered_in_order_with_the_best_match(frames, chosen):
    perception = Perception(chosen)
    driven = Drive(perception)
    stale_from = {}
    for one in frames:
        driven.until(one.arrival_ns)
        eo = perception.stream(EO, one.arrival_ns)
        if eo and eo.period_ns and eo.age_ns >= chosen.stale_periods * eo.period_ns:
            assert eo.state is StreamState.STALE
        before = len(driven.decisions)
        driven.decisions += perception.arrive(one)
        if one.modality is IR and eo and eo.state is StreamState.STALE:
            assert [d.anchor for d in driven.decisions[before:]] == [one]
            stale_from[one] = True
    decisions = driven.finish()
    answered = [decision.ir for decision in decisions if decision.ir]
    assert answered == [one for one in frames if one.modality is IR]
    for decision in decisions:
        check_decision(decision, chosen)
        if decision.ir in stale_from:
            assert decision.route is Route.IR_ONLY
        if decision.reason in (Reason.PAIRED, Reason.NO_MATCH, Reason.WAIT_ENDED):
            check_best(decision, frames, chosen)
    assert perception.account.dropped.get(DropCause.OUT_OF_ORDER, 0) == 0


def check_best(decision, frames, chosen):
    """No EO frame known at the decision matches better than the one taken."""

    def distance(eo):
        return abs(decision.ir.stamp_ns - eo.stamp_ns - chosen.eo_offset_ns)

    known = [one for one in frames if one.modality is EO and one.arrival_ns < decision.decided_ns]
    nearest = min((distance(one) for one in known), default=None)
    if decision.eo:
        assert nearest is None or distance(decision.eo) <= nearest
    elif nearest is not None:
        assert nearest > chosen.slop_ns
