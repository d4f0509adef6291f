"""``csk train``: train a network as a configuration file says."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentError
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csk_ros.training import TrainSettings


def register(commands: Any, name: str) -> None:
    """Add ``csk train`` to the commands."""
    text = "train a network as a configuration file says"
    train = ArgumentParser(description=f"{text.capitalize()}, and write its checkpoint.")
    train.add_argument("config", metavar="CONFIG", type=str, help="YAML file with the settings of the run")
    train.add_argument(
        "changes",
        metavar="...",
        nargs=REMAINDER,
        help="--any.key VALUE changes a setting, --resume goes on with the run in the output folder; "
        "`csk train CONFIG --help` lists the keys",
    )
    commands.add_subcommand(name, train, help=text)


def run(arguments: Namespace) -> None:
    """Run ``csk train``."""
    settings, resume = read_settings(arguments.config, arguments.changes)
    from csk_ros.training.distributed import is_main_process
    from csk_ros.training.run import train

    result = train(settings, resume=resume)
    if not is_main_process():
        return
    if result.interrupted:
        print(f"stopped; go on with: csk train {settings.output}/config.yaml --resume")
    for route, scores in result.scores.items():
        print(f"{route}: mIoU {scores['miou']:.3f}")
    print(f"wrote {result.checkpoint}")


def read_settings(config: str, changes: Sequence[str]) -> tuple[TrainSettings, bool]:
    """The settings in the file ``config`` with ``changes`` made, and whether to resume.

    A file may name another one beside it as ``base``, which is read first. Sections add up key by key; a
    value that is itself a mapping (``network.arguments``, ``data.test``) replaces the base's.

    Args:
        config: path of a YAML file.
        changes: command line arguments, such as ``["--loop.epochs", "3", "--resume"]``.

    Raises:
        ValueError: unknown keys, values of a wrong type or that mean nothing, or no such file.
    """
    from csk_ros.training import TrainSettings

    parser = ArgumentParser(prog="csk train CONFIG", exit_on_error=False)
    parser.add_argument("--config", action="config", help="a further YAML file with settings")
    parser.add_argument("--base", type=str | None, help="in a file: another one to read first")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the output folder")
    parser.add_class_arguments(TrainSettings)
    if any(change.partition("=")[0] == "--base" for change in changes):
        raise ValueError("--base: a base stands in a file; --config FILE reads a further file")
    files = [f"--config={file}" for file in _with_bases(Path(config))]
    try:
        parsed = parser.parse_args([*files, *changes])
    except ArgumentError as error:
        raise ValueError(f"{config}: {error.message}") from error
    old_name = "instantiate_classes"  # until jsonargparse 4.49
    made = getattr(parser, "instantiate" if hasattr(parser, "instantiate") else old_name)(parsed)
    return TrainSettings(**{field.name: made[field.name] for field in fields(TrainSettings)}), made.resume


def _with_bases(config: Path) -> list[Path]:
    """``config`` behind the files that it is based on, the first one first.

    Raises:
        ValueError: for a file that is no YAML, or a base that is missing or leads back to its own file.
    """
    files = [config]
    while (base := _base(files[0])) is not None:
        if base in files:
            raise ValueError(f"{config}: base {base} leads back to itself")
        if not base.is_file():
            raise ValueError(f"{files[0]}: base {base} does not exist")
        files.insert(0, base)
    return files


def _base(config: Path) -> Path | None:
    try:
        document = yaml.safe_load(config.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{config} is no YAML: {error}") from error
    base = document.get("base") if isinstance(document, dict) else None
    return None if base is None else config.parent / str(base)
