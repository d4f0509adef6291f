"""A replay in a few lines, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from csk_ros.replay.result import ReplayResult


def summarise(result: ReplayResult, report: Path) -> str:
    """Routes, frames, scores and times, a line each.

    Args:
        result: to summarise; with at least one mask.
        report: where the report is.
    """
    facts = {
        "routes": _routes(result),
        "frames": frames_line(result),
        "switch": _switches(result),
        **_quality(result),
        **_times(result),
        "report": str(report),
    }
    return "".join(f"{name:<10} {text}\n" for name, text in facts.items() if text)


def frames_line(result: ReplayResult) -> str:
    """What became of the frames."""
    counts = result.counts
    dropped = sum(count for name, count in counts.items() if name.startswith("dropped_"))
    frames = len(result.rows)
    if "sent_ir" in counts:  # an EO frame may stand in for thermal that does not come
        frames = counts["sent_ir"] + counts.get("eo_anchors", 0)
    masks = counts.get("masks", len(result.answered))
    line = f"{frames} in, {masks} masks, {dropped} dropped"
    if result.kind == "live":
        line += f", {counts['lost_ir'] + counts['lost_masks']} lost in transport"
    return line


def _routes(result: ReplayResult) -> str:
    spans = [span.route.value for span in result.spans]
    if len(spans) <= 5:
        return " -> ".join(spans)
    share = {route: spans.count(route) for route in dict.fromkeys(spans)}
    return f"{len(spans) - 1} switches; stretches: " + ", ".join(f"{n} {name}" for name, n in share.items())


def _switches(result: ReplayResult) -> str:
    parts = []
    if result.lost_ms:
        parts.append(f"IR_ONLY {np.median(result.lost_ms):.0f} ms after EO was lost")
    if result.returned_ms:
        parts.append(f"FUSED {np.median(result.returned_ms):.0f} ms after its return")
    return ", ".join(parts)


def _quality(result: ReplayResult) -> dict[str, str]:
    found = {}
    if result.scores:
        scores = result.scores
        found["mIoU"] = ", ".join(f"{r.value} {scores.scores(r).miou():.3f}" for r in scores.routes)
    if result.agreement:
        agreement = result.agreement
        found["agreement"] = (
            f"fused and thermal alone: {agreement.pixels:.1%} of pixels, mIoU {agreement.miou:.3f}"
        )
    if result.consistency:
        found["steadiness"] = ", ".join(
            f"{r.value} mIoU {one.miou:.3f}" for r, one in result.consistency.items()
        )
    return found


def _times(result: ReplayResult) -> dict[str, str]:
    latencies = [row.latency_ms for row in result.answered if row.latency_ms is not None]
    computes = [row.compute_ms for row in result.answered if row.compute_ms is not None]
    found = {}
    for name, values in (("latency", latencies), ("Segmenter", computes)):
        if values:
            found[name] = ", ".join(f"p{q} {np.percentile(values, q):.0f} ms" for q in (50, 95, 99))
    if "wall" in result.stages_ms:
        found["speed"] = (
            f"{1e3 / result.stages_ms['wall']:.1f} frames per second, reading and writing included"
        )
    return found
