"""``csk export``: a checkpoint as ONNX or OpenVINO files."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from csk_ros.cli.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csk_ros.data import SampleSet


def register(commands: Any, name: str) -> None:
    """Add ``csk export`` to the commands."""
    text = "write the network as ONNX or OpenVINO, camera bytes in, label ids out"
    export = ArgumentParser(
        description="Write each route of a checkpoint as a model of its own that takes camera images and "
        "gives label ids, and compare it with torch on real images: one that answers otherwise is refused. "
        "An int8 model for OpenVINO is kept for the node as well (its parameter precision: int8).",
    )
    export.add_argument(
        "--checkpoint", type=str | None, default=None, help="weights; default: those that come along"
    )
    export.add_argument("--to", type=str, default="onnx", help="onnx or openvino")
    export.add_argument(
        "--out", metavar="DIR", type=str, required=True, help="folder of the files; must be new"
    )
    export.add_argument(
        "--data",
        metavar="SPEC",
        type=str,
        required=True,
        help="images to compare on and, for int8, to calibrate on: bag:PATH, KIND:ROOT as for csk evaluate, "
        "or scenes:seed=3,frames=80",
    )
    export.add_argument("--split", type=str | None, default=None, help="of the data set; default: all of it")
    export.add_argument("--size", metavar="HxW", type=str, default="480x640", help="of thermal images")
    export.add_argument(
        "--eo-size", metavar="HxW", type=str, default="", help="of optical images; default: --size"
    )
    export.add_argument(
        "--working-size", metavar="HxW", type=str, default="", help="of the network; default: --size"
    )
    export.add_argument("--ir-bits", type=int, default=8, help="8 or 16, of a thermal pixel")
    export.add_argument("--precision", type=str, default="float32", help="float32, float16 or int8")
    export.add_argument(
        "--dynamic", action="store_true", help="take any size in multiples of 32, both images of one size"
    )
    export.add_argument("--routes", metavar="LIST", type=str, default="", help="default: all of the network")
    export.add_argument("--no-confidence", action="store_true", help="leave the confidence out")
    export.add_argument("--frames", type=int, default=40, help="to compare on, and as many to calibrate on")
    export.add_argument(
        "--least-agreement",
        metavar="SHARE",
        type=float | None,
        default=None,
        help="of pixels that must get torch's class; default: 0.99, of int8 0.9",
    )
    export.add_argument(
        "--most-miou-loss", metavar="POINTS", type=float, default=1.0, help="of mIoU where there are labels"
    )
    commands.add_subcommand(name, export, help=text)


def run(arguments: Namespace) -> None:
    """Run ``csk export``."""
    from csk_ros.evaluation.export import ExportSettings, export, format_checks
    from csk_ros.modality import Route
    from csk_ros.share import DEFAULT_CHECKPOINT, share_path

    checkpoint = arguments.checkpoint or share_path(DEFAULT_CHECKPOINT)
    settings = ExportSettings(
        checkpoint=Path(checkpoint).expanduser(),
        to=arguments.to,
        routes=tuple(Route(name.strip().upper()) for name in arguments.routes.split(",") if name.strip()),
        size=parse_size(arguments.size),
        eo_size=parse_size(arguments.eo_size) if arguments.eo_size else None,
        working_size=parse_size(arguments.working_size) if arguments.working_size else None,
        ir_bits=arguments.ir_bits,
        precision=arguments.precision,
        dynamic=arguments.dynamic,
        confidence=not arguments.no_confidence,
        frames=arguments.frames,
        least_agreement=arguments.least_agreement,
        most_miou_loss=arguments.most_miou_loss,
        data=arguments.data,
    )
    out = Path(arguments.out).expanduser()
    with _samples(arguments.data, arguments.split) as samples:
        checks = export(settings, samples, out, progress=True)
    print(f"{format_checks(checks)}\n\nwrote {out}")


@contextmanager
def _samples(spec: str, split: str | None) -> Iterator[SampleSet]:
    from csk_ros.data import open_samples

    kind, _, path = spec.partition(":")
    if kind != "bag":
        yield open_samples(spec, split)
        return
    from csk_ros.replay.extract import extract_images

    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames"
        extract_images(Path(path).expanduser(), frames)
        yield open_samples(f"mfnet:{frames}")
