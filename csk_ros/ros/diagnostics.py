"""The account of the frames and the state of the streams as ``diagnostic_msgs``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from csk_ros.modality import Modality
from csk_ros.perception import DropCause, StreamState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csk_ros.perception import Account, Percentiles, StreamReport

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
_MS = 1e-6


def node_status(state: str, problem: str, facts: Mapping[str, Any]) -> DiagnosticStatus:
    """The node itself: OK when active, ERROR with the reason when a transition failed, else WARN."""
    level = ERROR if problem else OK if state == "active" else WARN
    return _status("node", level, problem or state, {"state": state, **facts})


def frames_status(account: Account, problem: str = "", *, severe: bool = False) -> DiagnosticStatus:
    """What became of every frame.

    ``ir_received`` and ``eo_received`` together are answered, dropped (by cause), ``eo_refused``,
    ``eo_unusable``, ``ir_unusable``, in hand, or ``no_anchor``: the partners, of use or not.

    Of these, ``ir_received`` + ``eo_anchors`` is the sum of what was answered, dropped, in hand, and the IR
    frames that were set aside: ``ir_unusable``, and ``ir_unused`` by a forced EO-only route.
    """
    ir, eo = account.streams[Modality.IR], account.streams[Modality.EO]
    dropped = dict(account.dropped)
    for cause, count in ir.refused.items():
        dropped[cause] = dropped.get(cause, 0) + count
    answered = sum(account.answered.values())
    values: dict[str, Any] = {
        "ir_received": ir.received,
        "eo_received": eo.received,
        "eo_refused": sum(eo.refused.values()),
        "eo_unusable": eo.unusable,
        "ir_unusable": ir.unusable,
        "no_anchor": sum(stream.used + stream.unused + stream.held for stream in (eo, ir)),
        "eo_anchors": eo.anchors,
        "ir_unused": ir.unused,
        "answered": answered,
        **{f"answered_{route.value.lower()}": count for route, count in account.answered.items()},
        **{f"dropped_{cause.name.lower()}": dropped.get(cause, 0) for cause in DropCause},
        "in_hand": account.in_hand,
        **{f"latency_{name}_ms": f"{ns * _MS:.1f}" for name, ns in (
            ("p50", account.latency.p50_ns), ("p95", account.latency.p95_ns), ("p99", account.latency.p99_ns)
        )},
    }  # fmt: skip
    for route, count in account.answered.items():
        values[f"share_{route.value.lower()}_percent"] = f"{100 * count / max(answered, 1):.1f}"
    level = OK if not problem else ERROR if severe else WARN
    message = problem or f"{answered} answered, {sum(dropped.values())} dropped"
    return _status("frames", level, message, values)


def speed_status(stages: Mapping[str, Percentiles]) -> DiagnosticStatus:
    """Milliseconds of each stage of a frame since the last report.

    ``wait`` for the other camera, ``slot`` for the frame before, ``read``, ``prepare``, ``network``,
    ``answer`` and ``publish``; ``around`` the network is all of them but itself and the ``wait``.
    """
    values = {
        f"{stage}_{name}_ms": f"{ns * _MS:.1f}"
        for stage, times in stages.items()
        for name, ns in (("p50", times.p50_ns), ("p95", times.p95_ns), ("p99", times.p99_ns))
    }
    slowest = max(stages.keys() - {"around"}, key=lambda stage: stages[stage].p50_ns, default="")
    message = f"{slowest} takes longest: {values[f'{slowest}_p50_ms']} ms" if slowest else "no frame"
    return _status("speed", OK, message, values)


def stream_statuses(streams: Mapping[Modality, StreamReport | None]) -> list[DiagnosticStatus]:
    """State, rate and age of each stream: WARN when one is stale or unusable, ERROR when both are.

    ``bad_<fault>`` counts the bad frames of each kind so far.
    """
    states = {
        modality: report.state if report else StreamState.AWAITED for modality, report in streams.items()
    }
    useless = (StreamState.STALE, StreamState.UNUSABLE)
    lost = [modality for modality, state in states.items() if state in useless]
    level = ERROR if len(lost) == len(states) else WARN
    statuses = []
    for modality, report in streams.items():
        message = states[modality].value
        values: dict[str, Any] = {"state": message}
        if report:
            values |= {f"bad_{fault.name.lower()}": count for fault, count in report.bad.items()}
        if report and report.fault:
            message += f": {report.fault.value}"
            values["reason"] = report.fault.value
        if report and report.age_ns is not None:
            values |= {"rate_hz": f"{report.rate_hz:.2f}", "age_ms": f"{report.age_ns * _MS:.0f}"}
        statuses.append(_status(modality.value, level if modality in lost else OK, message, values))
    return statuses


def _status(name: str, level: bytes, message: str, values: Mapping[str, Any]) -> DiagnosticStatus:
    return DiagnosticStatus(
        name=name,
        level=level,
        message=message,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
