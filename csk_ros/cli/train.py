"""``csk train``: train a network as a configuration file says."""

from __future__ import annotations

from argparse import REMAINDER
from typing import Any

from jsonargparse import ArgumentParser, Namespace


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
    from csk_ros.training.distributed import is_main_process
    from csk_ros.training.reading import read_settings
    from csk_ros.training.run import train

    settings, resume = read_settings(arguments.config, arguments.changes)
    result = train(settings, resume=resume)
    if not is_main_process():
        return
    if result.interrupted:
        print(f"stopped; go on with: csk train {settings.output}/config.yaml --resume")
    for route, scores in result.scores.items():
        print(f"{route}: mIoU {scores['miou']:.3f}")
    print(f"wrote {result.checkpoint}")
