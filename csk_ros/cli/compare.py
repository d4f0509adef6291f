"""``csk compare``: train and score variants under one budget, and write one table."""

from __future__ import annotations

from argparse import REMAINDER
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from argparse import ArgumentParser as PlainParser

_HELP = "train and score variants of a network under one budget, and write one table"


def register(commands: Any, name: str) -> None:
    """Add ``csk compare`` to the commands."""
    compare = ArgumentParser(description=f"{_HELP.capitalize()}. The same command goes on after a stop.")
    compare.add_argument("spec", metavar="SPEC", type=str, help="YAML file that says what is compared")
    compare.add_argument(
        "changes",
        metavar="...",
        nargs=REMAINDER,
        help="--jobs N, --threads N, --output DIR, --only VARIANT,..., --seeds 0,1, --table-only, "
        "or --any.key VALUE to change a setting of all runs; `csk compare SPEC --help` says more",
    )
    commands.add_subcommand(name, compare, help=_HELP)


def run(arguments: Namespace) -> None:
    """Run ``csk compare``."""
    from pathlib import Path

    options, rest = _options().parse_known_args(arguments.changes)
    changes = read_flags(rest)
    from csk_ros.training.comparison import compare
    from csk_ros.training.comparison_spec import read_comparison

    comparison = read_comparison(Path(arguments.spec), changes, options.output)
    runs = [] if options.table_only else comparison.chosen(options.only, options.seeds)
    table, failed = compare(comparison, runs=runs, jobs=options.jobs, threads=options.threads)
    print(table)
    if failed:
        raise ValueError(f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}")


def read_flags(flags: list[str]) -> dict[str, Any]:
    """``--any.key VALUE`` and ``--any.key=VALUE`` as values by key, read as YAML.

    Raises:
        ValueError: anything else.
    """
    import yaml

    changes, rest = {}, list(flags)
    while rest:
        key, equals, value = rest.pop(0).partition("=")
        if not key.startswith("--") or not (equals or rest):
            raise ValueError(f"cannot read {key!r}: write --any.key VALUE")
        try:
            changes[key[2:]] = yaml.safe_load(value if equals else rest.pop(0))
        except yaml.YAMLError as error:
            raise ValueError(f"cannot read the value of {key}: {error}") from error
    return changes


def _options() -> PlainParser:
    from argparse import ArgumentParser as PlainParser

    parser = PlainParser(
        prog="csk compare SPEC",
        description="Further flags, --any.key VALUE, change that setting of all runs, as in csk train.",
        allow_abbrev=False,
    )
    parser.add_argument("--jobs", metavar="N", type=_positive, default=1, help="runs at a time (default 1)")
    parser.add_argument(
        "--threads",
        metavar="N",
        type=_positive,
        help="of each run (default: cores / jobs, or OMP_NUM_THREADS)",
    )
    parser.add_argument(
        "--only", metavar="A,B", type=lambda text: text.split(","), help="these variants and what they need"
    )
    parser.add_argument(
        "--seeds",
        metavar="0,1",
        type=lambda text: [int(seed) for seed in text.split(",")],
        help="only these",
    )
    parser.add_argument("--output", metavar="DIR", help="in place of the specification's")
    parser.add_argument("--table-only", action="store_true", help="train nothing; write the table as it is")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
