"""The OpenVINO engine: compiled static-shape models on the CPU, one for each route and size."""

from __future__ import annotations

import importlib
import io
import json
import sys
import warnings
from collections import OrderedDict
from contextlib import contextmanager, suppress
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

import csk_ros
from csk_ros.inference.engines.base import DEFAULT_OPTIONS, EngineOptions
from csk_ros.inference.engines.compiled import KEPT_SIZES, CompiledEngine, Model
from csk_ros.inference.errors import EngineError
from csk_ros.inference.postprocess import AnswerGraph, answer_at_edges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import ModuleType

    from csk_ros.inference.model_cache import ModelCache
    from csk_ros.modality import Route
    from csk_ros.network import Checkpoint

PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""What OpenVINO is told of each; an int8 model says itself which of its layers are."""

MODEL_FILE = "model.xml"
_COMPILED_FILE = "compiled.blob"

_MACHINE = "FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES"
"""What a compiled model depends on besides OpenVINO's version, as its properties."""

_KEPT_CONVERSIONS = 4 * KEPT_SIZES
_conversions: OrderedDict[str, Any] = OrderedDict()
"""Models by key, kept for engines that are built anew: torch never frees the 10 MB of a trace."""


class OpenVINOEngine(CompiledEngine):
    """Models that OpenVINO compiles for the CPU.

    Args:
        checkpoint: whose network to run; it is not changed.
        device: the CPU.
        options: precision ``float32``; ``bfloat16`` on a CPU that computes in it; ``int8`` for what
            ``csk export`` has calibrated and left in the cache.

    Raises:
        EngineError: if openvino is missing, for another device, or a precision that the CPU does not have.
    """

    name = "openvino"
    precisions = tuple(PRECISIONS)

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, options: EngineOptions = DEFAULT_OPTIONS
    ) -> None:
        if device.type != "cpu":
            raise EngineError(
                f"engine openvino runs on the CPU, not on {device}: use device cpu or engine torch"
            )
        self.check_precision(options.precision)
        try:
            self._openvino = import_openvino()
        except ImportError as error:
            raise EngineError(
                f"engine openvino is not installed ({error}): pip install 'csk_ros[openvino]'"
            ) from error
        self._core = openvino_core()
        if options.precision == "bfloat16" and "BF16" not in self._core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise EngineError("this CPU does not compute in bfloat16: use precision float32")
        super().__init__(checkpoint, device, options)
        self._answers: OrderedDict[tuple[torch.Size, tuple[int, int]], _Request] = OrderedDict()
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
            # a pinned thread waits for whatever else runs on its core
            "ENABLE_CPU_PINNING": False,
        }

    def _compile(self, route: Route, size: tuple[int, int]) -> Model:
        what = f"{route.value} at {size[0]}x{size[1]}"
        hint = PRECISIONS[self._options.precision]
        if self._options.precision == "int8":
            key = self._key(route, size, "int8")
            return self._request(what, key, lambda: self._calibrated(route, size), hint)
        # bfloat16 is made of float32 when it is compiled
        key = self._key(route, size, "float32")
        return self._request(what, key, lambda: self._converted(key, lambda: self.convert(route, size)), hint)

    def _answer(self, logits: torch.Tensor, size: tuple[int, int], *, confidence: bool) -> torch.Tensor:
        whole = self._whole_answer(logits.shape, size)  # ready for the first frame full of edges
        if not confidence and (labels := answer_at_edges(logits, size)) is not None:
            return labels
        return whole([logits])[: 1 + confidence].clone()

    def _whole_answer(self, shape: torch.Size, size: tuple[int, int]) -> _Request:
        key = shape, size
        if key not in self._answers:
            self._answers[key] = self._compile_answer(*key)
            if len(self._answers) > KEPT_SIZES:
                self._answers.popitem(last=False)
        self._answers.move_to_end(key)
        return self._answers[key]

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
            "f32",
        )

    def _request(self, what: str, key: dict[str, Any], make: Callable[[], Any], hint: str) -> _Request:
        """A model ready to run: as it was compiled at an earlier start, or what ``make`` gives."""
        # else the machine decides, and the same weights answer differently elsewhere
        settings = {**self._settings, "INFERENCE_PRECISION_HINT": hint}
        key = self._compiled_key(key, hint)
        compiled = self._imported(key, settings)
        if compiled is None:
            compiled = self._compiled(what, make, settings)
            if cache := self._options.cache:
                with suppress(RuntimeError):  # it runs all the same
                    cache.put(key, lambda folder: _write_compiled(compiled, folder))
        return _Request(compiled.create_infer_request())

    def _imported(self, key: dict[str, Any], settings: dict[str, Any]) -> Any:
        cache = self._options.cache
        folder = cache and cache.find(key)
        if not (cache and folder):
            return None
        try:
            return self._core.import_model((folder / _COMPILED_FILE).read_bytes(), "CPU", settings)
        except RuntimeError:  # OpenVINO's own judgement of what it wrote: compile it again
            cache.discard(key)
            return None

    def _compiled(self, what: str, make: Callable[[], Any], settings: dict[str, Any]) -> Any:
        failures = self._openvino.frontend
        try:
            return self._core.compile_model(make(), "CPU", settings)
        except (RuntimeError, failures.OpConversionFailure, failures.OpValidationFailure) as error:
            raise EngineError(
                f"openvino {self._openvino.__version__} cannot compile {what}: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error

    def keep(self, cache: ModelCache, route: Route, size: tuple[int, int], model: Any) -> Path | None:
        """Keep an int8 model of a route for engines to come, in place of an earlier one.

        Returns:
            Its folder, or None if it could not be written.
        """
        key = self._key(route, size, "int8")
        for old in (key, self._compiled_key(key, PRECISIONS["int8"])):
            cache.discard(old)
        return cache.put(key, lambda folder: save_openvino(model, folder))

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

    def _compiled_key(self, key: dict[str, Any], hint: str) -> dict[str, Any]:
        return {**key, "compiled": [hint, *(str(self._core.get_property("CPU", name)) for name in _MACHINE)]}

    @property
    def _versions(self) -> list[str]:
        return [csk_ros.__version__, self._openvino.__version__, torch.__version__]

    def _calibrated(self, route: Route, size: tuple[int, int]) -> Any:
        cache = self._options.cache
        model = cache and self._cached(cache, self._key(route, size, "int8"))
        if not model:
            height, width = size
            raise EngineError(
                f"there is no int8 model of this checkpoint for {route.value} at {height}x{width}: "
                f"make it with csk export --to openvino --precision int8 --size {height}x{width} and images "
                f"to calibrate on, or use precision float32"
            )
        return model

    def _converted(self, key: dict[str, Any], convert: Callable[[], Any]) -> Any:
        known = json.dumps(key)
        model = _conversions.get(known) or self._read_or_convert(key, convert)
        _conversions[known] = model
        _conversions.move_to_end(known)
        while len(_conversions) > _KEPT_CONVERSIONS:
            _conversions.popitem(last=False)
        return model

    def _read_or_convert(self, key: dict[str, Any], convert: Callable[[], Any]) -> Any:
        cache = self._options.cache
        model = cache and self._cached(cache, key)
        if not model:
            model = convert()
            if cache:
                cache.put(key, lambda folder: save_openvino(model, folder))
        return model

    def _cached(self, cache: ModelCache, key: dict[str, Any]) -> Any:
        folder = cache.find(key)
        return folder and self._core.read_model(folder / MODEL_FILE)

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
            own[...] = given.numpy()
        self._request.infer()
        return self._output


def trace_openvino(module: torch.nn.Module, examples: tuple[torch.Tensor, ...]) -> Any:
    """A torch module as an OpenVINO model for inputs of just these shapes; takes seconds.

    What depends on the shapes alone is computed here: NNCF leaves a convolution as it is whose filters are
    no constant.
    """
    with warnings.catch_warnings(), torch.no_grad(), _one_torch_thread():
        # A trace holds for this one shape, as it should; torch.export takes far longer.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]  # it is public
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(module, examples, check_trace=False)  # type: ignore[no-untyped-call]  # torch's
        shapes = [list(example.shape) for example in examples]
        model = import_openvino().convert_model(traced, example_input=examples, input=shapes)
    passes = importlib.import_module("openvino.passes")
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)
    return model


def chain_openvino(*models: Any) -> Any:
    """One model of several, each fed with what the one before gives; they are not changed."""
    parts = [model.clone() for model in models]
    for before, after in pairwise(parts):
        for parameter, result in zip(after.get_parameters(), before.get_results(), strict=True):
            parameter.output(0).replace(result.input_value(0))
    return import_openvino().Model(parts[-1].get_results(), parts[0].get_parameters())


def _write_compiled(compiled: Any, folder: Path) -> None:
    stream = io.BytesIO()
    compiled.export_model(stream)
    (folder / _COMPILED_FILE).write_bytes(stream.getbuffer())


def save_openvino(model: Any, folder: Path) -> None:
    """Write a model's two files into a folder, with its weights as they are."""
    import_openvino().save_model(model, folder / MODEL_FILE, compress_to_fp16=False)


@cache
def openvino_core() -> Any:
    """The process's only ``Core``, which nobody frees.

    With the last one goes the CPU plugin, and with that the stack for signals that it has given to the thread
    where it was loaded; freed in another thread, the next signal kills the process.
    """
    return import_openvino().Core()


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Torch's threads wait for each other: where other processes hold the cores, two are slower than one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def import_openvino() -> ModuleType:
    """Import openvino without its usage reports.

    Raises:
        ImportError: if it is missing or broken.
    """
    return import_without_reports("openvino")


def import_without_reports(module: str) -> ModuleType:
    """Import what sends usage reports without asking as soon as it is imported, without those.

    Raises:
        ImportError: if it is missing or broken.
    """
    reports = "openvino_telemetry"
    if reports in sys.modules:
        return importlib.import_module(module)
    sys.modules[reports] = None  # type: ignore[assignment]  # None makes its import fail, which they expect
    try:
        return importlib.import_module(module)
    finally:
        del sys.modules[reports]
