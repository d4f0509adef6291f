"""Builds streams of frames and drives them through perception as a punctual caller would."""

from __future__ import annotations

import random

from csk_ros.modality import Modality
from csk_ros.perception import Decision, Frame, Perception

MS = 1_000_000
SECOND = 1000 * MS
EO, IR = Modality.EO, Modality.IR


def frame(modality, stamp_ms, arrival_ms=None, payload=None):
    arrival_ms = stamp_ms if arrival_ms is None else arrival_ms
    return Frame(modality, round(stamp_ms * MS), round(arrival_ms * MS), payload)


def stream(
    modality, rate_hz, start_ms, end_ms, *, latency_ms=5.0, jitter_ms=0.0, loss=0.0, seed=0, shift_ms=0.0
):
    """Frames at a steady rate, stamped `shift_ms` beside the arrival clock, in arrival order."""
    rng = random.Random(seed)
    frames, arrival, index = [], 0.0, 0
    while (capture := start_ms + index * 1000 / rate_hz) < end_ms:
        index += 1
        arrival = max(arrival, capture + latency_ms + rng.uniform(0, jitter_ms))
        if rng.random() >= loss:
            frames.append(frame(modality, capture + shift_ms, arrival))
    return frames


def merged(*streams):
    return sorted((one for frames in streams for one in frames), key=lambda one: one.arrival_ns)


class Drive:
    """Feeds frames in order, and calls `advance` exactly at each deadline."""

    def __init__(self, perception: Perception):
        self.perception = perception
        self.decisions: list[Decision] = []

    def until(self, now_ns):
        while (deadline := self.perception.next_deadline_ns()) is not None and deadline <= now_ns:
            self.decisions += self.perception.advance(deadline)

    def feed(self, frames):
        for one in frames:
            self.until(one.arrival_ns)
            self.decisions += self.perception.arrive(one)
        return self

    def finish(self):
        while (deadline := self.perception.next_deadline_ns()) is not None:
            self.decisions += self.perception.advance(deadline)
        return self.decisions


def drive(frames, settings=None):
    """All decisions for these frames."""
    return Drive(Perception(settings)).feed(frames).finish()


def outcomes(decisions):
    return [(d.ir and d.ir.stamp_ns, d.eo and d.eo.stamp_ns, d.route, d.reason) for d in decisions]
