"""What a camera with faults sends when: a pure function of the schedule."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fault_schedule import Fault, FaultSchedule

SPOILING = frozenset({
    "black", "blown out", "flat", "truncated", "wrong step", "unknown encoding", "absurd size",
    "sixteen bit", "big endian", "other size", "empty",
})  # fmt: skip
"""The kinds that change the message itself."""

_LOOKAHEAD_S = 2.0


@dataclass(frozen=True, order=True)
class Shot:
    """One message.

    Attributes:
        send_s: when it is to be sent, seconds since the beginning.
        number: of the frame, rising with the time of exposure.
        stamp_s: the stamp, seconds since the beginning; None: 0 on the wire.
        content: frames with equal content numbers show exactly the same.
        spoilt: how the message is spoilt, out of `SPOILING`.
        copies: how often it is sent.
    """

    send_s: float
    number: int
    stamp_s: float | None = field(compare=False)
    content: int = field(compare=False)
    spoilt: tuple[str, ...] = field(default=(), compare=False)
    copies: int = field(default=1, compare=False)


def timeline(schedule: FaultSchedule, stream: str, rate_hz: float, *, seed: int = 0) -> Iterator[Shot]:
    """The messages of one camera in the order in which they are sent.

    Args:
        schedule: what goes wrong.
        stream: "eo" or "ir".
        rate_hz: of the camera without faults.
        seed: of jitter and loss.
    """
    held: list[Shot] = []
    for number in range(int(schedule.seconds * rate_hz) * 2):
        # Half steps, so that the number of a frame is the same whether or not the rate doubles.
        due_s = number / (2 * rate_hz)
        while held and held[0].send_s <= due_s - _LOOKAHEAD_S:
            yield heapq.heappop(held)
        faults = schedule.active(due_s, stream)
        names = {fault.kind for fault in faults}
        if number % 2 and "fast" not in names:
            continue
        rng = random.Random(f"{seed} {stream} {number}")
        if not _is_missing(faults, number // 2, rng):
            heapq.heappush(held, _shot(faults, number, due_s, rate_hz, rng))
    yield from sorted(held)


def _is_missing(faults: list[Fault], frame: int, rng: random.Random) -> bool:
    for fault in faults:
        if fault.kind == "stopped":
            return True
        if fault.kind == "slow" and frame % int(fault.parameters["every"]):
            return True
        if fault.kind == "lossy" and rng.random() < fault.parameters["share"]:
            return True
    return False


def _shot(faults: list[Fault], number: int, due_s: float, rate_hz: float, rng: random.Random) -> Shot:
    send_s, stamp_s, content = due_s, due_s, number
    missing = False
    for fault in faults:
        send_s = _send_time(fault, send_s, number, rate_hz, rng)
        stamp_s = _stamp(fault, stamp_s, number, rate_hz)
        missing |= fault.kind == "stamp missing"
        if fault.kind == "frozen":
            content = min(content, math.ceil(fault.start_s * 2 * rate_hz))
    return Shot(
        send_s,
        number,
        None if missing else stamp_s,
        content,
        tuple(fault.kind for fault in faults if fault.kind in SPOILING),
        2 if any(fault.kind == "duplicated" for fault in faults) else 1,
    )


def _send_time(fault: Fault, send_s: float, number: int, rate_hz: float, rng: random.Random) -> float:
    if fault.kind == "burst":
        return max(send_s, fault.end_s)
    if fault.kind == "jitter":
        return send_s + rng.uniform(0, fault.parameters["periods"] / rate_hz)
    if fault.kind == "late":
        return send_s + fault.parameters["seconds"]
    if fault.kind == "out of order" and number // 2 % 2 == 0:
        return send_s + 1.5 / rate_hz
    return send_s


def _stamp(fault: Fault, stamp_s: float, number: int, rate_hz: float) -> float:
    if fault.kind == "stamp equal":
        return stamp_s - (number // 2 % 2) / rate_hz
    if fault.kind == "stamp stuck":
        return fault.start_s
    if fault.kind == "stamp back":
        return stamp_s - fault.parameters["seconds"]
    if fault.kind in ("stamp forward", "stamp offset"):
        return stamp_s + fault.parameters["seconds"]
    if fault.kind == "stamp loop":
        return fault.start_s + (stamp_s - fault.start_s) % fault.parameters["seconds"]
    return stamp_s
