"""``csk train``: train a network as a configuration file says."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser, Namespace


def register(commands: Any, name: str) -> None:
    """Add ``csk train`` to the commands."""
    text = "train a network as a configuration file says"
    train = ArgumentParser(description=f"{text.capitalize()}, and write its checkpoint.")
    train.add_argument("config", metavar="CONFIG", type=str, help="YAML file with the settings of the run")
    train.add_argument(
        "settings", metavar="KEY=VALUE", nargs="*", type=str, help="settings to change, such as loop.epochs=3"
    )
    train.add_argument(
        "--resume", action="store_true", help="go on with the run that stands in the output folder"
    )
    commands.add_subcommand(name, train, help=text)


def run(arguments: Namespace) -> None:
    """Run ``csk train``."""
    from csk_ros.training.run import train
    from csk_ros.training.settings import TrainSettings

    parser = ArgumentParser(prog="csk train CONFIG", usage="csk train CONFIG [KEY=VALUE ...]")
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(TrainSettings, "run")
    changes = [f"--run.{setting}" for setting in arguments.settings]
    settings = parser.parse_args([f"--config={arguments.config}", *changes])
    result = train(parser.instantiate_classes(settings).run, resume=arguments.resume)
    print(f"wrote {result.checkpoint}")
