"""The OpenVINO library itself: its import and its one ``Core``."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType


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


@cache
def openvino_core() -> Any:
    """The process's only ``Core``, which nobody frees.

    With the last one goes the CPU plugin, and with that the stack for signals that it has given to the thread
    where it was loaded; freed in another thread, the next signal kills the process.
    """
    return import_openvino().Core()


@cache
def openvino_ops() -> ModuleType:
    """OpenVINO's operations, to build graphs of; 2024 has them in another place."""
    try:
        return importlib.import_module("openvino.opset13")
    except ImportError:
        return importlib.import_module("openvino.runtime.opset13")
