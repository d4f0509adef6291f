"""The OpenVINO engine: compiled static-shape models on the CPU, one for each route and size."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from csk_ros.inference.engines.base import Engine
from csk_ros.inference.errors import EngineError
from csk_ros.modality import Modality, Route
from csk_ros.network import fold_batch_norms
from csk_ros.network.base import CHANNELS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from csk_ros.network import Checkpoint, Network

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
KEPT_SIZES = 4
"""Sizes whose compiled models are kept, the latest used."""

_KEPT_CONVERSIONS = 3 * KEPT_SIZES
_conversions: OrderedDict[tuple[str, Route, tuple[int, int]], Any] = OrderedDict()
"""Models by network, kept for engines that are built anew: torch never frees the 10 MB of a trace."""


class OpenVINOEngine(Engine):
    """Models that OpenVINO compiles when a size is first met.

    Compiling takes seconds, so a size is compiled for every route at once: a switch between FUSED and IR_ONLY
    never compiles. EO alone at a size of its own is compiled alone.

    Args:
        checkpoint: whose network to run; it is not changed.
        device: the CPU.
        precision: ``float32``, or ``bfloat16`` on a CPU that computes in it.
        threads: CPU threads of the network, and then one of torch around it, in the whole process; ``None``
            takes as many as torch has and leaves those as they are.

    Raises:
        EngineError: if openvino is missing, for another device, or a precision that the CPU does not have.
    """

    name = "openvino"
    precisions = tuple(PRECISIONS)

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        if device.type != "cpu":
            raise EngineError(
                f"engine openvino runs on the CPU, not on {device}: use device cpu or engine torch"
            )
        if precision not in PRECISIONS:
            raise EngineError(
                f"precision of engine openvino must be one of {', '.join(PRECISIONS)}, not {precision!r}"
            )
        try:
            self._openvino = import_openvino()
        except ImportError as error:
            raise EngineError(
                f"engine openvino is not installed ({error}): pip install 'csk_ros[openvino]'"
            ) from error
        self.device = device
        self._core = _core()
        if precision == "bfloat16" and "BF16" not in self._core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise EngineError("this CPU does not compute in bfloat16: use precision float32")
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            # else the machine decides, and the same weights answer differently elsewhere
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
            # a pinned thread waits for whatever else runs on its core
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            torch.set_num_threads(1)
        self._network = fold_batch_norms(checkpoint.network).requires_grad_(requires_grad=False)
        self._fingerprint = _fingerprint(checkpoint.network)
        self._requests: OrderedDict[tuple[int, int], dict[Route, Any]] = OrderedDict()

    def logits(self, images: dict[Modality, torch.Tensor]) -> torch.Tensor:
        """Logits of the route that the images make, valid until the next call; see :class:`Engine`.

        Raises:
            EngineError: if OpenVINO cannot convert or compile the network at this size.
        """
        height, width = next(iter(images.values())).shape[-2:]
        route = Route.of(eo=Modality.EO in images, ir=Modality.IR in images)
        request = self._request(route, (height, width))
        inputs = [images[modality].contiguous().numpy() for modality in route.modalities]
        request.infer(dict(enumerate(inputs)), share_inputs=True)
        return torch.from_numpy(request.get_output_tensor(0).data)

    def _request(self, route: Route, size: tuple[int, int]) -> Any:
        requests = self._requests.setdefault(size, {})
        self._requests.move_to_end(size)
        if route not in requests:
            together = {route} if route is Route.EO_ONLY else self._network.routes
            for each in together - requests.keys():
                requests[each] = self._compile(each, size)
            while len(self._requests) > KEPT_SIZES:
                self._requests.popitem(last=False)
        return requests[route]

    def _compile(self, route: Route, size: tuple[int, int]) -> Any:
        failures = self._openvino.frontend
        try:
            compiled = self._core.compile_model(self._converted(route, size), "CPU", self._settings)
        except (RuntimeError, failures.OpConversionFailure, failures.OpValidationFailure) as error:
            raise EngineError(
                f"openvino {self._openvino.__version__} cannot compile {route.value} at {size[0]}x{size[1]}: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error
        return compiled.create_infer_request()

    def _converted(self, route: Route, size: tuple[int, int]) -> Any:
        key = (self._fingerprint, route, size)
        if key not in _conversions:
            _conversions[key] = self._convert(route, size)
        _conversions.move_to_end(key)
        while len(_conversions) > _KEPT_CONVERSIONS:
            _conversions.popitem(last=False)
        return _conversions[key]

    def _convert(self, route: Route, size: tuple[int, int]) -> Any:
        examples = tuple(torch.zeros(1, CHANNELS[modality], *size) for modality in route.modalities)

        def by_position(*images: torch.Tensor) -> Any:
            names = [modality.value for modality in route.modalities]
            return self._network(**dict(zip(names, images, strict=True)))

        with warnings.catch_warnings(), torch.no_grad(), _one_torch_thread():
            # A trace holds for this one shape, as it should; torch.export takes far longer.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]  # it is public
            warnings.simplefilter("ignore", DeprecationWarning)
            traced = torch.jit.trace(by_position, examples, check_trace=False)  # type: ignore[no-untyped-call]  # torch's
            shapes = [list(example.shape) for example in examples]
            return self._openvino.convert_model(traced, example_input=examples, input=shapes)


@cache
def _core() -> Any:
    """The process's only ``Core``, which nobody frees.

    With the last one goes the CPU plugin, and with that the stack for signals that it has given to the thread
    where it was loaded; freed in another thread, the next signal kills the process.
    """
    return import_openvino().Core()


def _fingerprint(network: Network) -> str:
    """Of architecture and weights: equal for networks that answer alike."""
    digest = hashlib.sha256(json.dumps(network.architecture, sort_keys=True).encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


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
    """Import openvino without its usage reports, which it sends without asking as soon as it is imported.

    Raises:
        ImportError: if it is missing or broken.
    """
    reports = "openvino_telemetry"
    if reports in sys.modules:
        return importlib.import_module("openvino")
    sys.modules[reports] = None  # type: ignore[assignment]  # None makes its import fail, which openvino expects
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[reports]
