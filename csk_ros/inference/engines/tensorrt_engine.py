"""The TensorRT engine: ONNX Runtime's models, built by TensorRT for one GPU.

Not run on a GPU yet; its errors, its settings and its cache are checked without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from csk_ros.inference.engines.base import DEFAULT_OPTIONS, EngineOptions
from csk_ros.inference.engines.onnxruntime_engine import OnnxRuntimeEngine
from csk_ros.inference.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from csk_ros.modality import Route
    from csk_ros.network import Checkpoint


class TensorRTEngine(OnnxRuntimeEngine):
    """As :class:`OnnxRuntimeEngine`, with TensorRT as its provider; CUDA takes what TensorRT cannot.

    TensorRT builds an engine for each route and size, which takes minutes and is then kept in the cache, for
    this GPU and these versions.

    Args:
        checkpoint: whose network to run; it is not changed.
        device: a CUDA device for which onnxruntime-gpu and TensorRT are installed.
        options: precision ``float32`` or ``float16``.

    Raises:
        EngineError: if a library is missing, for another device or precision.
    """

    name = "tensorrt"
    precisions = ("float32", "float16")
    provider = "TensorrtExecutionProvider"

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, options: EngineOptions = DEFAULT_OPTIONS
    ) -> None:
        if device.type != "cuda":
            raise EngineError(
                f"engine tensorrt runs on a CUDA device, not on {device}: use device cuda or engine openvino"
            )
        super().__init__(checkpoint, device, options)
        self._gpu = device

    def _session(self, content: bytes, settings: Any, route: Route, size: tuple[int, int]) -> Any:
        half = {"trt_fp16_enable": self.precision == "float16"}
        cache = self._options.cache
        if not cache:
            return self._build(content, settings, half)
        key = {
            "engine": self.name,
            "versions": [self._runtime.__version__, torch.version.cuda],
            "gpu": torch.cuda.get_device_name(self._gpu),
            "checkpoint": self._fingerprint,
            "route": route.value,
            "size": size,
            "precision": self.precision,
        }

        def build_into(folder: Path) -> None:  # TensorRT itself writes what it builds
            self._build(content, settings, half | _kept_in(folder))

        folder = cache.find(key) or cache.put(key, build_into)
        return self._build(content, settings, half | _kept_in(folder) if folder else half)


def _kept_in(folder: Path) -> dict[str, Any]:
    return {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)}
