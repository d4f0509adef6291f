"""Engines and devices by name; nothing that was named is ever replaced silently."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from csk_ros.inference.engines.base import AUTO, DEFAULT_OPTIONS
from csk_ros.inference.engines.onnxruntime_engine import OnnxRuntimeEngine
from csk_ros.inference.engines.openvino_engine import OpenVINOEngine
from csk_ros.inference.engines.tensorrt_engine import TensorRTEngine
from csk_ros.inference.engines.torch_engine import TorchEngine
from csk_ros.inference.errors import EngineError
from csk_ros.inference.openvino_library import import_openvino

if TYPE_CHECKING:
    from csk_ros.inference.engines.base import Engine, EngineOptions
    from csk_ros.network import Checkpoint

ENGINES: dict[str, type[OnnxRuntimeEngine | OpenVINOEngine | TensorRTEngine | TorchEngine]] = {
    "onnxruntime": OnnxRuntimeEngine,
    "openvino": OpenVINOEngine,
    "tensorrt": TensorRTEngine,
    "torch": TorchEngine,
}
"""Every engine by name."""

_DEVICES = "auto, cpu, cuda, cuda:N, xpu or xpu:N"


def find_device(device: str) -> torch.device:
    """The device of a name as torch has it; ``auto`` is CUDA if there is one, else the CPU.

    ``xpu`` is an Intel GPU, which the engine looks for.

    Raises:
        EngineError: if the name means nothing or the device is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise EngineError(f"device {device!r} is not known: use {_DEVICES}") from error
    if found.type not in ("cpu", "cuda", "xpu"):
        raise EngineError(f"device {device!r} is not supported: use {_DEVICES}")
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= count:
            raise EngineError(
                f"device {device!r} is missing: torch {torch.__version__} finds {count} CUDA device(s); "
                f"install a CUDA build of torch and the driver, or use device auto or cpu"
            )
    return found


def build_engine(
    name: str,
    checkpoint: Checkpoint,
    device: torch.device,
    options: EngineOptions = DEFAULT_OPTIONS,
) -> Engine:
    """Build an engine.

    Args:
        name: a key of :data:`ENGINES`, or ``auto``: openvino, but torch on CUDA and where that is missing.
        checkpoint: what to run.
        device: where.
        options: what else engines are told; 0 threads and the precision ``auto`` take what suits the engine
            and the machine.

    Raises:
        EngineError: for an unknown engine, or one that cannot run there.
    """
    if name == "auto":
        name = "openvino" if device.type != "cuda" and _openvino_imports() else "torch"
    if name not in ENGINES:
        raise EngineError(
            f"engine {name!r} is not available: use auto or one of {', '.join(sorted(ENGINES))}"
        )
    if options.precision == AUTO:
        precision = ENGINES[name].suitable_precision(checkpoint, device, options)
        options = replace(options, precision=precision)
    if options.threads == 0:
        options = replace(options, threads=ENGINES[name].suitable_threads())
    return ENGINES[name](checkpoint, device, options)


def _openvino_imports() -> bool:
    try:
        import_openvino()
    except ImportError:
        return False
    return True
