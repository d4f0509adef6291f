"""Exported models: how they are written, and how they are run to see what they answer."""

from __future__ import annotations

import importlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from csk_ros.inference.camera_graph import CameraGraph, LevelsGraph
from csk_ros.inference.graph import MULTIPLE, RouteGraph
from csk_ros.inference.onnx_file import write_onnx
from csk_ros.inference.openvino_graph import chain_openvino, reshape_openvino, trace_openvino
from csk_ros.inference.openvino_library import import_openvino, openvino_core
from csk_ros.inference.postprocess import AnswerGraph
from csk_ros.modality import Modality
from csk_ros.network import fold_batch_norms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from csk_ros.modality import Route
    from csk_ros.network import Checkpoint

FORMATS = {"onnx": ".onnx", "openvino": ".xml"}
"""Suffix of the files of each."""

PRECISIONS = ("float32", "float16", "int8")
_MOST = 128


@dataclass(frozen=True)
class ExportShape:
    """What an exported model takes and gives.

    Attributes:
        sizes: height and width of each modality's images; of a dynamic model, those it is traced with.
        working: height and width that the network works at; None for the anchor's.
        ir_bits: 8 or 16, of a thermal pixel.
        dynamic: whether it takes any size that both images have, in multiples of :data:`MULTIPLE`.
        confidence: whether the confidence is an output.
    """

    sizes: dict[Modality, tuple[int, int]]
    working: tuple[int, int] | None = None
    ir_bits: int = 8
    dynamic: bool = False
    confidence: bool = True

    def working_size(self, route: Route) -> tuple[int, int]:
        """Height and width that the network works at on a route."""
        return self.working or self.anchor_size(route)

    def anchor_size(self, route: Route) -> tuple[int, int]:
        """Height and width of a route's answer."""
        return self.sizes[route.modalities[-1]]  # IR comes last

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return ("labels", "confidence") if self.confidence else ("labels",)


def export_route(
    checkpoint: Checkpoint,
    route: Route,
    shape: ExportShape,
    path: Path,
    *,
    precision: str = "float32",
    network: Any = None,
) -> None:
    """Write one route as a file, camera bytes in, label ids out; see :class:`CameraGraph`.

    Args:
        checkpoint: what to export; it is not changed.
        route: of its network.
        shape: what the file takes.
        path: ``*.onnx``, or for OpenVINO ``*.xml``, beside which a ``*.bin`` appears.
        precision: ``float32`` or ``float16``, of the weights.
        network: an OpenVINO model of the route, bytes or levels in and logits out, in place of the
            checkpoint's own: a calibrated one, as
            :func:`csk_ros.inference.openvino_graph.reshape_openvino` takes it.

    Raises:
        SegmenterError: if a library is missing or cannot do it.
    """
    if path.suffix == FORMATS["onnx"]:
        path.write_bytes(_onnx(checkpoint, route, shape, half=precision == "float16"))
        return
    if shape.dynamic:  # a trace has no sizes that change
        model = _through_onnx(checkpoint, route, shape, path)
    else:
        model = _openvino_model(checkpoint, route, shape, network)
    import_openvino().save_model(model, path, compress_to_fp16=precision == "float16")


def run_exported(path: Path, threads: int) -> Callable[[Sequence[NDArray[Any]]], list[NDArray[np.uint8]]]:
    """An exported file in the runtime that it is for, on the CPU.

    Args:
        path: what :func:`export_route` wrote.
        threads: CPU threads.

    Returns:
        A function from camera images in the route's order to labels and, if the model has it, confidence.
    """
    if path.suffix == FORMATS["onnx"]:
        runtime = importlib.import_module("onnxruntime")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = threads
        session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        return lambda images: list(session.run(None, dict(zip(names, images, strict=True))))
    hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino_core().compile_model(path, "CPU", hints)
    return lambda images: [answer.copy() for answer in compiled(list(images)).values()]


def _onnx(checkpoint: Checkpoint, route: Route, shape: ExportShape, *, half: bool = False) -> bytes:
    graph = _network(checkpoint, route)
    if half:
        graph.network.half()
    levels, answer = _ends(route, shape)
    names = [modality.value for modality in route.modalities]
    sides = {
        index: MULTIPLE * torch.export.Dim(name, min=2, max=_MOST) for index, name in enumerate(("h", "w"))
    }
    return write_onnx(
        CameraGraph(levels, graph, answer),
        levels.examples(shape.sizes),
        shape.outputs,
        inputs=names,
        dynamic_shapes=(tuple(sides for _ in names),) if shape.dynamic else None,
    )


def _through_onnx(checkpoint: Checkpoint, route: Route, shape: ExportShape, path: Path) -> Any:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(_onnx(checkpoint, route, shape))
        return import_openvino().convert_model(file)


def _openvino_model(checkpoint: Checkpoint, route: Route, shape: ExportShape, network: Any) -> Any:
    openvino = import_openvino()
    levels, answer = _ends(route, shape)
    # its reader of torch does not know uint16
    images = [x.to(torch.int32) if x.dtype == torch.uint16 else x for x in levels.examples(shape.sizes)]
    if network:
        network = reshape_openvino(network, shape.working_size(route))
    else:
        graph = _network(checkpoint, route)
        network = trace_openvino(graph, graph.examples(shape.working_size(route)))
    logits = torch.zeros(tuple(network.output(0).shape))
    model = chain_openvino(
        trace_openvino(levels, tuple(images)), network, trace_openvino(_MapByMap(answer), (logits,))
    )
    names = [modality.value for modality in route.modalities]
    for ports, port_names in ((model.inputs, names), (model.outputs, shape.outputs)):
        for port, name in zip(ports, port_names, strict=True):
            port.get_tensor().set_names({name})
    if shape.ir_bits == 16 and Modality.IR in route.modalities:
        steps = openvino.preprocess.PrePostProcessor(model)
        steps.input("ir").tensor().set_element_type(openvino.Type.u16)
        model = steps.build()
    return model


class _MapByMap(torch.nn.Module):
    """An answer in as many outputs as it has maps."""

    def __init__(self, answer: AnswerGraph) -> None:
        super().__init__()
        self._answer = answer

    def forward(self, logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self._answer(logits))


def _network(checkpoint: Checkpoint, route: Route) -> RouteGraph:
    network = fold_batch_norms(checkpoint.network).requires_grad_(requires_grad=False)
    return RouteGraph(checkpoint, network, route).eval()


def _ends(route: Route, shape: ExportShape) -> tuple[LevelsGraph, AnswerGraph]:
    """What comes before the network, and what after it."""
    size = None if shape.dynamic else shape.anchor_size(route)
    return (
        LevelsGraph(route, shape.working, ir_bits=shape.ir_bits).eval(),
        AnswerGraph(size, confidence=shape.confidence).eval(),
    )
