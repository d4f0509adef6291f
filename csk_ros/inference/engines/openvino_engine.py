"""The OpenVINO engine: compiled static-shape models on the CPU or an Intel GPU, one for each route and size.

Checked on the CPU; on a GPU it runs the same code with other settings and has not been run yet.
"""

from __future__ import annotations

import io
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

import csk_ros
from csk_ros.inference.edges import answer_at_edges
from csk_ros.inference.engines.base import DEFAULT_OPTIONS, EngineOptions
from csk_ros.inference.engines.compiled import KEPT_SIZES, CompiledEngine, Model
from csk_ros.inference.errors import EngineError
from csk_ros.inference.int8_models import SUFFIX, Int8Models, cpu_is_fast_in_int8, find_int8
from csk_ros.inference.latest_used import LatestUsed
from csk_ros.inference.model_cache import fingerprint
from csk_ros.inference.openvino_bytes import as_input, pack_pixels
from csk_ros.inference.openvino_graph import MODEL_FILE, reshape_openvino, save_openvino, trace_openvino
from csk_ros.inference.openvino_library import import_openvino, openvino_core
from csk_ros.inference.postprocess import AnswerGraph

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from csk_ros.modality import Route
    from csk_ros.network import Checkpoint

PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}
"""What OpenVINO is told of each; an int8 model says itself which of its layers are."""

_CAPABILITIES = {"bfloat16": "BF16", "float16": "FP16"}

_COMPILED_FILE = "compiled.blob"


class _Target(NamedTuple):
    """What a model is compiled for: OpenVINO's names of the device and of the precision."""

    place: str
    hint: str


_MACHINE = "FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES"
"""What a compiled model depends on besides OpenVINO's version, as its properties."""

_conversions: LatestUsed[str, Any] = LatestUsed(4 * KEPT_SIZES)
"""Models by key, kept for engines that are built anew: torch never frees the 10 MB of a trace."""


class OpenVINOEngine(CompiledEngine):
    """Models that OpenVINO compiles for the CPU or an Intel GPU; answers are made by the CPU.

    Args:
        checkpoint: whose network to run; it is not changed.
        device: ``cpu``, ``xpu`` or ``xpu:N``.
        options: precision ``float32``; ``bfloat16`` and ``float16`` on a device that computes in it; ``int8``
            with the models that came along with the checkpoint or that ``csk export`` has calibrated.

    Raises:
        EngineError: if openvino is missing, for a device that is not there or a precision that it does not
            have, or int8 without calibrated models.
    """

    name = "openvino"
    precisions = tuple(PRECISIONS)

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, options: EngineOptions = DEFAULT_OPTIONS
    ) -> None:
        if device.type == "cuda":
            raise EngineError(
                f"engine openvino runs on cpu and xpu, not on {device}: use device cpu or engine torch"
            )
        self.check_precision(options.precision)
        try:
            self._openvino = import_openvino()
        except ImportError as error:
            raise EngineError(
                f"engine openvino is not installed ({error}): pip install 'csk_ros[openvino]'"
            ) from error
        self._core = openvino_core()
        self._place = self._find(device)
        needed = _CAPABILITIES.get(options.precision)
        if needed and needed not in self._core.get_property(self._place, "OPTIMIZATION_CAPABILITIES"):
            raise EngineError(
                f"this {device.type.upper()} does not compute in {options.precision}: use precision float32"
            )
        super().__init__(checkpoint, device, options)
        self._int8 = self._calibrated() if options.precision == "int8" else None
        self._answers: LatestUsed[tuple[torch.Size, tuple[int, int]], _Request] = LatestUsed(KEPT_SIZES)

    @classmethod
    def suitable_precision(cls, checkpoint: Checkpoint, device: torch.device, options: EngineOptions) -> str:
        """``int8`` where all routes are calibrated and the CPU is fast in it, else ``float32``."""
        if device.type != "cpu":
            return "float32"
        try:
            models = find_int8(fingerprint(checkpoint), checkpoint.path, options.cache)
            if models:
                models.check()
        except EngineError as error:
            options.report(f"openvino: precision float32, since {error}")
            return "float32"
        if not cpu_is_fast_in_int8():
            options.report("openvino: precision float32, since this CPU has no instructions for int8")
            return "float32"
        if models is None or not models.routes >= checkpoint.network.routes:
            options.report(
                "openvino: precision float32; csk export --to openvino --precision int8 calibrates these "
                "weights for int8, which is faster on this CPU"
            )
            return "float32"
        options.report(f"openvino: precision int8, calibrated on {models.calibration}")
        return "int8"

    def _compile(self, route: Route, size: tuple[int, int]) -> Model:
        what = f"{route.value} at {size[0]}x{size[1]}"
        target = _Target(self._place, PRECISIONS[self.precision])
        if models := self._int8:
            key = {**self._key(route, size, "int8"), "calibrated": models.digest}
            return self._request(
                what, key, lambda: pack_pixels(reshape_openvino(models.read(route), size)), target
            )
        # bfloat16 is made of float32 when it is compiled
        key = self._key(route, size, "float32")
        return self._request(
            what, key, lambda: self._converted(key, lambda: self.convert(route, size)), target
        )

    def _answer(self, logits: torch.Tensor, size: tuple[int, int], *, confidence: bool) -> torch.Tensor:
        whole = self._whole_answer(logits.shape, size)  # ready for the first frame full of edges
        if not confidence and (labels := answer_at_edges(logits, size)) is not None:
            return labels
        return whole([logits])[: 1 + confidence].clone()

    def _whole_answer(self, shape: torch.Size, size: tuple[int, int]) -> _Request:
        return self._answers.find_or((shape, size), lambda: self._compile_answer(shape, size))

    def _compile_answer(self, shape: torch.Size, size: tuple[int, int]) -> _Request:
        """A small model of its own, so that an answer of another size takes no second network."""
        key = {
            "engine": self.name,
            "versions": self._versions,
            "answer": [shape, size],
            "confidence": self._options.confidence,
        }
        graph = AnswerGraph(size, confidence=self._options.confidence)
        return self._request(
            f"the answer at {size[0]}x{size[1]}",
            key,
            lambda: self._converted(key, lambda: trace_openvino(graph, (torch.zeros(shape),))),
            _Target("CPU", "f32"),
        )

    def _request(self, what: str, key: dict[str, Any], make: Callable[[], Any], target: _Target) -> _Request:
        """A model ready to run: as it was compiled at an earlier start, or what ``make`` gives."""
        key = self._compiled_key(key, target)
        compiled = self._imported(key, target)
        if compiled is None:
            compiled = self._compiled(what, make, target)
            if cache := self._options.cache:
                with suppress(RuntimeError):  # it runs all the same
                    cache.put(key, lambda folder: _write_compiled(compiled, folder))
        return _Request(compiled.create_infer_request())

    def _imported(self, key: dict[str, Any], target: _Target) -> Any:
        cache = self._options.cache
        folder = cache and cache.find(key)
        if not (cache and folder):
            return None
        try:
            content = (folder / _COMPILED_FILE).read_bytes()
            return self._core.import_model(content, target.place, self._settings(target))
        except RuntimeError:  # OpenVINO's own judgement of what it wrote: compile it again
            cache.discard(key)
            return None

    def _compiled(self, what: str, make: Callable[[], Any], target: _Target) -> Any:
        failures = self._openvino.frontend
        try:
            return self._core.compile_model(make(), target.place, self._settings(target))
        except (RuntimeError, failures.OpConversionFailure, failures.OpValidationFailure) as error:
            raise EngineError(
                f"openvino {self._openvino.__version__} cannot compile {what}: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error

    def _key(self, route: Route, size: tuple[int, int], precision: str) -> dict[str, Any]:
        """What a model depends on, as :class:`ModelCache` takes it."""
        return {
            "engine": self.name,
            "versions": self._versions,
            "checkpoint": self._fingerprint,
            "route": route.value,
            "size": size,
            "precision": precision,
        }

    def _compiled_key(self, key: dict[str, Any], target: _Target) -> dict[str, Any]:
        machine = [str(self._core.get_property(target.place, name)) for name in _MACHINE]
        return {**key, "compiled": [target.hint, *machine]}

    def _settings(self, target: _Target) -> dict[str, Any]:
        # without the hint the machine decides, and the same weights answer differently elsewhere
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": target.hint}
        if target.place != "CPU":
            return settings
        # a pinned thread waits for whatever else runs on its core
        return settings | {"INFERENCE_NUM_THREADS": self._threads, "ENABLE_CPU_PINNING": False}

    def _find(self, device: torch.device) -> str:
        """What OpenVINO calls a device."""
        if device.type == "cpu":
            return "CPU"
        place = "GPU" if device.index is None else f"GPU.{device.index}"
        there = self._core.available_devices
        # a single one is listed without its number
        if not {place, place.removesuffix(".0"), f"{place}.0"} & set(there):
            raise EngineError(
                f"openvino finds no Intel GPU for device {device}, only {', '.join(there)}: install Intel's "
                "compute runtime (OpenCL), or use device cpu"
            )
        return place

    @property
    def _versions(self) -> list[str]:
        return [csk_ros.__version__, self._openvino.__version__, torch.__version__]

    def _calibrated(self) -> Int8Models:
        models = find_int8(self._fingerprint, self._checkpoint.path, self._options.cache)
        if models is None:
            raise EngineError(
                f"there is no int8 model of this checkpoint: make it with csk export --to openvino "
                f"--precision int8 and images to calibrate on, put one that was made elsewhere (*{SUFFIX}) "
                f"beside the checkpoint, or use precision float32"
            )
        return models

    def _converted(self, key: dict[str, Any], convert: Callable[[], Any]) -> Any:
        return _conversions.find_or(json.dumps(key), lambda: self._read_or_convert(key, convert))

    def _read_or_convert(self, key: dict[str, Any], convert: Callable[[], Any]) -> Any:
        cache = self._options.cache
        if folder := cache and cache.find(key):
            return self._core.read_model(folder / MODEL_FILE)
        model = convert()
        if cache:
            cache.put(key, lambda folder: save_openvino(model, folder))
        return model

    def convert(self, route: Route, size: tuple[int, int]) -> Any:
        """The route as an OpenVINO model, levels in, logits out; takes seconds."""
        graph = self._graph(route)
        return trace_openvino(graph, graph.examples(size))


class _Request:
    """A compiled model with its own input and output memory."""

    def __init__(self, request: Any) -> None:
        self._request = request
        count = len(request.model_inputs)
        self._inputs = [request.get_input_tensor(index).data for index in range(count)]
        self._output = torch.from_numpy(request.get_output_tensor().data)

    def __call__(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        for own, given in zip(self._inputs, inputs, strict=True):
            own[...] = as_input(given.numpy(), own.dtype).reshape(own.shape)
        self._request.infer()
        return self._output


def _write_compiled(compiled: Any, folder: Path) -> None:
    stream = io.BytesIO()
    compiled.export_model(stream)
    (folder / _COMPILED_FILE).write_bytes(stream.getbuffer())
