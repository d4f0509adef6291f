"""What ``csk bench`` measures as one document, for files and for people."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from csk_ros.evaluation.tables import format_table
from csk_ros.replay.provenance import checkpoint_facts, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SCHEMA = 1
PLOT_KINDS = (".svg", ".png")

_STAT = Path("/proc/stat")
_MUCH_STOLEN = 0.02
"""Share of the processor's time; where a hypervisor took more, the tables say so."""

_RATIO_NAMES = {
    "p50_ms": "p50",
    "p95_ms": "p95",
    "p99_ms": "p99",
    "cpu_percent": "CPU",
    "memory_mib": "memory",
}


class Measured(Protocol):
    """The result of a part of the bench.

    Attributes:
        rows: dataclasses.
        complete: False if Ctrl-C ended it early.
    """

    @property
    def rows(self) -> tuple[Any, ...]: ...  # noqa: D102 (an attribute, see above)
    @property
    def complete(self) -> bool: ...  # noqa: D102


def refuse_target(path: Path, kinds: tuple[str, ...] = ()) -> None:
    """Raise before anything is measured if a result could not be written there.

    Raises:
        ValueError: for a name that does not end as one of ``kinds``.
        FileExistsError: if it exists.
        FileNotFoundError: if its folder does not.
    """
    if kinds and path.suffix.lower() not in kinds:
        raise ValueError(f"{path} should end in {' or '.join(kinds)}")
    if path.exists():
        raise FileExistsError(f"{path} exists already: give another name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}: make it first")


def run_bench(
    parts: Mapping[str, Callable[[], Measured]], checkpoint: Path
) -> tuple[dict[str, Any], BaseException | None]:
    """Measure part after part; what ends it early, as Ctrl-C does, leaves what was measured by then.

    Args:
        parts: what to measure, by name: ``segmenter``, ``end_to_end``.
        checkpoint: what they run.

    Returns:
        JSON-ready: ``schema``, ``facts`` (of software, machine and weights), ``load`` (processes that wanted
        the cores in the minute before), ``stolen`` (by part, the share of the cores' time that a hypervisor
        gave to others meanwhile, 0 to 1), ``complete``, and the rows of each part that gave any. And what
        ended it, if it is not complete.

    Raises:
        BaseException: what ended it before anything was measured.
    """
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "facts": versions() | checkpoint_facts(checkpoint),
        "load": os.getloadavg()[0],
        "stolen": {},
        "complete": False,
    }
    for name, measure in parts.items():
        before = _ticks()
        try:
            result = measure()
        except (KeyboardInterrupt, Exception) as error:
            if not document.keys() & parts.keys():
                raise
            return document, error
        document["stolen"][name] = _stolen(before, _ticks())
        document[name] = [asdict(row) for row in result.rows]
        if not result.complete:
            return document, KeyboardInterrupt()
    return document | {"complete": True}, None


def _ticks() -> tuple[int, int]:
    """Of all cores: the time that a hypervisor took from them, and all; none where Linux does not tell."""
    try:
        first, *_ = _STAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0, 0
    # user, nice, system, idle, iowait, irq, softirq, steal (man 5 proc); guests are in user already
    times = [int(ticks) for ticks in first.split()[1:9]]
    return times[7], sum(times)


def _stolen(before: tuple[int, int], after: tuple[int, int]) -> float:
    return (after[0] - before[0]) / max(after[1] - before[1], 1)


def write_document(document: Mapping[str, Any], path: Path) -> None:
    """Write it as JSON; never over a file that exists."""
    with path.open("x", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")


def format_bench(document: Mapping[str, Any]) -> str:
    """The tables, for a terminal."""
    return "\n\n".join("\n".join(block) for block in _blocks(document))


def _blocks(document: Mapping[str, Any]) -> Iterator[list[str]]:
    if rows := document.get("segmenter"):
        stages = list(rows[0]["stages"])
        header = [
            "",
            "threads",
            "median ms",
            "p95 ms",
            "rested ms",
            "fps",
            "x",
            *(f"{s} %" for s in stages),
            "GMACs",
            "MiB",
        ]
        if any(row["peak_gpu_memory_mib"] is not None for row in rows):
            header.append("GPU MiB")
        if rows[0]["at_once"]:
            header.append(f"fps, {rows[0]['at_once']} at once")
        table = format_table(header, [_speed_cells(row) for row in rows])
        rounds, device = rows[0]["runs"], rows[0]["device"]
        yield [
            f"Camera images to ids on {device}, {rounds} rounds; x: of eager torch in the same round",
            *table,
            *_stolen_line(document, "segmenter"),
        ]
    if rows := document.get("end_to_end"):
        header = [
            "",
            "sent",
            "loss %",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "max ms",
            "CPU %",
            "MiB",
            "fused %",
            "around ms",
        ]
        size, turns = f"{rows[0]['height']}x{rows[0]['width']}", rows[0]["turns"]
        yield [
            f"Stamp to mask received over DDS, {size}, medians of {turns} turns",
            *format_table(header, [_end_to_end_cells(row) for row in rows]),
            *(_ratio_line(row) for row in rows if row["ratios"] and row["node"] != "usual"),
            *_stolen_line(document, "end_to_end"),
        ]


def _stolen_line(document: Mapping[str, Any], part: str) -> list[str]:
    share = document["stolen"][part]
    if share < _MUCH_STOLEN:
        return []
    share_text = f"{100 * share:.0f} % of the processor's time"
    return [f"Slower than this machine can be: its host gave {share_text} to others"]


def _speed_cells(row: Mapping[str, Any]) -> list[str]:
    name = f"{row['height']}x{row['width']} {row['route']} {row['engine']} {row['precision']}"
    times = [f"{row[name]:.1f}" for name in ("median_ms", "p95_ms", "rested_ms", "fps")]
    shares = [f"{100 * share:.0f}" for share in row["stages"].values()]
    gpu = row["peak_gpu_memory_mib"]
    memory = [f"{row['peak_memory_mib']:.0f}", *([] if gpu is None else [f"{gpu:.0f}"])]
    stream = "-" if row["stream_fps"] is None else f"{row['stream_fps']:.1f}"
    ratio, macs = f"{row['ratio']:.2f}", f"{row['macs'] / 1e9:.2f}"
    last = [*memory, *([stream] if row["at_once"] else [])]
    return [name, str(row["threads"]), *times, ratio, *shares, macs, *last]


def _end_to_end_cells(row: Mapping[str, Any]) -> list[str]:
    times = [
        "-" if row[name] is None else f"{row[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")
    ]
    usage = [f"{row['cpu_percent']:.0f}", f"{row['memory_mib']:.0f}"]
    fused = "-" if row["fused"] is None else f"{100 * row['fused']:.0f}"
    around = "-" if row["around_p95_ms"] is None else f"{row['around_p95_ms']:.1f}"
    name = f"{row['rate_hz']:g} Hz {row['node']}"
    return [name, str(row["sent"]), f"{100 * row['loss']:.1f}", *times, *usage, fused, around]


def _ratio_line(row: Mapping[str, Any]) -> str:
    ratios = ", ".join(f"{_RATIO_NAMES[name]} {value:.2f}" for name, value in row["ratios"].items())
    return f"  {row['rate_hz']:g} Hz, usual node / {row['node']}: {ratios}"
