"""How the node would pair two observed streams, and which settings would pair them better. Imports no ROS."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

from csk_ros.modality import Modality
from csk_ros.perception import Frame, Perception
from csk_ros.ros.doctor_facts import Pairing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from csk_ros.perception import Decision, PerceptionSettings
    from csk_ros.ros.doctor_facts import Arrival

GOOD_SHARE = 0.9
"""Of the IR frames; less than this paired is worth a cure."""

CLOCKS_APART_S = 0.2
"""EO frames that come so much later or earlier after their stamp than IR frames have another clock."""

GREATEST_OFFSET_S = 10.0
"""The range of the node's parameters."""

_FEWEST_FRAMES = 5
_MARGIN = 1.2
_LATEST_S = 1.0
_EARLIEST_S = -0.02
_NS = 1_000_000_000


def observe_pairing(
    eo: Sequence[Arrival], ir: Sequence[Arrival], settings: PerceptionSettings
) -> Pairing | None:
    """Pair what came as the node would; None if there are too few frames, or frames without stamps.

    Where too few pair, or the clocks differ, the settings that would help are tried on the same frames.
    """
    if min(len(eo), len(ir)) < _FEWEST_FRAMES or min(a.stamp_ns for a in (*eo, *ir)) <= 0:
        return None
    settings = replace(settings, route=None)
    delays = [median(a.wall_ns - a.stamp_ns for a in stream) / _NS for stream in (eo, ir)]
    share, reason = pair_share(eo, ir, settings)
    pairing = Pairing(
        share=round(share, 3),
        reason=reason,
        lead_s=round(delays[0] - delays[1], 3),
        apart_s=round(_apart_s(eo, ir, settings.eo_offset_ns), 3),
        same_clock=all(_EARLIEST_S <= delay <= _LATEST_S for delay in delays),
    )
    if share >= GOOD_SHARE and not clocks_apart(pairing, settings.eo_offset_ns / _NS):
        return pairing
    for cure in _cures(pairing, eo, ir, settings):
        cured, _ = pair_share(eo, ir, _with(settings, cure))
        if cured >= GOOD_SHARE:
            return replace(pairing, cure=cure, cured_share=round(cured, 3))
    return pairing


def clocks_apart(pairing: Pairing, eo_time_offset: float) -> bool:
    """Whether the two streams are stamped by clocks that differ by more than the offset makes up for."""
    return abs(pairing.lead_s - eo_time_offset) > CLOCKS_APART_S


def pair_share(
    eo: Sequence[Arrival], ir: Sequence[Arrival], settings: PerceptionSettings
) -> tuple[float, str]:
    """The share of IR frames that get an EO frame, and the most frequent reason why one does not."""
    start = max(eo[0].steady_ns, ir[0].steady_ns)
    decisions = [
        decision
        for decision in _decisions(eo, ir, settings)
        if decision.ir and decision.ir.arrival_ns >= start
    ]
    alone = Counter(decision.reason.value for decision in decisions if decision.eo is None)
    reason = alone.most_common(1)[0][0] if alone else ""
    return 1 - alone.total() / len(decisions) if decisions else 0.0, reason


def _decisions(
    eo: Sequence[Arrival], ir: Sequence[Arrival], settings: PerceptionSettings
) -> Iterator[Decision[None]]:
    perception: Perception[None] = Perception(settings)
    frames = [
        Frame(modality, arrival.stamp_ns, arrival.steady_ns, None)
        for modality, arrivals in ((Modality.EO, eo), (Modality.IR, ir))
        for arrival in arrivals
    ]
    for frame in sorted(frames, key=lambda frame: frame.arrival_ns):
        yield from _until(perception, frame.arrival_ns)
        yield from perception.arrive(frame)


def _until(perception: Perception[None], now_ns: int) -> Iterator[Decision[None]]:
    """What is decided by time passing before the next arrival."""
    while (deadline := perception.next_deadline_ns()) is not None and deadline < now_ns:
        yield from perception.advance(deadline)


def _apart_s(eo: Sequence[Arrival], ir: Sequence[Arrival], offset_ns: int) -> float:
    """The stamp difference to the nearest EO frame that 95 % of the IR frames stay within.

    Only IR frames between the first and the last EO frame count, if there are any.
    """
    stamps = sorted(arrival.stamp_ns + offset_ns for arrival in eo)
    inside = [a.stamp_ns for a in ir if stamps[0] <= a.stamp_ns <= stamps[-1]]
    apart = sorted(_nearest(stamps, stamp) for stamp in inside or [a.stamp_ns for a in ir])
    return apart[int(0.95 * (len(apart) - 1))] / _NS


def _nearest(stamps: list[int], stamp: int) -> int:
    place = bisect_left(stamps, stamp)
    return min(abs(other - stamp) for other in stamps[max(place - 1, 0) : place + 1])


def _cures(
    pairing: Pairing, eo: Sequence[Arrival], ir: Sequence[Arrival], settings: PerceptionSettings
) -> Iterator[dict[str, float]]:
    """Settings to try, the likeliest first."""
    offset = {"eo_time_offset": round(pairing.lead_s, 2)}
    slop = _slop(eo, ir, settings.eo_offset_ns)
    offset_slop = _slop(eo, ir, round(pairing.lead_s * _NS))
    wait = {"max_wait": round(max(pairing.lead_s, 0.0) * _MARGIN + settings.slop_ns / _NS, 2)}
    waiting: list[dict[str, float]] = [slop, wait, slop | wait]
    shifting: list[dict[str, float]] = [offset, offset | offset_slop]
    if clocks_apart(pairing, settings.eo_offset_ns / _NS):
        # EO may also really come that late: by the clock of this machine it looks so, if it is near enough.
        cures = [*shifting, *waiting] if not pairing.same_clock else [wait, slop | wait, *shifting]
    else:
        cures = [*waiting, *shifting]
    for cure in cures:
        if max(map(abs, cure.values())) <= GREATEST_OFFSET_S:
            yield cure


def _slop(eo: Sequence[Arrival], ir: Sequence[Arrival], offset_ns: int) -> dict[str, float]:
    return {"slop": round(_apart_s(eo, ir, offset_ns) * _MARGIN + 0.001, 3)}


def _with(settings: PerceptionSettings, cure: dict[str, float]) -> PerceptionSettings:
    names = {"slop": "slop_ns", "eo_time_offset": "eo_offset_ns", "max_wait": "max_wait_ns"}
    changes: dict[str, Any] = {names[name]: round(seconds * _NS) for name, seconds in cure.items()}
    return replace(settings, **changes)
