"""From a checkpoint to ONNX or OpenVINO files that are known to answer as torch does."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import csk_ros
from csk_ros.evaluation.export_check import Check, Checker, camera_images
from csk_ros.inference import SegmenterError
from csk_ros.inference.engines.openvino_engine import OpenVINOEngine
from csk_ros.inference.exported import FORMATS, PRECISIONS, ExportShape, export_route, run_exported
from csk_ros.inference.graph import MULTIPLE
from csk_ros.inference.int8_models import SUFFIX, keep_int8, write_int8
from csk_ros.inference.model_cache import ModelCache, fingerprint
from csk_ros.inference.preprocess import levels
from csk_ros.inference.quantize import quantize
from csk_ros.modality import Modality, Route
from csk_ros.network import load_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csk_ros.data.sample import Sample, SampleSet
    from csk_ros.network import Checkpoint

_LEAST_AGREEMENT = {"float32": 0.99, "float16": 0.99, "int8": 0.9}


class ExportError(SegmenterError):
    """An exported model answers otherwise than torch; says by how much."""


@dataclass(frozen=True)
class ExportSettings:
    """What is exported, and when it is refused.

    Attributes:
        checkpoint: file with the network.
        to: ``onnx`` or ``openvino``.
        routes: empty takes all that the network has.
        size: height and width of thermal images; of both if ``eo_size`` is None.
        eo_size: of optical images.
        working_size: at which the network works; None for the anchor's.
        ir_bits: 8 or 16 of a thermal pixel.
        precision: ``float32``, ``float16`` or ``int8``.
        dynamic: take images of any size that is a multiple of 32; both of one size.
        confidence: have the confidence as an output.
        frames: how many frames are compared, and for int8 as many others calibrated on.
        least_agreement: share of pixels that must get torch's class; None: 0.99, of int8 0.9.
        most_miou_loss: points of mIoU that may be lost where there are labels.
        threads: of the CPU when the two are compared.
        data: what the images are, in words, for the record.

    Raises:
        ValueError: for values that mean nothing.
    """

    checkpoint: Path
    to: str = "onnx"
    routes: tuple[Route, ...] = ()
    size: tuple[int, int] = (480, 640)
    eo_size: tuple[int, int] | None = None
    working_size: tuple[int, int] | None = None
    ir_bits: int = 8
    precision: str = "float32"
    dynamic: bool = False
    confidence: bool = True
    frames: int = 40
    least_agreement: float | None = None
    most_miou_loss: float = 1.0
    threads: int = field(default_factory=torch.get_num_threads)
    data: str = "own images"

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name, value, allowed in (
            ("to", self.to, FORMATS),
            ("precision", self.precision, PRECISIONS),
            ("ir_bits", self.ir_bits, (8, 16)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value}: use one of {', '.join(map(str, allowed))}")
        if (self.to, self.precision) == ("onnx", "int8"):
            raise ValueError("int8 is written for openvino only: use --to openvino")
        if self.dynamic and self.precision == "int8":
            raise ValueError("int8 is calibrated for one size: leave --dynamic out")
        if self.frames < 1:
            raise ValueError(f"frames is {self.frames}: compare at least one")
        sizes = [self.size, *filter(None, (self.eo_size, self.working_size))]
        if min(map(min, sizes)) < 1:
            raise ValueError("sizes must be positive, such as 480x640")
        if self.dynamic and (len(set(sizes)) > 1 or any(side % MULTIPLE for side in self.size)):
            raise ValueError(f"dynamic models take both images in one size, of multiples of {MULTIPLE}")

    @property
    def shape(self) -> ExportShape:
        """What the files take."""
        sizes = {Modality.EO: self.eo_size or self.size, Modality.IR: self.size}
        return ExportShape(sizes, self.working_size, self.ir_bits, self.dynamic, self.confidence)

    @property
    def agreement(self) -> float:
        """Share of pixels that must get torch's class."""
        return _LEAST_AGREEMENT[self.precision] if self.least_agreement is None else self.least_agreement


def export(
    settings: ExportSettings, samples: SampleSet, out: Path, *, progress: bool = False
) -> dict[Route, Check]:
    """Write every route as a file of its own, once it answers as torch does on real images.

    The networks of int8 are written into a file for the node as well, which serves every size, and that is
    kept in the checkpoint's cache, where the node finds it.

    Args:
        settings: what.
        samples: images to compare on, and for int8 others of them to calibrate on, spread over the whole set.
        out: a folder that does not exist yet; it appears when everything is in it.
        progress: tell on stderr what is being done.

    Returns:
        How each route compares.

    Raises:
        FileExistsError: if ``out`` exists.
        CheckpointError: if the checkpoint cannot be used.
        ValueError: for a route that the network does not have, or too few samples.
        ExportError: if a model answers otherwise than torch; nothing is written.
        SegmenterError: if a library is missing or cannot do it.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists already: name a new folder")
    checkpoint = load_checkpoint(settings.checkpoint)
    routes = _routes(settings, checkpoint)
    calibration, compared = _choose(samples, settings)
    checker = Checker(checkpoint, settings.shape, compared, settings.threads)
    say = sys.stderr.write if progress else (lambda _: None)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        folder = Path(name) / out.name
        folder.mkdir()
        checks = {}
        calibrated = {}
        for route in routes:
            path = folder / f"{route.value.lower()}{FORMATS[settings.to]}"
            if settings.precision == "int8":
                say(f"{route.value}: calibrating on {len(calibration)} frames\n")
                calibrated[route] = _calibrate(checkpoint, route, settings.shape, calibration)
            say(f"{route.value}: writing {path.name}\n")
            export_route(
                checkpoint,
                route,
                settings.shape,
                path,
                precision=settings.precision,
                network=calibrated.get(route),
            )
            say(f"{route.value}: comparing {len(compared)} frames with torch\n")
            checks[route] = checker.check(route, run_exported(path, settings.threads))
            _refuse(route, checks[route], settings)
        if calibrated:
            how = f"{len(calibration)} frames of {settings.data}"
            _keep_for_the_node(checkpoint, settings.checkpoint, calibrated, folder, how)
        (folder / "export.json").write_text(_manifest(settings, checkpoint, checks), encoding="utf-8")
        folder.replace(out)
    return checks


def format_checks(checks: dict[Route, Check]) -> str:
    """The comparison as a Markdown table."""
    lines = [
        "| route | frames | same class % | worst frame % | mIoU | torch's | ms | torch's |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for route, check in checks.items():
        mious = ["-" if m is None else f"{100 * m:.2f}" for m in (check.miou, check.torch_miou)]
        lines.append(
            f"| {route.value} | {check.frames} | {100 * check.agreement:.2f} | "
            f"{100 * check.worst_agreement:.2f} | {mious[0]} | {mious[1]} | "
            f"{check.median_ms:.1f} | {check.torch_ms:.1f} |"
        )
    return "\n".join(lines)


def _routes(settings: ExportSettings, checkpoint: Checkpoint) -> list[Route]:
    have = checkpoint.network.routes
    if missing := set(settings.routes) - have:
        names = ", ".join(sorted(route.value for route in have))
        raise ValueError(f"this network does not run {min(missing).value}: it runs {names}")
    return [route for route in Route if route in (settings.routes or have)]


def _choose(samples: SampleSet, settings: ExportSettings) -> tuple[list[Sample], list[Sample]]:
    """Frames to calibrate on and others to compare on, each spread over the whole set."""
    parts = 2 if settings.precision == "int8" else 1
    count = min(parts * settings.frames, len(samples))
    if count < parts:
        raise ValueError(f"there are {len(samples)} samples, and {parts} are needed at least")
    places = [round(index * (len(samples) - 1) / max(count - 1, 1)) for index in range(count)]
    chosen = [samples[place] for place in places]
    return (chosen[::2], chosen[1::2]) if parts == 2 else ([], chosen)


def _refuse(route: Route, check: Check, settings: ExportSettings) -> None:
    if check.agreement < settings.agreement:
        raise ExportError(
            f"{route.value} gives {100 * check.agreement:.2f} % of the pixels torch's class, and "
            f"{100 * settings.agreement:.2f} % are asked for: nothing is written"
        )
    if check.miou is None or check.torch_miou is None:
        return
    loss = 100 * (check.torch_miou - check.miou)
    if loss > settings.most_miou_loss:
        raise ExportError(
            f"{route.value} loses {loss:.2f} points of mIoU against torch, and {settings.most_miou_loss:g} "
            f"may be lost: nothing is written"
        )


def _calibrate(
    checkpoint: Checkpoint, route: Route, shape: ExportShape, calibration: Sequence[Sample]
) -> Any:
    """The route in int8, bytes in and logits out, of a size that can be reshaped to any."""
    cpu = torch.device("cpu")
    height, width = (-(-side // MULTIPLE) * MULTIPLE for side in shape.working_size(route))
    frames = [
        [levels(image, (height, width), cpu).numpy() for image in camera_images(sample, route, shape)]
        for sample in calibration
    ]
    return quantize(OpenVINOEngine(checkpoint, cpu).convert(route, (height, width)), frames)


def _keep_for_the_node(
    checkpoint: Checkpoint, path: Path, calibrated: dict[Route, Any], folder: Path, how: str
) -> None:
    file = folder / path.with_suffix(SUFFIX).name
    write_int8(file, fingerprint(checkpoint), calibrated, how)
    cache = ModelCache.beside(path)
    if keep_int8(cache, fingerprint(checkpoint), file) is None:
        folders = " or ".join(map(str, cache.folders))
        raise SegmenterError(f"cannot write the node's int8 models into {folders}")


def _manifest(settings: ExportSettings, checkpoint: Checkpoint, checks: dict[Route, Check]) -> str:
    shape = settings.shape
    document = {
        "csk_ros": csk_ros.__version__,
        "checkpoint": {"file": settings.checkpoint.name, "fingerprint": fingerprint(checkpoint)},
        "classes": list(checkpoint.label_set.names),
        "format": settings.to,
        "precision": settings.precision,
        "inputs": {
            "eo": {"dtype": "uint8", "shape": [*shape.sizes[Modality.EO], 3], "channels": "RGB"},
            "ir": {"dtype": f"uint{shape.ir_bits}", "shape": list(shape.sizes[Modality.IR])},
        },
        "dynamic": shape.dynamic,
        "working_size": shape.working,
        "outputs": list(shape.outputs),
        "routes": {route.value: asdict(check) for route, check in checks.items()},
        "torch": torch.__version__,
    }
    return json.dumps(document, indent=1) + "\n"
