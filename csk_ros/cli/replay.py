"""``csk replay``: a bag through the network, deterministic or live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from csk_ros.cli.replay_live import add_live_arguments, live_settings

if TYPE_CHECKING:
    from csk_ros.replay.injection import Injection
    from csk_ros.replay.label_folder import LabelFolder
    from csk_ros.replay.result import ReplayResult

_KINDS = {
    "drop": ("STRETCH", "images do not come: 3:6 (seconds), every:10:2 (2 s in every 10 s) or all"),
    "freeze": ("STRETCH", "the last image is repeated"),
    "dark": ("STRETCH", "images lose all but a 64th of their signal"),
    "delay": ("TIME", "images arrive later, with their stamps: 80ms, or 80ms@3:6 for a stretch"),
    "shift": (
        "SHIFT",
        "stamps (40ms) or pixels (12px or 12px,-4px) are shifted; 40ms@3:6 for a stretch",
    ),
}
_MODALITIES = {"eo": "optical", "ir": "thermal"}
_NODE = ("engine", "device", "threads", "precision", "route")
_OFFLINE = (
    *("checkpoint", "eo", "ir", "labels", "parameters", *_NODE),
    *("confidence", "overlay", "probe_every"),
)


def register(commands: Any, name: str) -> None:
    """Add ``csk replay`` to the commands."""
    text = "segment a bag, score the masks and report"
    replay = ArgumentParser(
        description="Take a bag through the node's own pairing, fallback and network without DDS (same bag, "
        "same weights: same bytes), and write masks and a report. Exit code 3: the result is valid, but the "
        "bag is damaged or a stream unreadable; 130: interrupted, the same command goes on from there.",
    )
    replay.add_argument(
        "bag", metavar="BAG", type=str, help="rosbag2 folder, .mcap or .db3 file, or ROS 1 .bag"
    )
    replay.add_argument(
        "--out", metavar="DIR", type=str, required=True, help="folder of the results; must be new"
    )
    replay.add_argument(
        "--checkpoint", type=str | None, default=None, help="weights; default: those that come along"
    )
    _add_inputs(replay)
    _add_injections(replay)
    _add_network(replay)
    replay.add_argument("--confidence", action="store_true", help="write confidence maps as well")
    replay.add_argument("--overlay", action="store_true", help="write overlays as well, as JPEG")
    replay.add_argument(
        "--probe-every",
        metavar="N",
        type=int | None,
        default=None,
        help="measure agreement of fused and thermal, and steadiness, on one frame of N; 0: not; default: 10 "
        "without labels, else 0",
    )
    add_live_arguments(replay)
    commands.add_subcommand(name, replay, help=text)


def run(arguments: Namespace) -> int:
    """Run ``csk replay``."""
    from csk_ros.replay.conclude import conclude
    from csk_ros.replay.label_folder import LabelFolder

    labels = arguments.labels
    folder = LabelFolder(labels) if labels and Path(labels).is_dir() else None
    result = _live(arguments, folder) if arguments.live else _offline(arguments)
    return conclude(Path(arguments.out).expanduser(), result, folder.labels_at if folder else None)


def _offline(arguments: Namespace) -> ReplayResult:
    from csk_ros.replay.offline import run_offline
    from csk_ros.replay.offline_settings import OfflineSettings

    settings = OfflineSettings(
        bag=arguments.bag,
        out=arguments.out,
        injections=_injections(arguments),
        start_s=arguments.start,
        end_s=arguments.end,
        **{name: arguments[name] for name in _OFFLINE},
    )
    return run_offline(settings)


def _live(arguments: Namespace, labels: LabelFolder | None) -> ReplayResult:
    from csk_ros.replay.bag import refuse_existing
    from csk_ros.replay.live_run import run_live

    for name in ("confidence", "overlay"):
        if arguments[name]:
            raise ValueError(
                f"--{name} is for replay without --live: a node publishes what its parameters say"
            )
    out = Path(arguments.out).expanduser().resolve()
    refuse_existing(out)
    given = {name: arguments[name] for name in (*_NODE, "checkpoint")}
    settings = live_settings(
        arguments,
        bag=Path(arguments.bag).expanduser(),
        masks=out / "masks",
        log=out / "node.log",
        eo=arguments.eo,
        ir=arguments.ir,
        labels="none" if labels else arguments.labels,
        labels_at=labels.labels_at if labels else None,
        labels_from=arguments.labels if labels else "",
        injections=_injections(arguments),
        start_s=arguments.start,
        end_s=float("inf") if arguments.end is None else arguments.end,
        parameters_file=Path(arguments.parameters).expanduser() if arguments.parameters else None,
        parameters={name: str(value) for name, value in given.items() if value is not None},
    )
    out.mkdir(parents=True)
    try:
        return run_live(settings)
    except BaseException:
        if not any(out.iterdir()):
            out.rmdir()
        raise


def _add_inputs(parser: ArgumentParser) -> None:
    parser.add_argument("--eo", metavar="TOPIC", type=str | None, default=None, help="optical topic, or none")
    parser.add_argument("--ir", metavar="TOPIC", type=str | None, default=None, help="thermal topic, or none")
    parser.add_argument(
        "--labels",
        type=str | None,
        default=None,
        help="label topic, a folder of PNGs named by stamp, or none; default: a label topic if there is one",
    )
    parser.add_argument(
        "--start", metavar="S", type=float, default=0.0, help="begin so many seconds into the bag"
    )
    parser.add_argument(
        "--end", metavar="S", type=float | None, default=None, help="end so many seconds into it"
    )


def _add_injections(parser: ArgumentParser) -> None:
    for modality, camera in _MODALITIES.items():
        for kind, (metavar, text) in _KINDS.items():
            parser.add_argument(
                f"--{kind}-{modality}",
                metavar=metavar,
                type=str,
                action="append",
                default=[],
                help=f"{camera} {text}; may be given several times",
            )


def _add_network(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--parameters", metavar="FILE", type=str | None, default=None, help="the node's parameter file"
    )
    parser.add_argument(
        "--engine", type=str | None, default=None, help="auto, torch, openvino, onnxruntime or tensorrt"
    )
    parser.add_argument("--device", type=str | None, default=None, help="auto, cpu, cuda, cuda:N or xpu")
    parser.add_argument(
        "--threads", type=int | None, default=None, help="CPU threads; 0: what suits the machine"
    )
    parser.add_argument(
        "--precision",
        type=str | None,
        default=None,
        help="auto, or as the engine offers: float32, int8",
    )
    parser.add_argument("--route", type=str | None, default=None, help="auto, fused, ir_only or eo_only")


def _injections(arguments: Namespace) -> tuple[Injection, ...]:
    from csk_ros.modality import Modality
    from csk_ros.replay.injection import KINDS, Injection

    return tuple(
        Injection.parse(kind, modality, text)
        for modality in Modality
        for kind in KINDS
        for text in arguments[f"{kind}_{modality.value}"]
    )
