"""The account of the frames and the state of the streams as ``diagnostic_msgs``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from csk_ros.modality import Modality
from csk_ros.perception import DropCause, StreamState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csk_ros.perception import Account, StreamReport

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
_MS = 1e-6


def node_status(state: str, problem: str, facts: Mapping[str, Any]) -> DiagnosticStatus:
    """The node itself: OK when active, ERROR with the reason when a transition failed, else WARN."""
    level = ERROR if problem else OK if state == "active" else WARN
    return _status("node", level, problem or state, {"state": state, **facts})


def frames_status(account: Account) -> DiagnosticStatus:
    """What became of every frame.

    ``ir_received`` and ``eo_received`` together are answered, dropped (by cause), ``eo_refused``, in hand, or
    ``no_anchor``: the frames that came as partners, of use or not.
    """
    ir, eo = account.streams[Modality.IR], account.streams[Modality.EO]
    dropped = dict(account.dropped)
    for cause, count in ir.refused.items():
        dropped[cause] = dropped.get(cause, 0) + count
    values = {
        "ir_received": ir.received,
        "eo_received": eo.received,
        "eo_refused": sum(eo.refused.values()),
        "no_anchor": sum(stream.used + stream.unused + stream.held for stream in (eo, ir)),
        "answered": sum(account.answered.values()),
        **{f"answered_{route.value.lower()}": count for route, count in account.answered.items()},
        **{f"dropped_{cause.name.lower()}": dropped.get(cause, 0) for cause in DropCause},
        "in_hand": account.in_hand,
        **{f"latency_{name}_ms": f"{ns * _MS:.1f}" for name, ns in (
            ("p50", account.latency.p50_ns), ("p95", account.latency.p95_ns), ("p99", account.latency.p99_ns)
        )},
    }  # fmt: skip
    lost = sum(dropped.values())
    return _status("frames", OK, f"{values['answered']} answered, {lost} dropped", values)


def stream_statuses(streams: Mapping[Modality, StreamReport | None]) -> list[DiagnosticStatus]:
    """State, rate and age of each stream: WARN when one is lost, ERROR when both are."""
    states = {
        modality: report.state if report else StreamState.AWAITED for modality, report in streams.items()
    }
    lost = [modality for modality, state in states.items() if state is StreamState.STALE]
    level = ERROR if len(lost) == len(states) else WARN
    statuses = []
    for modality, report in streams.items():
        values: dict[str, Any] = {"state": states[modality].value}
        if report and report.age_ns is not None:
            values |= {"rate_hz": f"{report.rate_hz:.2f}", "age_ms": f"{report.age_ns * _MS:.0f}"}
        statuses.append(
            _status(modality.value, level if modality in lost else OK, states[modality].value, values)
        )
    return statuses


def _status(name: str, level: bytes, message: str, values: Mapping[str, Any]) -> DiagnosticStatus:
    return DiagnosticStatus(
        name=f"segment: {name}",
        level=level,
        message=message,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
