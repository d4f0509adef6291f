"""What a soak run saw, in bounded memory, and the judgement on it. No ROS here."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from csk_ros.perception import Durations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fault_schedule import FaultSchedule

_REMEMBERED = 2048
_MOST_SAMPLES = 4096
_OF_A_CAMERA = re.compile(r"(eo|ir) (\d+) (\d+)")
CALM = "no fault"


@dataclass(frozen=True)
class Limits:
    """What is still good.

    Attributes:
        p99_ms: of the latency from an image being sent to its mask being received.
        worst_ms: of the same.
        memory_growth: of the node's resident memory from warm-up to the end, as a share.
    """

    p99_ms: float = 500.0
    worst_ms: float = 5000.0
    memory_growth: float = 0.05


@dataclass(frozen=True)
class Line:
    """One line of the judgement."""

    what: str
    good: bool
    seen: str


class NodeAccount:
    """Adds up the node's counters over its activations, each of which counts from 0.

    The node reports once more when an activation ends, so nothing is missing between two of them.
    """

    def __init__(self) -> None:
        self._ended: Counter[str] = Counter()
        self._present: Counter[str] = Counter()
        self.unbalanced: list[dict[str, int]] = []

    def report(self, values: Mapping[str, int]) -> None:
        """Take the counters of one diagnostics message."""
        now = Counter(values)
        if not _balanced(now):
            self.unbalanced = [*self.unbalanced[:4], dict(values)]
        if any(now[name] < self._present[name] for name in ("ir_received", "eo_received", "answered")):
            self._ended += self._present
        self._present = now

    @property
    def totals(self) -> Counter[str]:
        """All counters over all activations."""
        return self._ended + self._present


def _balanced(values: Counter[str]) -> bool:
    dropped = sum(count for name, count in values.items() if name.startswith("dropped_"))
    outcomes = values["answered"] + dropped + values["in_hand"] + values["ir_unusable"] + values["ir_unused"]
    return values["ir_received"] + values["eo_anchors"] == outcomes


class Memory:
    """Resident memory over time, thinned out so that it stays bounded."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._every = 1
        self._seen = 0

    def add(self, at_s: float, mib: float) -> None:
        """Take one sample."""
        self._seen += 1
        if self._seen % self._every == 0:
            self.samples.append((at_s, mib))
        if len(self.samples) > _MOST_SAMPLES:
            self.samples = self.samples[::2]
            self._every *= 2

    def growth(self, warm_up_s: float) -> dict[str, float]:
        """Least-squares slope and the growth from the first to the last tenth, after the warm-up."""
        later = [sample for sample in self.samples if sample[0] >= warm_up_s]
        if len(later) < 10:
            return {}
        tenth = max(len(later) // 10, 3)
        first, last = (median(mib for _, mib in part) for part in (later[:tenth], later[-tenth:]))
        mean_t = sum(t for t, _ in later) / len(later)
        mean_m = sum(m for _, m in later) / len(later)
        spread = sum((t - mean_t) ** 2 for t, _ in later)
        slope = sum((t - mean_t) * (m - mean_m) for t, m in later) / spread
        return {
            "first_mib": first,
            "last_mib": last,
            "growth": last / first - 1,
            "slope_mib_per_minute": 60 * slope,
            "most_mib": max(m for _, m in later),
        }


@dataclass
class KindOutcome:
    """What happened to the frames that were sent while faults of one kind were in force."""

    masks: Counter[str] = field(default_factory=Counter)
    latency: Durations = field(default_factory=Durations)


class Tally:
    """Everything that is heard, by the schedule's time.

    Args:
        schedule: what went wrong when.
        start_ns: its beginning on the steady clock.
    """

    def __init__(self, schedule: FaultSchedule, start_ns: int) -> None:
        self._schedule, self._start_ns = schedule, start_ns
        self.account = NodeAccount()
        self.memory = Memory()
        self.latency = Durations()
        self.masks: Counter[str] = Counter()
        self.answered_twice = 0
        self.switches: Counter[str] = Counter()
        self.latest_switches: deque[str] = deque(maxlen=40)
        self.by_kind: dict[str, KindOutcome] = {}
        self.node_states: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self._recent: deque[str] = deque(maxlen=_REMEMBERED)
        self._known: set[str] = set()
        self._route = ""
        self._sent_before: dict[str, int] = {}
        self._received_before: Counter[str] = Counter()

    def seconds(self, now_ns: int) -> float:
        """The schedule's time."""
        return (now_ns - self._start_ns) / 1e9

    def mask(self, frame_id: str, now_ns: int) -> None:
        """Take a mask by the frame_id that it carries."""
        match = _OF_A_CAMERA.fullmatch(frame_id)
        if match is None:
            raise ValueError(f"a mask of frame '{frame_id}', which no camera sent")
        if frame_id in self._known:
            self.answered_twice += 1
        self._remember(frame_id)
        stream, sent_ns = match[1], int(match[3])
        self.masks[stream] += 1
        self.latency.add(now_ns - sent_ns)
        for kind in self._kinds(sent_ns):
            outcome = self.by_kind.setdefault(kind, KindOutcome())
            outcome.masks[stream] += 1
            outcome.latency.add(now_ns - sent_ns)

    def route(self, route: str, now_ns: int, why: str) -> None:
        """Take a switch of the route, with what the diagnostics said of the streams last."""
        if self._route and route != self._route:
            kinds = ", ".join(self._kinds(now_ns))
            self.switches[f"{self._route} to {route}"] += 1
            self.latest_switches.append(
                f"{self.seconds(now_ns):.1f} s: {self._route} to {route} ({why}; {kinds})"
            )
        self._route = route

    def report(self, state: str, counters: Mapping[str, int], sent: Mapping[str, int]) -> None:
        """Take one diagnostics message, and what the cameras had sent when it came."""
        self.node_states[state] += 1
        if counters:
            self.account.report(counters)
        received = Counter({name: self.account.totals[f"{name}_received"] for name in sent})
        for stream, count in sent.items():
            gone = count - self._sent_before.get(stream, 0)
            gone -= received[stream] - self._received_before[stream]
            self.lost[f"{stream} {state or 'not heard'}"] += gone
        self._sent_before, self._received_before = dict(sent), received

    def _kinds(self, at_ns: int) -> list[str]:
        at_s = self.seconds(at_ns)
        kinds = [
            f"{fault.stream} {fault.kind}"
            for stream in ("eo", "ir", "node")
            for fault in self._schedule.active(at_s, stream)
        ]
        return kinds or [CALM]

    def _remember(self, frame_id: str) -> None:
        if len(self._recent) == self._recent.maxlen:
            self._known.discard(self._recent[0])
        self._recent.append(frame_id)
        self._known.add(frame_id)


def judge(tally: Tally, ending: Mapping[str, Any], limits: Limits, *, warm_up_s: float) -> list[Line]:
    """The lines that decide.

    Args:
        tally: of the run.
        ending: "exit_code", "log" (text) of the node, "sent" by stream.
        limits: what is still good.
        warm_up_s: after which memory counts.
    """
    totals = tally.account.totals
    latency = tally.latency.percentiles()
    p99, worst = latency.p99_ns / 1e6, latency.greatest_ns / 1e6
    memory = tally.memory.growth(warm_up_s)
    sent = ending["sent"]
    surplus = {stream: totals[f"{stream}_received"] - sent[stream] for stream in sent}
    tracebacks = ending["log"].count("Traceback")
    unheard = totals["answered"] - sum(tally.masks.values())
    return [
        Line("no crash", ending["exit_code"] == 0, f"exit code {ending['exit_code']}"),
        Line("no traceback", tracebacks == 0, f"{tracebacks} in the log"),
        Line(
            "every frame received is answered or counted",
            not tally.account.unbalanced and totals["ir_received"] > 0,
            f"{len(tally.account.unbalanced)} reports whose counts do not add up",
        ),
        Line("nothing in hand at the end", ending["in_hand"] == 0, f"{ending['in_hand']} frames"),
        Line("no frame answered twice", tally.answered_twice == 0, f"{tally.answered_twice} frames"),
        Line(
            "no frame counted that was not sent",
            max(surplus.values()) <= 0,
            ", ".join(f"{stream} {count:+d}" for stream, count in surplus.items()),
        ),
        Line(
            "every answer counted was heard",
            0 <= unheard <= max(1, totals["answered"] // 1000),
            f"{totals['answered']} counted, {sum(tally.masks.values())} heard",
        ),
        Line(f"p99 of the latency is at most {limits.p99_ms:.0f} ms", p99 <= limits.p99_ms, f"{p99:.0f} ms"),
        Line(f"worst latency at most {limits.worst_ms:.0f} ms", worst <= limits.worst_ms, f"{worst:.0f} ms"),
        Line(
            f"memory grows by less than {100 * limits.memory_growth:.0f} % after {warm_up_s:.0f} s",
            bool(memory) and memory["growth"] < limits.memory_growth,
            f"{memory['first_mib']:.0f} to {memory['last_mib']:.0f} MiB ({100 * memory['growth']:+.1f} %), "
            f"{memory['slope_mib_per_minute']:+.2f} MiB per minute"
            if memory
            else "too short to tell",
        ),
    ]


def log_reasons(log: Iterable[str]) -> dict[str, int]:
    """How often the node named each reason, from its log."""
    found: Counter[str] = Counter()
    patterns = (r"((?:eo|ir) unusable: .*)", r"(engine given up): ", r"((?:eo|ir) image refused)")
    for line in log:
        for pattern in patterns:
            if match := re.search(pattern, line):
                found[match[1].strip()] += 1
    return dict(found.most_common())


def as_dict(
    tally: Tally, lines: Sequence[Line], ending: Mapping[str, Any], warm_up_s: float
) -> dict[str, Any]:
    """The whole report in plain types."""
    totals = tally.account.totals
    answered = max(totals["answered"], 1)
    return {
        "good": all(line.good for line in lines),
        "judgement": [vars(line) for line in lines],
        "sent": dict(ending["sent"]),
        "counters": dict(sorted(totals.items())),
        "not_received": {name: count for name, count in sorted(tally.lost.items()) if count},
        "latency_ms": tally.latency.percentiles().as_dict(),
        "route_shares": {
            name: totals[f"answered_{name}"] / answered for name in ("fused", "ir_only", "eo_only")
        },
        "switches": dict(tally.switches),
        "latest_switches": list(tally.latest_switches),
        "reasons": log_reasons(ending["log"].splitlines()),
        "memory": tally.memory.growth(warm_up_s),
        "diagnostics_by_state": dict(tally.node_states),
        "unbalanced": tally.account.unbalanced,
        "by_fault": {
            kind: {
                "masks_of_ir": outcome.masks["ir"],
                "masks_of_eo": outcome.masks["eo"],
                "latency_ms": outcome.latency.percentiles().as_dict(),
            }
            for kind, outcome in sorted(tally.by_kind.items())
        },
    }


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report in short."""
    latency, counters = report["latency_ms"], report["counters"]
    dropped = ", ".join(
        f"{name.removeprefix('dropped_').replace('_', ' ')} {count}"
        for name, count in counters.items()
        if name.startswith("dropped_") and count
    )
    shares = ", ".join(
        f"{name.upper()} {100 * share:.1f} %" for name, share in report["route_shares"].items()
    )
    lost = ", ".join(f"{name} {count}" for name, count in report["not_received"].items())
    text = ["| line | | seen |", "|---|---|---|"]
    text += [
        f"| {line['what']} | {'good' if line['good'] else 'FAILED'} | {line['seen']} |"
        for line in report["judgement"]
    ]
    text += [
        "",
        (
            f"- sent: {report['sent']}; received: IR {counters.get('ir_received', 0)}, "
            f"EO {counters.get('eo_received', 0)}"
        ),
        f"- not received, by the node's state: {lost or 'none'}",
        f"- answered {counters.get('answered', 0)} ({shares}); dropped: {dropped or 'none'}",
        (
            f"- latency p50 {latency['p50']:.0f}, p95 {latency['p95']:.0f}, p99 {latency['p99']:.0f}, "
            f"worst {latency['max']:.0f} ms"
        ),
        f"- switches: {report['switches']}",
        f"- reasons: {report['reasons']}",
        "",
        "| fault in force when the frame was sent | masks of IR | masks of EO | p50 ms | p99 ms |",
        "|---|---|---|---|---|",
    ]
    text += [
        f"| {kind} | {seen['masks_of_ir']} | {seen['masks_of_eo']} | {seen['latency_ms']['p50']:.0f} "
        f"| {seen['latency_ms']['p99']:.0f} |"
        for kind, seen in report["by_fault"].items()
    ]
    return "\n".join(text) + "\n"
