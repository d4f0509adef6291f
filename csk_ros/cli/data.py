"""``csk data``: what data sets there are, and whether one is whole."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser, Namespace


def register(commands: Any, name: str) -> None:
    """Add ``csk data`` to the commands."""
    text = "check a data set before training on it, and list the known kinds"
    top = ArgumentParser(description=f"{text.capitalize()}.")
    commands.add_subcommand(name, top, help=text)
    actions = top.add_subcommands(dest="action", metavar="ACTION")
    actions.add_subcommand("check", _check_parser(), help="read every file and report all that is wrong")
    listing = ArgumentParser(description="Show the known data sets with layout, classes and splits.")
    actions.add_subcommand("list", listing, help="show the known data sets")


def run(arguments: Namespace) -> None:
    """Run ``csk data``."""
    {"check": _check, "list": _list}[arguments.action](arguments[arguments.action])


def _check_parser() -> ArgumentParser:
    check = ArgumentParser(
        description="Read every file of a data set and report all that is wrong with it: "
        "errors, which make a training fail (exit code 1), and warnings.",
    )
    check.add_argument(
        "data", metavar="SPEC_OR_ROOT", type=str, help="KIND:ROOT, or a folder whose kind is recognised"
    )
    check.add_argument("--split", type=str | None, default=None, help="only this split; default: everything")
    check.add_argument(
        "--json", metavar="FILE", type=str | None, default=None, help="also write the report as JSON"
    )
    return check


def _check(arguments: Namespace) -> None:
    import json
    from pathlib import Path

    from csk_ros.data.check import DataError, check_data
    from csk_ros.data.check_text import report_text, summary

    report = check_data(arguments.data, arguments.split, progress=True)
    print(report_text(report))
    if arguments.json is not None:
        text = json.dumps(report.to_dict(), indent=2) + "\n"
        Path(arguments.json).expanduser().write_text(text, encoding="utf-8")
        print(f"wrote {arguments.json}")
    if report.errors:
        raise DataError(summary(report))


def _list(_: Namespace) -> None:
    from csk_ros.data.check_text import listing_text

    print(listing_text())
