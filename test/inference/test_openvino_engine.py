"""What is OpenVINO's alone, and its clear errors."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import ClassVar

import pytest
import torch

from csk_ros.inference import EngineError
from csk_ros.inference.engines import EngineOptions, build_engine
from csk_ros.inference.engines.compiled import KEPT_SIZES
from csk_ros.inference.engines.openvino_engine import OpenVINOEngine
from csk_ros.inference.model_cache import ModelCache
from csk_ros.inference.openvino_library import import_openvino
from csk_ros.labels import MFNET
from csk_ros.modality import Modality, Route
from csk_ros.network import DEFAULT_NORMALISATION, Checkpoint

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("_one_thread")
installed = pytest.mark.skipif(find_spec("openvino") is None, reason="needs pip install 'csk_ros[openvino]'")


@installed
def test_auto_takes_it_on_the_cpu(checkpoint):
    assert build_engine("auto", checkpoint, CPU).name == "openvino"


def _images(size, seed=0):
    """Levels of noise for IR_ONLY."""
    return {Modality.IR: torch.randint(0, 256, (1, *size, 1), generator=torch.manual_seed(seed)).byte()}


def _hints(engine):
    """The precisions of the network and of the answer, once an image was answered."""
    engine.maps(_images((32, 32)), (32, 32), confidence=True)
    requests = engine._models[32, 32][Route.IR_ONLY], *engine._answers.values()
    models = [request._request.get_compiled_model() for request in requests]
    assert {model.get_property("INFERENCE_NUM_THREADS") for model in models} == {2}
    return [model.get_property("INFERENCE_PRECISION_HINT").to_string() for model in models]


@installed
def test_precision_and_threads_do_not_depend_on_the_machine(make_checkpoint):
    torch.set_num_threads(2)
    assert _hints(OpenVINOEngine(make_checkpoint("single", modality="ir"), CPU)) == ["f32", "f32"]


@installed
def test_bfloat16_only_where_the_cpu_has_it(make_checkpoint):
    checkpoint, options = make_checkpoint("single", modality="ir"), EngineOptions("bfloat16", threads=2)
    if "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert _hints(OpenVINOEngine(checkpoint, CPU, options)) == ["bf16", "f32"]
    else:
        with pytest.raises(EngineError, match="this CPU does not compute in bfloat16"):
            OpenVINOEngine(checkpoint, CPU, options)


@installed
def test_an_engine_built_anew_traces_only_what_is_new(make_checkpoint, monkeypatch):
    """Torch never frees what it has traced, and a node may build its engine anew for years."""
    traced, trace = [], torch.jit.trace
    monkeypatch.setattr(torch.jit, "trace", lambda *args, **more: traced.append(1) or trace(*args, **more))
    checkpoint, images = make_checkpoint("single", modality="ir"), _images((48, 32))
    first = OpenVINOEngine(checkpoint, CPU).logits(images).clone()
    assert len(traced) == 1
    assert torch.equal(OpenVINOEngine(checkpoint, CPU).logits(images), first)
    assert len(traced) == 1
    with torch.no_grad():
        next(checkpoint.network.parameters()).mul_(2)
    assert not torch.equal(OpenVINOEngine(checkpoint, CPU).logits(images), first)
    assert len(traced) == 2


@pytest.fixture
def compiled(monkeypatch):
    """A list that grows with every model that is compiled."""
    models, compile_it = [], OpenVINOEngine._compiled
    monkeypatch.setattr(
        OpenVINOEngine,
        "_compiled",
        lambda self, what, *more: models.append(what) or compile_it(self, what, *more),
    )
    return models


@installed
def test_the_next_start_compiles_nothing(make_checkpoint, compiled, tmp_path):
    checkpoint, cache = make_checkpoint("single", modality="ir"), ModelCache(tmp_path)

    def run(**more):
        engine = OpenVINOEngine(checkpoint, CPU, EngineOptions(cache=cache, **more))
        return engine.maps(_images((32, 48)), (64, 96), confidence=True).clone()

    first = run(threads=2)
    assert compiled == ["IR_ONLY at 32x48", "the answer at 64x96"]
    assert torch.equal(run(threads=1), first)
    assert len(compiled) == 2
    assert _hints(OpenVINOEngine(checkpoint, CPU, EngineOptions(cache=cache, threads=2))) == ["f32", "f32"]
    # what OpenVINO refuses, though it is as it was written, is compiled once more
    for folder in [place for place in tmp_path.iterdir() if (place / "compiled.blob").exists()]:
        key = json.loads((folder / "manifest.json").read_text())["key"]
        cache.discard(key)
        cache.put(key, lambda new: (new / "compiled.blob").write_bytes(b"of another build"))
    compiled.clear()
    assert torch.equal(run(), first)
    assert len(compiled) == 2
    assert torch.equal(run(), first)
    assert len(compiled) == 2


@installed
def test_an_answer_of_another_size_takes_no_other_network(checkpoint, monkeypatch):
    networks, answers = [], []
    logits = torch.zeros(1, 9, 4, 4)
    monkeypatch.setattr(
        OpenVINOEngine, "_compile", lambda _, *key: networks.append(key) or (lambda _: logits)
    )
    compile_answer = OpenVINOEngine._compile_answer
    monkeypatch.setattr(
        OpenVINOEngine,
        "_compile_answer",
        lambda self, *key: answers.append(key[1]) or compile_answer(self, *key),
    )
    engine = OpenVINOEngine(checkpoint, CPU)
    first = [(8, width) for width in range(4, 4 + KEPT_SIZES)]
    for size in [*first, *first, (9, 9), first[0]]:
        assert engine.maps(_images((32, 32)), size, confidence=True).shape == (2, *size)
    assert len(networks) == len(Route)
    assert answers == [*first, (9, 9), first[0]]  # few are kept


@installed
def test_ids_of_a_frame_full_of_edges_are_those_of_the_whole_answer(checkpoint, monkeypatch):
    logits = torch.rand(1, 9, 8, 12, generator=torch.manual_seed(0))  # of noise
    monkeypatch.setattr(OpenVINOEngine, "_compile", lambda *_: lambda _: logits)
    engine = OpenVINOEngine(checkpoint, CPU)
    maps = engine.maps(_images((32, 48)), (32, 48), confidence=True)
    ids = engine.maps(_images((32, 48)), (32, 48), confidence=False)
    assert ids.shape == (1, 32, 48)
    assert torch.equal(ids, maps[:1])


@installed
def test_every_convolution_has_constant_filters_so_that_it_can_be_of_8_bits(make_checkpoint):
    model = OpenVINOEngine(make_checkpoint(padding="same"), CPU).convert(Route.IR_ONLY, (64, 96))
    filters = [op.input_value(1).get_node() for op in model.get_ops() if "Convolution" in op.get_type_name()]
    assert len(filters) > 50
    assert {node.get_type_name() for node in filters} == {"Constant"}


_FREED_ELSEWHERE = """
import gc, os, signal, sys, threading
import torch
from csk_ros.inference.engines import EngineOptions
from csk_ros.inference.engines.openvino_engine import OpenVINOEngine
from csk_ros.labels import MFNET
from csk_ros.modality import Modality
from csk_ros.network import Checkpoint, DEFAULT_NORMALISATION, build_network

signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
network = build_network("single", num_classes=9, decoder_width=8, modality="ir").eval()
checkpoint = Checkpoint(network, MFNET, DEFAULT_NORMALISATION, {})
engines = [OpenVINOEngine(checkpoint, torch.device("cpu"), EngineOptions(threads=1))]
engines[0].maps({Modality.IR: torch.zeros(1, 32, 32, 1)}, (32, 32), confidence=True)
thread = threading.Thread(target=lambda: (engines.clear(), gc.collect()))
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGUSR1)
"""


@installed
def test_a_signal_finds_its_stack_after_an_engine_was_freed_in_another_thread():
    """OpenVINO's CPU plugin gives its thread a stack for signals and takes it away where it is destroyed."""
    command = [sys.executable, "-c", _FREED_ELSEWHERE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


@installed
def test_what_cannot_be_converted_is_one_line():
    class Odd(torch.nn.Module):
        routes = frozenset({Route.IR_ONLY})
        num_classes = 9
        architecture: ClassVar = {"name": "odd", "arguments": {}}

        def forward_coarse(self, *, ir):
            return torch.linalg.eigvals(ir).real

    odd = Odd()
    odd.weight = torch.nn.Parameter(torch.zeros(1))
    engine = OpenVINOEngine(Checkpoint(odd, MFNET, DEFAULT_NORMALISATION, {}), CPU)
    with pytest.raises(EngineError, match=r"openvino .* cannot compile IR_ONLY at 8x8: ") as caught:
        engine.maps({Modality.IR: torch.zeros(1, 8, 8, 1)}, (8, 8), confidence=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("cuda", "float32", "engine openvino runs on cpu and xpu, not on cuda"),
        ("xpu", "float32", "openvino finds no Intel GPU for device xpu, only CPU: install Intel's"),
        (
            "cpu",
            "int4",
            "precision of engine openvino must be one of float32, bfloat16, float16, int8, not 'int4'",
        ),
    ],
)
def test_what_it_cannot_do_is_refused(checkpoint, device, precision, message):
    with pytest.raises(EngineError, match=message):
        build_engine("openvino", checkpoint, torch.device(device), EngineOptions(precision=precision))


def test_missing_is_an_error_when_named_and_torch_when_auto(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"not installed .*: pip install 'csk_ros\[openvino\]'"):
        build_engine("openvino", checkpoint, CPU)
    assert build_engine("auto", checkpoint, CPU).name == "torch"


@installed
def test_openvino_is_imported_without_its_usage_reports():
    code = (
        "import sys\n"
        "from csk_ros.inference.openvino_library import import_openvino\n"
        "import_openvino()\n"
        "print('openvino' in sys.modules, any('telemetry' in n and 'stub' not in n and 'utils' not in n\n"
        "      and 'params' not in n for n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


class _WithGPU:
    """OpenVINO's core on a machine with Intel GPUs, which are the CPU under other names."""

    def __init__(self, core, *gpus):
        self._core = core
        self.available_devices = ["CPU", *gpus]
        self.asked = []

    def __getattr__(self, name):
        return getattr(self._core, name)

    def get_property(self, place, name):
        return f"{place} {name}" if name == "FULL_DEVICE_NAME" else self._core.get_property("CPU", name)

    def compile_model(self, model, place, settings):
        self.asked.append((place, settings))
        return self._core.compile_model(model, "CPU", settings)

    def import_model(self, content, place, settings):
        self.asked.append((place, settings))
        return self._core.import_model(content, "CPU", settings)


@installed
@pytest.mark.parametrize(
    ("gpus", "device", "place"),
    [
        (["GPU"], "xpu", "GPU"),
        (["GPU"], "xpu:0", "GPU.0"),
        (["GPU.0", "GPU.1"], "xpu", "GPU"),
        (["GPU.0", "GPU.1"], "xpu:1", "GPU.1"),
    ],
)
def test_an_intel_gpu_runs_the_network_and_the_cpu_answers(
    make_checkpoint, tmp_path, monkeypatch, gpus, device, place
):
    core = _WithGPU(import_openvino().Core(), *gpus)
    monkeypatch.setattr("csk_ros.inference.engines.openvino_engine.openvino_core", lambda: core)
    checkpoint, told = make_checkpoint("single", modality="ir"), []
    options = EngineOptions("auto", cache=ModelCache(tmp_path), report=told.append)
    wanted = OpenVINOEngine(checkpoint, CPU).maps(_images((32, 32)), (32, 32), confidence=True)
    core.asked.clear()
    for _ in range(2):  # compiled, then as it was compiled
        engine = build_engine("auto", checkpoint, torch.device(device), options)
        assert (engine.name, str(engine.runs_on), engine.device) == ("openvino", device, CPU)
        assert engine.precision == "float32"
        assert engine.maps(_images((32, 32)), (32, 32), confidence=True).equal(wanted)
    assert not [line for line in told if "this CPU" in line]
    network = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    on_gpu = [settings for where, settings in core.asked if where == place]
    assert on_gpu == [network, network]
    assert [where for where, _ in core.asked] == [place, "CPU"] * 2


@installed
def test_an_intel_gpu_that_is_not_there_is_missed(make_checkpoint, monkeypatch):
    core = _WithGPU(import_openvino().Core(), "GPU")
    monkeypatch.setattr("csk_ros.inference.engines.openvino_engine.openvino_core", lambda: core)
    with pytest.raises(EngineError, match="no Intel GPU for device xpu:1, only CPU, GPU: install"):
        build_engine("openvino", make_checkpoint("single", modality="ir"), torch.device("xpu:1"))
