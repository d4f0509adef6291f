"""``csk train``: train a network as a configuration file says."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentError
from dataclasses import fields
from typing import TYPE_CHECKING, Any

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
    from csk_ros.training.run import train

    result = train(settings, resume=resume)
    if result.interrupted:
        print(f"stopped; go on with: csk train {settings.output}/config.yaml --resume")
    for route, scores in result.scores.items():
        print(f"{route}: mIoU {scores['miou']:.3f}")
    print(f"wrote {result.checkpoint}")


def read_settings(config: str, changes: Sequence[str]) -> tuple[TrainSettings, bool]:
    """The settings in the file ``config`` with ``changes`` made, and whether to resume.

    Args:
        config: path of a YAML file.
        changes: command line arguments, such as ``["--loop.epochs", "3", "--resume"]``.

    Raises:
        ValueError: unknown keys, values of a wrong type or that mean nothing, or no such file.
    """
    from csk_ros.training import TrainSettings

    parser = ArgumentParser(prog="csk train CONFIG", exit_on_error=False)
    parser.add_argument("--config", action="config", help="a further YAML file with settings")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the output folder")
    parser.add_class_arguments(TrainSettings)
    try:
        parsed = parser.parse_args([f"--config={config}", *changes])
    except ArgumentError as error:
        raise ValueError(f"{config}: {error.message}") from error
    old_name = "instantiate_classes"  # until jsonargparse 4.49
    made = getattr(parser, "instantiate" if hasattr(parser, "instantiate") else old_name)(parsed)
    return TrainSettings(**{field.name: made[field.name] for field in fields(TrainSettings)}), made.resume
