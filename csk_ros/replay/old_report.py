"""The report of a live run as it was before reports were made of a ``ReplayResult``; goes with that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csk_ros.modality import Modality
from csk_ros.replay.pictures import write_strip, write_video
from csk_ros.replay.recording import ReceivedMask, Recording, RouteChange, SentFrame
from csk_ros.replay.report import make_report, write_html, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from csk_ros.replay.played import Played
    from csk_ros.replay.result import ReplayResult


def write_old_report(
    folder: Path, result: ReplayResult, played: Played, *, rate_hz: float, title: str
) -> None:
    """Write report.json, report.html, strip.png and video.webm of a run of one turn at rate 1."""
    recording = _recording(result, played)
    report = make_report(
        recording,
        result.label_set,
        configuration=dict(result.configuration),
        versions=dict(result.versions),
    )
    write_strip(folder / "strip.png", recording, result.label_set)
    write_video(folder / "video.webm", recording, result.label_set, rate_hz=rate_hz)
    write_json(folder / "report.json", report)
    write_html(folder / "report.html", report, recording, folder / "strip.png", title=title)


def _recording(result: ReplayResult, played: Played) -> Recording:
    first = played.sent[0]
    return Recording(
        drive=result.bag,
        masks_bag=result.masks,
        start_ns=played.start_ns,
        offset_ns=first.live_ns - first.stamp_ns,
        cuts=tuple(
            cut
            for injection in result.injections
            if injection.kind == "drop" and injection.modality is Modality.EO
            for cut in injection.stretches.within(result.length_s)
        ),
        sent=tuple(SentFrame(s.modality, s.live_ns, s.sent_ns, s.late_ns) for s in played.sent),
        masks=tuple(ReceivedMask(*mask) for mask in played.masks),
        routes=tuple(RouteChange(*announced) for announced in played.routes),
        account=dict(played.reports.account),
    )
