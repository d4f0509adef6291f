"""``csk compare-reports``: the reports of two replays side by side."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser, Namespace

_HELP = "show the reports of two replays side by side"


def register(commands: Any, name: str) -> None:
    """Add ``csk compare-reports`` to the commands."""
    parser = ArgumentParser(description=f"{_HELP.capitalize()}, with differences and what makes them unfair.")
    parser.add_argument("a", metavar="A", type=str, help="a report.json, or the folder that holds it")
    parser.add_argument("b", metavar="B", type=str, help="likewise")
    commands.add_subcommand(name, parser, help=_HELP)


def run(arguments: Namespace) -> None:
    """Run ``csk compare-reports``."""
    from csk_ros.replay.compare_reports import compare_reports

    print(compare_reports(arguments.a, arguments.b))
