"""``csk bag``: make bags and look into them."""

from __future__ import annotations

from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace


def register(commands: Any, name: str) -> None:
    """Add ``csk bag`` to the commands."""
    text = "make rosbags from data sets or scenes, and show what one holds"
    top = ArgumentParser(description=f"{text.capitalize()}.")
    commands.add_subcommand(name, top, help=text)
    actions = top.add_subcommands(dest="action", metavar="ACTION")
    actions.add_subcommand("make", _make_parser(), help="write a bag from a data set or a scene drive")
    actions.add_subcommand("info", _info_parser(), help="show the topics, length and classes of a bag")


def run(arguments: Namespace) -> None:
    """Run ``csk bag``."""
    {"make": _make, "info": _info}[arguments.action](arguments[arguments.action])


def _make_parser() -> ArgumentParser:
    make = ArgumentParser(
        description="Write a rosbag2 with the topics /eo/image, /ir/image and /labels/image.",
    )
    make.add_argument("out", metavar="OUT", type=str, help="folder of the new bag; must not exist")
    make.add_argument(
        "--data",
        metavar="SPEC",
        type=str,
        required=True,
        help="mfnet:ROOT, or scenes:seed=3,frames=200,light=night-to-day,rate=10",
    )
    make.add_argument(
        "--split", type=str | None, default=None, help="train, val, test or all (data sets only)"
    )
    make.add_argument("--storage", type=Literal["mcap", "sqlite3"], default="mcap", help="storage of the bag")
    make.add_argument(
        "--compress",
        type=Literal["none", "zstd", "png", "jpeg"],
        default="none",
        help="zstd compresses the storage; png and jpeg write CompressedImage (thermal always as png)",
    )
    make.add_argument(
        "--rate",
        metavar="HZ",
        type=float | None,
        default=None,
        help="frames per second, in place of the data's own",
    )
    return make


def _info_parser() -> ArgumentParser:
    info = ArgumentParser(description="Show the topics, length and classes of a bag.")
    info.add_argument("bag", metavar="BAG", type=str, help="a rosbag2 folder, or one .mcap or .db3 file")
    return info


def _make(arguments: Namespace) -> None:
    from csk_ros.replay.samples import write_data

    frames = write_data(
        arguments.out,
        arguments.data,
        arguments.split,
        storage=arguments.storage,
        compress=arguments.compress,
        rate_hz=arguments.rate,
    )
    print(f"wrote {frames} frames to {arguments.out}")


def _info(arguments: Namespace) -> None:
    from csk_ros.replay.info import describe_bag

    print(describe_bag(arguments.bag))
