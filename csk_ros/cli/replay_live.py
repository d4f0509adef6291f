"""What ``csk replay --live`` takes on top of ``csk replay``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from csk_ros.replay.live_settings import LiveSettings


def add_live_arguments(parser: ArgumentParser) -> None:
    """Add the flags of a live replay."""
    parser.add_argument(
        "--live", action="store_true", help="play in real time through a node, its own or a running one"
    )
    parser.add_argument(
        "--node",
        metavar="NAME",
        type=str | None,
        default=None,
        help="with --live: a running node, such as segment or front/segment; default: starts one of its own",
    )
    parser.add_argument(
        "--rate", type=float, default=1.0, help="with --live: how much faster than recorded, 0.01 to 100"
    )
    parser.add_argument(
        "--loop", type=int, default=1, help="with --live: how often to play the bag; 0: until Ctrl-C"
    )
    parser.add_argument(
        "--clock",
        action="store_true",
        help="with --live: publish /clock and leave the stamps as they are, for a node with use_sim_time",
    )
    for modality, kind in (("eo", "optical"), ("ir", "thermal")):
        parser.add_argument(
            f"--publish-{modality}",
            metavar="TOPIC",
            type=str,
            default="",
            help=f"with --live: where {kind} images go; default: {modality}/image in the node's namespace",
        )


def live_settings(arguments: Namespace, **shared: Any) -> LiveSettings:
    """The settings of a live replay.

    Args:
        arguments: of the flags above.
        **shared: the fields of ``LiveSettings`` that every replay has, such as ``bag`` and ``injections``.

    Raises:
        ValueError: as ``LiveSettings``.
    """
    from csk_ros.modality import Modality
    from csk_ros.replay.live_settings import LiveSettings

    publish = {modality: arguments[f"publish_{modality.value}"] for modality in Modality}
    return LiveSettings(
        **shared,
        node=arguments.node,
        rate=arguments.rate,
        loop=arguments.loop,
        clock=arguments.clock,
        publish={modality: topic for modality, topic in publish.items() if topic},
    )
