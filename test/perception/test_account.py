from __future__ import annotations

import json
import random

import pytest
from frame_streams import EO, IR, MS, frame

from csk_ros.modality import Route
from csk_ros.perception import DropCause, Durations, Perception, PerceptionSettings, Reason


def lone_decision(perception, stamp_ms=3000):
    """An IR frame long after EO was awaited, so decided at once."""
    (decision,) = perception.arrive(frame(IR, stamp_ms))
    return decision


def test_percentiles_are_close_and_memory_is_bounded():
    rng = random.Random(1)
    values = [int(rng.lognormvariate(17, 1)) for _ in range(20_000)]
    durations = Durations()
    for value in values:
        durations.add(value)
    seen = durations.percentiles()
    values.sort()
    for percent, value in ((50, seen.p50_ns), (95, seen.p95_ns), (99, seen.p99_ns)):
        assert value == pytest.approx(values[len(values) * percent // 100 - 1], rel=0.01)
    assert (seen.count, seen.greatest_ns) == (20_000, values[-1])
    assert len(durations._buckets) < 2000


def test_percentiles_of_few_durations():
    durations = Durations()
    assert durations.percentiles().p99_ns == 0
    durations.add(-5)
    assert durations.percentiles().p99_ns == 0
    durations.add(7)
    assert durations.percentiles().p50_ns == 0
    assert durations.percentiles().p99_ns == durations.percentiles().greatest_ns == 7


def test_answer_and_latency_are_booked():
    perception = Perception(start_ns=0)
    decision = lone_decision(perception)
    assert perception.account.in_hand == 1
    perception.answered(decision, 3040 * MS)
    account = perception.account
    assert account.answered == {Route.IR_ONLY: 1}
    assert account.reasons == {Reason.EO_ABSENT: 1}
    assert account.in_hand == 0
    assert account.latency.p50_ns == pytest.approx(40 * MS, rel=0.01)
    assert account.balanced


def test_the_route_that_made_the_mask_counts():
    perception = Perception()
    perception.arrive(frame(EO, 1000))
    (decision,) = perception.arrive(frame(IR, 1000, 1001))
    assert decision.route is Route.FUSED
    perception.answered(decision, 1100 * MS, route=Route.IR_ONLY)
    assert perception.account.answered == {Route.IR_ONLY: 1}


def test_an_outcome_is_told_once():
    perception = Perception(start_ns=0)
    decision = lone_decision(perception)
    perception.dropped(decision, DropCause.SUPERSEDED)
    with pytest.raises(ValueError, match="decision 1 is not open"):
        perception.answered(decision, 1)
    with pytest.raises(ValueError, match="told already"):
        perception.dropped(decision, DropCause.ENGINE_FAILED)
    assert perception.account.dropped == {DropCause.SUPERSEDED: 1}


def test_refused_messages_are_counted_and_keep_nothing_alive():
    perception = Perception(start_ns=0)
    perception.refused(EO, 1000 * MS)
    perception.refused(EO, 1001 * MS, DropCause.DUPLICATE)
    eo = perception.account.streams[EO]
    assert (eo.received, eo.refused) == (2, {DropCause.UNREADABLE: 1, DropCause.DUPLICATE: 1})
    assert lone_decision(perception).reason is Reason.EO_ABSENT
    assert perception.account.balanced


def test_eo_frames_are_used_unused_or_held():
    perception = Perception()
    for stamp in (1000, 1033, 1066):
        perception.arrive(frame(EO, stamp))
    assert perception.account.streams[EO].held == 3
    perception.arrive(frame(IR, 1066, 1067))
    perception.arrive(frame(IR, 1070, 1071))
    eo = perception.account.streams[EO]
    assert (eo.received, eo.used, eo.unused, eo.held) == (3, 1, 2, 0)


def test_shutdown_drops_what_is_in_hand():
    perception = Perception()
    perception.arrive(frame(EO, 1000))
    perception.arrive(frame(IR, 1000))
    perception.arrive(frame(IR, 1033))
    assert (perception.account.waiting, perception.account.unanswered) == (1, 1)
    account = perception.shutdown()
    assert account.dropped == {DropCause.SHUTDOWN: 2}
    assert account.in_hand == 0
    assert account.balanced
    assert perception.next_deadline_ns() is None


def test_an_account_that_does_not_add_up_says_so():
    perception = Perception(start_ns=0)
    lone_decision(perception)
    perception._ledger.dropped[DropCause.SUPERSEDED] += 1
    assert not perception.account.balanced


def test_account_as_json():
    perception = Perception(start_ns=0)
    perception.answered(lone_decision(perception), 3040 * MS)
    plain = json.loads(json.dumps(perception.account.as_dict()))
    assert plain["answered"] == {"IR_ONLY": 1}
    assert plain["streams"]["ir"]["received"] == 1
    assert plain["latency_ms"]["p50"] == pytest.approx(40, rel=0.01)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slop_ns", -1), ("max_wait_ns", -1), ("first_timeout_ns", 0), ("return_frames", 0),
        ("jump_back_ns", -1), ("eo_buffer", 0), ("max_waiting", 0), ("stale_periods", 1.0),
        ("ir_stale_periods", float("nan")),
    ],
)  # fmt: skip
def test_settings_out_of_range_name_the_field(field, value):
    with pytest.raises(ValueError, match=f"^{field} is {value}"):
        PerceptionSettings(**{field: value})
