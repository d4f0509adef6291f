"""``csk demo``: the whole way from a scene drive to masks and a report."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser, Namespace


def register(commands: Any, name: str) -> None:
    """Add ``csk demo`` to the commands."""
    text = "play a night-to-day drive through the node, cut the optical camera, and report"
    demo = ArgumentParser(
        description="Make a synthetic night-to-day drive, start the node, play the drive to it in real time "
        "with the optical camera cut for some seconds, and write masks, pictures and a report.",
    )
    demo.add_argument(
        "--out",
        type=str,
        default="demo_out",
        help="folder of the results; an earlier demo there is replaced, a folder with anything else refused",
    )
    demo.add_argument(
        "--checkpoint", type=str | None, default=None, help="weights; default: those that come along"
    )
    demo.add_argument("--seed", type=int, default=7, help="seed of the drive")
    demo.add_argument("--seconds", type=float, default=24.0, help="length of the drive")
    demo.add_argument("--rate", type=float, default=6.0, help="frames per second of both cameras")
    demo.add_argument("--height", type=int, default=480, help="height of the images in pixels")
    demo.add_argument("--width", type=int, default=640, help="width of the images in pixels")
    demo.add_argument("--cut-from", type=float, default=9.0, help="second at which the optical camera fails")
    demo.add_argument("--cut-to", type=float, default=15.0, help="second at which it comes back")
    commands.add_subcommand(name, demo, help=text)


def run(arguments: Namespace) -> None:
    """Run ``csk demo``."""
    from csk_ros.replay.demo import DemoSettings, run_demo

    run_demo(DemoSettings(**vars(arguments)))
