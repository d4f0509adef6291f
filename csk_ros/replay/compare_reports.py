"""Two reports side by side: figures, their differences, and what makes these unfair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from csk_ros.replay.moments import cause_words
from csk_ros.replay.report_schema import ReportError, read_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Document = dict[str, Any]

Kind = Literal["score", "time", "speed", "count"]
"""What has to be equal for a fair comparison: a speed depends on the machine, a time only in a live run."""

_KINDS: tuple[Kind, ...] = get_args(Kind)
_NONE = "-"
_WIDEST_NAME = 44
_RESOURCES = (
    ("cpu_percent", "mean", "% of a core"),
    ("memory_mib", "max", "MiB"),
    ("gpu_percent", "mean", "% of the GPU"),
    ("gpu_memory_mib", "max", "MiB"),
)


@dataclass(frozen=True)
class Figure:
    """One figure of two reports.

    Attributes:
        name: what it is.
        unit: "%" of a share from 0 to 1, or another; empty for a count.
        kind: see :data:`Kind`.
        a, b: the values; None where a report has none.
    """

    name: str
    unit: str
    kind: Kind
    a: float | None
    b: float | None


def compare_reports(a: str | Path, b: str | Path) -> str:
    """The comparison of two ``report.json`` files, or of the folders that hold them, as text.

    Raises:
        ReportError: if one is missing, foreign, malformed or of another schema.
    """
    one, other = read_report(a), read_report(b)
    try:
        notes = list(_notes(one, other))
        figures = find_figures(one, other)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ReportError(f"{a} or {b} is malformed: {error!r}") from error
    unfair = {kind for _, kinds in notes for kind in kinds}
    lines = [f"A: {_title(one, a)}", f"B: {_title(other, b)}", *(text for text, _ in notes), ""]
    table = [_row(figure, fair=figure.kind not in unfair) for figure in figures]
    starred = (
        ["", "* not like with like, as said above"] if any(row[-1].endswith("*") for row in table) else []
    )
    return "\n".join(
        _printable(line) for line in [*lines, *_aligned(["", "A", "B", "B - A"], table), *starred]
    )


def find_figures(a: Document, b: Document) -> list[Figure]:
    """The figures that at least one of two reports has, in the order of the report.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: for a document that is no report.
    """
    both = [dict(_figures(document)) for document in (a, b)]
    names = dict.fromkeys([*both[0], *both[1]])
    order = sorted(names, key=lambda name: _rank(name[2], name[0]))
    found = [Figure(*name, both[0].get(name), both[1].get(name)) for name in order]
    return [figure for figure in found if figure.a is not None or figure.b is not None]


def _figures(document: Document) -> Iterator[tuple[tuple[str, str, Kind], float | None]]:
    for name, unit, kind, value in (*_scores(document), *_times(document), *_counts(document)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise TypeError(f"{name} is {value!r}")
        yield (name, unit, kind), value


def _scores(document: Document) -> Iterator[tuple[str, str, Kind, Any]]:
    for route, miou in document["miou"].items():
        yield f"mIoU {route}", "%", "score", miou
    for route, score in document["scores"].items():
        yield f"pixel accuracy {route}", "%", "score", score["pixel_accuracy"]
    for route, score in document["scores"].items():
        for name, iou in score["iou"].items():
            yield f"IoU {route} {name}", "%", "score", iou
    if agreement := document["agreement"]:
        yield "agreement FUSED/IR_ONLY, pixels", "%", "score", agreement["pixels"]
        yield "agreement FUSED/IR_ONLY, mIoU", "%", "score", agreement["miou"]
    for route, one in document["consistency"].items():
        yield f"consistency {route}", "%", "score", one["miou"]


def _times(document: Document) -> Iterator[tuple[str, str, Kind, Any]]:
    for name, values in document["switch"].items():
        label = {"eo_loss_to_ir_only_ms": "EO lost to IR_ONLY", "eo_return_to_fused_ms": "EO back to FUSED"}[
            name
        ]
        yield f"{label}, median", "ms", "time", float(np.median(values)) if values else None
    speeds: tuple[tuple[str, Kind, Any], ...] = (
        ("wait for the decision", "time", document["wait_ms"]),
        ("latency", "speed", document["latency_ms"]),
        ("Segmenter", "speed", document["timing"]["compute_ms"]),
    )
    for label, kind, spread in speeds:
        for at in ("p50", "p95", "p99"):
            yield f"{label}, {at}", "ms", kind, spread[at] if spread else None
    for name, at, unit in _RESOURCES:
        spread = document["resources"].get(name)
        yield (
            f"{name.rpartition('_')[0].replace('_', ' ')}, {at}",
            unit,
            "speed",
            spread[at] if spread else None,
        )


def _counts(document: Document) -> Iterator[tuple[str, str, Kind, Any]]:
    frames = document["frames"]
    for name, label in (("anchors", "frames"), ("masks_out", "masks"), ("dropped", "dropped")):
        yield label, "", "count", frames[name]
    yield "lost in transport", "", "count", frames["lost_in_transport"]
    for cause, count in frames["dropped_by"].items():
        yield f"dropped: {cause_words(cause)}", "", "count", count
    for route, count in frames["by_route"].items():
        yield f"masks {route}", "", "count", count


def _rank(kind: Kind, name: str) -> tuple[int, bool]:
    """Scores before times before counts; single classes after everything else of the scores."""
    return _KINDS.index(kind), name.startswith("IoU ")


def _notes(a: Document, b: Document) -> Iterator[tuple[str, tuple[Kind, ...]]]:
    """What differs between the runs, with the kinds of figures that it makes unlike."""
    for document, name in ((a, "A"), (b, "B")):
        if not document["complete"]:
            reason = "; ".join(document["problems"]) or "it was interrupted"
            yield f"{name} is incomplete: {reason}", _KINDS
    timed: tuple[Kind, ...] = ("speed", "time") if "live" in (a["kind"], b["kind"]) else ("speed",)
    checks: tuple[tuple[str, tuple[Kind, ...], Callable[[Document], Any]], ...] = (
        ("bag", _KINDS, lambda d: [d["bag"][key] for key in ("name", "start_s", "length_s")]),
        ("topics", _KINDS, lambda d: list(d["bag"]["topics"].values())),
        ("injections", _KINDS, lambda d: [one["text"] for one in d["injections"]]),
        ("kind of replay", ("time", "speed"), lambda d: d["kind"]),
        ("labels", ("score",), lambda d: d["labels"]),
        ("classes", ("score",), lambda d: d["classes"]),
        ("machine", timed, lambda d: d["versions"].get("machine")),
    )
    for text, kinds, value in checks:
        if value(a) != value(b):
            yield f"other {text}: A {_shown(value(a))}, B {_shown(value(b))}", kinds
    for part in ("configuration", "versions"):
        for key in dict.fromkeys((*a[part], *b[part])):
            one, other = (document[part].get(key) for document in (a, b))
            if one != other and key != "machine":
                yield f"other {key}: A {_shown(one)}, B {_shown(other)}", ()


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_shown(one) for one in value) or "none"
    return "none" if value is None else str(value)


def _title(document: Document, path: str | Path) -> str:
    bag = document["bag"]
    return f"{path} ({document['kind']}, {bag['name']}, {bag['length_s']} s)"


def _row(figure: Figure, *, fair: bool) -> list[str]:
    known = figure.a is not None and figure.b is not None
    change = _value(figure.b - figure.a, figure.unit, sign="+") if known else _NONE  # type: ignore[operator]
    values = [_value(value, figure.unit) for value in (figure.a, figure.b)]
    return [figure.name, *values, change + ("*" if known and not fair else "")]


def _value(value: float | None, unit: str, *, sign: str = "") -> str:
    if value is None:
        return _NONE
    if unit == "%":
        return f"{100 * value:{sign}.1f} %"
    number = f"{value:{sign}.1f}" if isinstance(value, float) else f"{value:{sign}d}"
    return f"{number} {unit}".strip()


def _aligned(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    rows = [[_printable(row[0])[:_WIDEST_NAME], *row[1:]] for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join([row[0].ljust(widths[0]), *cells]).rstrip()


def _printable(text: str) -> str:
    """The text without what a terminal would obey: a report may come from anybody."""
    return "".join(c if c.isprintable() else "?" for c in text)
