from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csk_ros.modality import Modality, Route
from csk_ros.replay.recording import (
    ReceivedMask,
    Recording,
    RecordingError,
    RouteChange,
    SentFrame,
    count_dropped,
)

S = 1_000_000_000
MS = 1_000_000


def recording(masks, routes, *, sent=(), cuts=(), start_ns=100 * S):
    """``masks`` as (stamp, left, received) and ``routes`` as (left, route), in ns after the start."""
    return Recording(
        Path("drive"),
        Path("masks"),
        start_ns,
        0,
        tuple(cuts),
        tuple(sent),
        tuple(ReceivedMask(*(start_ns + time for time in mask)) for mask in masks),
        tuple(RouteChange(start_ns + left, route) for left, route in routes),
    )


@given(st.lists(st.sampled_from(list(Route)), min_size=1, max_size=30), st.permutations(range(30)))
def test_a_mask_has_the_last_route_that_left_before_it_whatever_arrived_first(truth, order):
    masks = [(i * S, i * S + 20, i * S + 30 + order[i]) for i in range(len(truth))]
    changes = [(i * S + 10, route) for i, route in enumerate(truth) if i == 0 or truth[i - 1] is not route]
    found = recording(masks, changes)
    assert [found.route_of[mask.stamp_ns] for mask in found.masks] == truth
    runs = [truth[0], *(b for a, b in itertools.pairwise(truth) if a is not b)]
    assert [span.route for span in found.spans] == runs
    assert found.spans[0].start_s == 0
    assert found.spans[-1].end_s == len(truth) - 1


def test_a_mask_without_a_route_is_an_error():
    with pytest.raises(RecordingError, match="before the node announced its route"):
        recording([(0, 10, 20)], [(11, Route.FUSED)]).spans  # noqa: B018 (a property that raises)


def _sent(modality, seconds):
    stamp_ns = 100 * S + round(seconds * S)
    return SentFrame(modality, stamp_ns, stamp_ns + 5 * MS, 0)


def test_switch_times_run_from_the_images_at_the_edges_of_the_cut():
    eo = [0, 1, 2, 6, 7]  # cut from 3 to 6
    sent = [_sent(Modality.EO, s) for s in eo] + [_sent(Modality.IR, s) for s in range(8)]
    masks = [(s * S, s * S + 90 * MS, s * S + 100 * MS) for s in range(8)]
    routes = [(0, Route.FUSED), (3 * S + 80 * MS, Route.IR_ONLY), (7 * S + 80 * MS, Route.FUSED)]
    found = recording(masks, routes, sent=sent, cuts=[(3, 6)])
    assert found.eo_loss_to_ir_only_ms() == [3100 - 2005]
    assert found.eo_return_to_fused_ms() == [7100 - 6005]
    assert found.latencies_ms == [100] * 8
    assert found.sent_ir == 8


def test_a_switch_that_did_not_happen_has_no_time():
    sent = [_sent(Modality.EO, s) for s in (0, 1, 5)]
    masks = [(s * S, s * S + 90 * MS, s * S + 100 * MS) for s in range(6)]
    stuck = recording(masks, [(0, Route.FUSED)], sent=sent, cuts=[(2, 5)])
    assert stuck.eo_loss_to_ir_only_ms() == []
    late = recording(masks, [(0, Route.FUSED), (5 * S + 50 * MS, Route.IR_ONLY)], sent=sent, cuts=[(2, 5)])
    assert late.eo_loss_to_ir_only_ms() == [], "an IR_ONLY mask after EO came back is no answer to its loss"
    assert late.eo_return_to_fused_ms() == []


def test_every_cause_of_dropping_counts():
    assert (
        count_dropped({"ir_received": 9, "answered": 4, "dropped_superseded": 3, "dropped_shutdown": 2}) == 5
    )
