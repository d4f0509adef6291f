"""Providers of ONNX Runtime: what is asked for runs, or it is an error; with a stand-in for the library."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from csk_ros.inference import EngineError
from csk_ros.inference.engines import EngineOptions
from csk_ros.inference.engines.onnxruntime_engine import OnnxRuntimeEngine
from csk_ros.inference.engines.tensorrt_engine import TensorRTEngine
from csk_ros.inference.model_cache import ModelCache
from csk_ros.modality import Modality

CUDA = torch.device("cuda", 1)
TENSORRT = "TensorrtExecutionProvider"
IMAGE = {Modality.IR: torch.zeros(1, 32, 32, 1)}
pytestmark = pytest.mark.usefixtures("_one_thread")


class Runtime:
    """ONNX Runtime's names that the engines use; TensorRT writes a file, as it does."""

    __version__ = "1"

    def __init__(self):
        self.available = [TENSORRT, "CUDAExecutionProvider", "CPUExecutionProvider"]
        self.broken = set()
        self.asked = []

    def get_available_providers(self):
        return self.available

    def SessionOptions(self):  # noqa: N802 (its name there)
        return SimpleNamespace(add_session_config_entry=lambda *_: None)

    def InferenceSession(self, content, settings, providers):  # noqa: N802 (its name there)
        self.asked.append(providers)
        options = dict(providers)
        if folder := options.get(TENSORRT, {}).get("trt_engine_cache_path"):
            Path(folder, "built.engine").write_bytes(content)
        running = [name for name in [*options, "CPUExecutionProvider"] if name not in self.broken]
        return SimpleNamespace(
            get_providers=lambda: running,
            get_inputs=lambda: [SimpleNamespace(name="images")],
            run=lambda *_: [np.zeros((1, 9, 8, 8), np.float32)],
        )


@pytest.fixture
def runtime(monkeypatch):
    stand_in = Runtime()
    monkeypatch.setitem(sys.modules, "onnxruntime", stand_in)
    monkeypatch.setattr(OnnxRuntimeEngine, "_exported", lambda *_: b"model")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    return stand_in


@pytest.fixture
def thermal(make_checkpoint):
    return make_checkpoint("single", modality="ir")


@pytest.mark.parametrize(
    ("engine", "broken"),
    [(OnnxRuntimeEngine, "CUDAExecutionProvider"), (TensorRTEngine, TENSORRT)],
)
def test_a_provider_that_cannot_be_loaded_is_never_replaced(thermal, runtime, tmp_path, engine, broken):
    """ONNX Runtime logs it and computes on, on the CPU at worst."""
    runtime.broken = {broken}
    made = engine(thermal, CUDA, EngineOptions(cache=ModelCache(tmp_path)))
    with pytest.raises(EngineError, match=f"cannot load {broken} and would run on"):
        made.logits(IMAGE)
    assert list(tmp_path.iterdir()) == []


def test_tensorrt_leaves_to_cuda_what_it_cannot(thermal, runtime):
    engine = TensorRTEngine(thermal, CUDA, EngineOptions("float16"))
    assert engine.logits(IMAGE).shape == (1, 9, 8, 8)
    where = {"device_id": 1}
    wanted = [(TENSORRT, {**where, "trt_fp16_enable": True}), ("CUDAExecutionProvider", where)]
    assert runtime.asked == [wanted]


def test_what_tensorrt_has_built_serves_the_next_start(thermal, runtime, tmp_path):
    def folders(precision="float32"):
        """Where TensorRT was told to keep what it builds."""
        runtime.asked.clear()
        TensorRTEngine(thermal, CUDA, EngineOptions(precision, cache=ModelCache(tmp_path))).logits(IMAGE)
        return [Path(dict(providers)[TENSORRT]["trt_engine_cache_path"]) for providers in runtime.asked]

    first = folders()
    assert len(first) == 2  # built, then read
    assert (first[1] / "built.engine").read_bytes() == b"model"
    assert folders() == first[1:]
    assert folders("float16")[-1] != first[1]


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        (
            "cpu",
            "float32",
            "engine tensorrt runs on a CUDA device, not on cpu: use device cuda or engine openvino",
        ),
        ("cuda", "int8", "precision of engine tensorrt must be one of float32, float16, not 'int8'"),
    ],
)
def test_what_tensorrt_cannot_do_is_refused(thermal, runtime, device, precision, message):
    with pytest.raises(EngineError, match=message):
        TensorRTEngine(thermal, torch.device(device), EngineOptions(precision))
    assert runtime.asked == []


def test_without_tensorrt_it_says_what_to_install(thermal, runtime):
    runtime.available = ["CPUExecutionProvider"]
    with pytest.raises(
        EngineError, match=f"onnxruntime 1 has no {TENSORRT}: install onnxruntime-gpu, or use"
    ):
        TensorRTEngine(thermal, CUDA)
