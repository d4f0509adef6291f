"""The ONNX Runtime engine: static-shape models on the CPU or on CUDA, one for each route and size.

Checked on the CPU; the CUDA path uses the same code and has not been run on a GPU yet.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar

import torch

import csk_ros
from csk_ros.inference.engines.base import DEFAULT_OPTIONS, EngineOptions
from csk_ros.inference.engines.compiled import CompiledEngine, Model
from csk_ros.inference.errors import EngineError
from csk_ros.inference.onnx_file import OnnxError, write_onnx

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from csk_ros.modality import Route
    from csk_ros.network import Checkpoint

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
MODEL_FILE = "model.onnx"


class OnnxRuntimeEngine(CompiledEngine):
    """Models that are exported to ONNX and run by ONNX Runtime.

    Args:
        checkpoint: whose network to run; it is not changed.
        device: the CPU, or a CUDA device for which onnxruntime-gpu is installed.
        options: precision ``float32``.

    Raises:
        EngineError: if onnxruntime is missing or has nothing for the device, or for another precision.

    Attributes:
        provider: what runs the models, as ONNX Runtime names it; None takes what the device has.
    """

    name = "onnxruntime"
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    provider: ClassVar[str | None] = None

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, options: EngineOptions = DEFAULT_OPTIONS
    ) -> None:
        self.check_precision(options.precision)
        try:
            self._runtime = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise EngineError(
                f"engine {self.name} needs onnxruntime, which is not installed ({error}): pip install "
                f"'csk_ros[onnx]'"
            ) from error
        if device.type not in PROVIDERS:
            raise EngineError(f"engine {self.name} runs on cpu and cuda, not {device}: use engine openvino")
        on_device = PROVIDERS[device.type]
        chosen = self.provider or on_device
        if chosen not in self._runtime.get_available_providers():
            raise EngineError(
                f"onnxruntime {self._runtime.__version__} has no {chosen}: install onnxruntime-gpu, or use "
                f"device cpu"
            )
        where = {"device_id": device.index or 0} if device.type == "cuda" else {}
        # a provider that has not got an operation leaves it to the next
        self._providers = [(name, where) for name in dict.fromkeys((chosen, on_device))]
        super().__init__(checkpoint, device, options)

    def _compile(self, route: Route, size: tuple[int, int]) -> Model:
        settings = self._runtime.SessionOptions()
        settings.intra_op_num_threads = self._threads
        # threads that spin while they wait take a core from everything else on the robot
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = self._session(self._exported(route, size), settings, route, size)
        except EngineError:
            raise
        except OnnxError as error:
            raise EngineError(str(error)) from error
        except Exception as error:  # its errors have no common class
            raise EngineError(
                f"onnxruntime {self._runtime.__version__} cannot run {route.value} at {size[0]}x{size[1]}: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error
        return _Session(session)

    def _session(self, content: bytes, settings: Any, route: Route, size: tuple[int, int]) -> Any:  # noqa: ARG002
        """Make ONNX Runtime's session of a model; a provider may need to know what it is of."""
        return self._build(content, settings, {})

    def _build(self, content: bytes, settings: Any, options: dict[str, Any]) -> Any:
        """A session with more options for the provider that was chosen."""
        (name, where), *others = self._providers
        session = self._runtime.InferenceSession(
            content, settings, providers=[(name, {**where, **options}), *others]
        )
        # where the libraries of a provider are missing, onnxruntime only logs it and goes on without
        if (running := session.get_providers()[0]) != name:
            raise EngineError(
                f"onnxruntime {self._runtime.__version__} cannot load {name} and would run on {running}: "
                f"install the libraries that it names on stderr, or use another engine"
            )
        return session

    def _exported(self, route: Route, size: tuple[int, int]) -> bytes:
        key = {
            "engine": OnnxRuntimeEngine.name,
            "versions": [csk_ros.__version__, torch.__version__],
            "checkpoint": self._fingerprint,
            "route": route.value,
            "size": size,
        }
        cache = self._options.cache
        folder = cache and cache.find(key)
        if folder:
            return (folder / MODEL_FILE).read_bytes()
        graph = self._graph(route)
        content = write_onnx(graph, graph.examples(size), ("logits",))
        if cache:
            cache.put(key, lambda new: _write(new / MODEL_FILE, content))
        return content


class _Session:
    """A session as :data:`csk_ros.inference.engines.compiled.Model`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = [given.name for given in session.get_inputs()]

    def __call__(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        given = {name: image.float().numpy() for name, image in zip(self._names, images, strict=True)}
        (logits,) = self._session.run(None, given)
        return torch.from_numpy(logits)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
