"""The promise of the fallback: how soon after EO's last frame thermal goes alone, and how it comes back."""

from __future__ import annotations

import random

import pytest
from frame_streams import EO, IR, Drive, merged, stream

from csk_ros.modality import Route
from csk_ros.perception import Perception

CUT_MS, BACK_MS, END_MS = 3000, 5000, 6500


def cut_drive(eo_hz, ir_hz, rng, jitter):
    """Decisions of a drive with EO away between CUT and BACK, and the frames of both streams."""
    phase = rng.uniform(0, 1000 / eo_hz)
    common = {"latency_ms": rng.uniform(1, 15), "jitter_ms": jitter * 1000 / eo_hz, "seed": rng.random()}
    eo = stream(EO, eo_hz, 1000 + phase, CUT_MS, **common)
    back = stream(EO, eo_hz, BACK_MS + phase, END_MS, **common)
    ir = stream(IR, ir_hz, 1000, END_MS, latency_ms=rng.uniform(1, 15))
    driven = Drive(Perception()).feed(merged(eo, back, ir))
    return driven.finish(), eo[-1].arrival_ns, back


@pytest.mark.parametrize("ir_hz", [9, 30, 60])
@pytest.mark.parametrize("eo_hz", [5, 10, 30, 60, 120])
@pytest.mark.parametrize("jitter", [0, 0.2])
def test_thermal_goes_alone_in_time_and_eo_is_taken_back(eo_hz, ir_hz, jitter):
    """At most 1.5 EO periods + 1 IR period after the last EO frame; back within the frames asked for."""
    rng = random.Random(f"{eo_hz}/{ir_hz}/{jitter}")
    eo_period, ir_period = 1e9 / eo_hz, 1e9 / ir_hz
    for _ in range(12):
        decisions, last_eo, back = cut_drive(eo_hz, ir_hz, rng, jitter)
        outage = [d for d in decisions if last_eo < d.decided_ns < back[0].arrival_ns]
        first = next(d for d in outage if d.route is Route.IR_ONLY)
        assert first.decided_ns - last_eo <= 1.5 * eo_period + ir_period
        alone = outage[outage.index(first) :]
        assert {d.route for d in alone} == {Route.IR_ONLY}
        measured = eo_period * (1 + jitter / 3)  # jitter shows in the period that is measured
        stale = [d for d in alone if d.ir.arrival_ns >= last_eo + 1.5 * measured]
        assert all(d.decided_ns == d.ir.arrival_ns for d in stale)
        assert len(stale) >= (back[0].arrival_ns - last_eo - 1.5 * measured) / ir_period - 1
        fused = next(d for d in decisions if d.decided_ns > back[0].arrival_ns and d.route is Route.FUSED)
        assert fused.decided_ns - back[0].arrival_ns <= (2 + jitter) * max(eo_period, ir_period) + ir_period
