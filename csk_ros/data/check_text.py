"""What a check found, and what data sets there are, as text for a terminal."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from csk_ros.data.check import ERRORS, WARNINGS
from csk_ros.data.registry import LAYOUTS, SCENES_USAGE

if TYPE_CHECKING:
    from csk_ros.data.check import Finding, Report
    from csk_ros.data.paired import Format

_SHOWN = 20  # findings of one kind; the JSON document has all


def report_text(report: Report) -> str:
    """The findings by kind with their files, sizes, and classes by split."""
    sizes = ", ".join(f"{count} of {size}" for size, count in report.sizes.items()) or "none readable"
    head = f"{report.format.title} in {report.root}\nframes    {sizes}"
    return "\n\n".join([head, _classes(report), *_findings(report), _verdict(report)])


def listing_text() -> str:
    """The kinds of data that can be named, with layout, classes and splits."""
    scenes = f"scenes:KEY=VALUE,...  synthetic drives, made when opened\n  such as {SCENES_USAGE}"
    return "\n\n".join([*(_kind(layout.format) for layout in LAYOUTS.values()), scenes])


def summary(report: Report) -> str:
    """One line with the number of errors and their kinds."""
    kinds = dict.fromkeys(f.kind for f in report.findings if f.is_error)
    return f"{_plural(report.errors, 'error')} in {report.root} ({', '.join(kinds)}): a training would fail"


def _kind(form: Format) -> str:
    tree = "\n".join(f"  {line}" for line in form.tree.splitlines())
    names = form.label_set.names
    return (
        f"{form.kind}:ROOT  {form.title}\n{tree}\n  splits    {form.splits}\n"
        f"  classes   {len(names)}: {', '.join(names)}"
    )


def _classes(report: Report) -> str:
    """Share of the labelled pixels and number of frames by class and split."""
    splits = report.splits
    shares = {name: counts.frequencies() for name, counts in splits.items()}
    rows = [["class", *splits], ["frames", *(str(counts.frames) for counts in splits.values())]]
    for i, name in enumerate(report.format.label_set.names):
        cells = (f"{100 * shares[s][i]:.3f} % in {splits[s].holding[i]}" for s in splits)
        rows.append([name, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def _findings(report: Report) -> list[str]:
    return [_group(kind, list(group)) for kind, group in groupby(report.findings, lambda f: f.kind)]


def _group(kind: str, findings: list[Finding]) -> str:
    word, meaning = ("error", ERRORS[kind]) if kind in ERRORS else ("warning", WARNINGS[kind])
    lines = [f"{word}: {kind} ({len(findings)}): {meaning}"]
    lines += [f"  {f.where}{': ' * bool(f.detail)}{f.detail}" for f in findings[:_SHOWN]]
    if len(findings) > _SHOWN:
        lines.append(f"  and {len(findings) - _SHOWN} more (--json FILE lists all)")
    return "\n".join(lines)


def _verdict(report: Report) -> str:
    warnings = len(report.findings) - report.errors
    return f"{_plural(report.errors, 'error')}, {_plural(warnings, 'warning')}"


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
