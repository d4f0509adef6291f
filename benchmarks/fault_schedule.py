"""Which faults happen when: a pure function of a seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EO, IR, NODE = "eo", "ir", "node"
CAMERAS = (EO, IR)


@dataclass(frozen=True)
class Kind:
    """What can go wrong.

    Attributes:
        what: one line for the report.
        streams: "eo" and "ir" for a camera, "node" for the node itself.
        seconds: shortest and longest duration.
        parameters: least and greatest value of each number that is drawn.
        recovers_s: quiet time that the node gets afterwards before another fault of the node.
    """

    what: str
    streams: tuple[str, ...] = CAMERAS
    seconds: tuple[float, float] = (1.0, 4.0)
    parameters: Mapping[str, tuple[float, float]] | None = None
    recovers_s: float = 0.0


KINDS: Mapping[str, Kind] = {
    "stopped": Kind("nothing is sent"),
    "slow": Kind("only every n-th frame is sent", parameters={"every": (3, 8)}),
    "fast": Kind("twice the frame rate"),
    "lossy": Kind("frames are missing at random", parameters={"share": (0.1, 0.6)}),
    "burst": Kind("a pause, then all of its frames at once", seconds=(0.3, 1.5)),
    "jitter": Kind("frames come late by a random time", parameters={"periods": (0.5, 3.0)}),
    "late": Kind("all frames come late, with their old stamps", parameters={"seconds": (0.1, 0.8)}),
    "out of order": Kind("every second frame comes after the next one"),
    "duplicated": Kind("every message comes twice"),
    "stamp missing": Kind("stamp 0"),
    "stamp equal": Kind("two frames share a stamp"),
    "stamp stuck": Kind("the stamp stands still"),
    "stamp back": Kind("the clock of the stamps is set back", parameters={"seconds": (0.6, 3600.0)}),
    "stamp forward": Kind("the clock of the stamps is set forward", parameters={"seconds": (0.6, 3600.0)}),
    "stamp offset": Kind("stamps are off by a constant", parameters={"seconds": (-0.3, 0.3)}),
    "stamp loop": Kind("stamps start over again and again", parameters={"seconds": (0.6, 1.5)}),
    "frozen": Kind("the content repeats exactly"),
    "black": Kind("all pixels are dark"),
    "blown out": Kind("all pixels are bright"),
    "flat": Kind("no contrast"),
    "truncated": Kind("half of the data is missing"),
    "wrong step": Kind("the row length contradicts the width"),
    "unknown encoding": Kind("an encoding that nobody knows"),
    "absurd size": Kind("a header that claims 4,294,967,295 x 4,294,967,295 pixels"),
    "sixteen bit": Kind("16-bit grey where 8 bits were"),
    "big endian": Kind("16-bit grey in big-endian order"),
    "other size": Kind("half the resolution"),
    "empty": Kind("no pixels at all"),
    "publisher restarted": Kind("the publisher is destroyed and made anew", seconds=(0.1, 1.0)),
    "other qos": Kind("the publisher comes back best effort, later reliable again", seconds=(2.0, 5.0)),
    "second publisher": Kind("another publisher on the topic"),
    "killed": Kind("SIGKILL of the camera's process; a new one is started", seconds=(0.5, 3.0)),
    "engine fails once": Kind("one frame raises in the engine", (NODE,), (0.5, 0.5), recovers_s=10.0),
    "engine fails": Kind("every frame raises in the engine", (NODE,), (0.5, 2.0), recovers_s=20.0),
    "engine hangs": Kind("the engine does not come back", (NODE,), (8.0, 9.0), recovers_s=25.0),
    "deactivated": Kind("deactivated and activated again", (NODE,), (0.5, 3.0), recovers_s=5.0),
    "parameters": Kind("parameters change while frames come, some to values that are refused", (NODE,)),
}


@dataclass(frozen=True)
class Fault:
    """One fault: from `start_s` until `end_s`, seconds since the beginning, on a stream."""

    start_s: float
    end_s: float
    stream: str
    kind: str
    parameters: Mapping[str, float]


class FaultSchedule:
    """Faults over time, any mix of them at once, equal for equal arguments.

    Every kind on every stream of it is dealt once, in random order, before any comes again. A fault of the
    node waits until the one before is over and recovered from; faults of one camera may overlap.

    Args:
        seed: of everything that is drawn.
        seconds: length; no fault lasts longer.
        every_s: mean time between the beginnings of two faults.
        quiet_s: time without faults at the beginning and the end.
        kinds: names out of `KINDS`; None: all.

    Raises:
        ValueError: for an unknown kind, or a time that is no positive number.
    """

    def __init__(
        self,
        seed: int,
        seconds: float,
        *,
        every_s: float = 4.0,
        quiet_s: float = 10.0,
        kinds: Iterable[str] | None = None,
    ) -> None:
        names = list(KINDS) if kinds is None else list(kinds)
        unknown = [name for name in names if name not in KINDS]
        if unknown:
            raise ValueError(f"unknown fault {', '.join(unknown)}: there are {', '.join(KINDS)}")
        if not (every_s > 0 and math.isfinite(seconds) and seconds > 0):
            raise ValueError(f"seconds {seconds} and every_s {every_s} must be positive")
        self.seconds = seconds
        self.faults = tuple(_deal(random.Random(seed), seconds - quiet_s, every_s, quiet_s, names))

    def active(self, at_s: float, stream: str) -> list[Fault]:
        """The faults of a stream at a moment, in the order in which they began."""
        return [
            fault for fault in self.faults if fault.stream == stream and fault.start_s <= at_s < fault.end_s
        ]


def named_kinds(text: str | None) -> list[str] | None:
    """The `kinds` of a `FaultSchedule` from an option: commas between them, "none", or None for all."""
    if text is None:
        return None
    return [] if text == "none" else text.split(",")


def _deal(rng: random.Random, end_s: float, every_s: float, start_s: float, names: list[str]) -> list[Fault]:
    faults: list[Fault] = []
    deck: list[tuple[str, str]] = []
    kept_back: list[tuple[str, str]] = []
    node_from_s = start_s
    now = start_s
    while names:
        now += rng.uniform(0.2, 1.8) * every_s
        if now >= end_s:
            break
        if kept_back and now >= node_from_s:
            name, stream = kept_back.pop(0)
        else:
            deck = deck or rng.sample(whole := _whole_deck(names), len(whole))
            name, stream = deck.pop()
        if stream == NODE and now < node_from_s:
            kept_back.append((name, stream))
            continue
        fault = _draw(rng, now, end_s, stream, name)
        if stream == NODE:
            node_from_s = fault.end_s + KINDS[name].recovers_s
        faults.append(fault)
    return faults


def _whole_deck(names: list[str]) -> list[tuple[str, str]]:
    return [(name, stream) for name in names for stream in KINDS[name].streams]


def _draw(rng: random.Random, start_s: float, end_s: float, stream: str, name: str) -> Fault:
    kind = KINDS[name]
    lasts_s = rng.uniform(*kind.seconds)
    parameters = {key: rng.uniform(*limits) for key, limits in (kind.parameters or {}).items()}
    return Fault(start_s, min(start_s + lasts_s, end_s), stream, name, parameters)
