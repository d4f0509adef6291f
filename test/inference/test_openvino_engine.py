"""OpenVINO against torch, what it compiles when, and its clear errors."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import pytest
import torch

from csk_ros.inference import EngineError, Segmenter
from csk_ros.inference.engines import build_engine
from csk_ros.inference.engines.openvino_engine import KEPT_SIZES, OpenVINOEngine, import_openvino
from csk_ros.inference.engines.torch_engine import TorchEngine
from csk_ros.labels import MFNET
from csk_ros.modality import Modality, Route
from csk_ros.network import DEFAULT_NORMALISATION, Checkpoint, build_network

CPU = torch.device("cpu")
installed = pytest.mark.skipif(find_spec("openvino") is None, reason="needs pip install 'csk_ros[openvino]'")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _checkpoint(name="csk", **more):
    torch.manual_seed(0)
    network = build_network(name, num_classes=9, decoder_width=16, **more).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # fresh ones would hide a batch norm of the wrong route
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.7, 1.4)
    return Checkpoint(network, MFNET, DEFAULT_NORMALISATION, {})


@pytest.fixture(scope="module")
def checkpoint():
    return _checkpoint()


def _images(route, size, kind, seed=0):
    """Normalised noise, or smooth shapes with edges as a camera sees them."""
    generator = torch.Generator().manual_seed(seed)
    images = {}
    for modality in route.modalities:
        channels = 3 if modality is Modality.EO else 1
        if kind == "noise":
            images[modality] = torch.randn(1, channels, *size, generator=generator)
        else:
            coarse = torch.rand(1, channels, 5, 7, generator=generator) * 2 - 1
            image = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
            image[..., size[0] // 3 :, size[1] // 4 : size[1] // 2] *= -0.8
            images[modality] = image
    return images


def _agree(checkpoint, engine, route, size):
    for kind in ("noise", "scene"):
        images = _images(route, size, kind)
        expected, got = TorchEngine(checkpoint, CPU).logits(images), engine.logits(images)
        assert got.dtype == torch.float32
        assert got.shape == expected.shape == (1, 9, *size)
        scale = (expected - expected.mean(dim=(2, 3), keepdim=True)).abs().max()
        assert (got - expected).abs().max() < 1e-3 * scale
        # the classes of an untrained network differ by less than its pixels do: take each one's mean away
        centred = [x - expected.mean(dim=(2, 3), keepdim=True) for x in (got, expected)]
        ids, wanted = (x.argmax(dim=1) for x in centred)
        assert len(wanted.unique()) > 2
        assert (ids == wanted).float().mean() > 0.999


@installed
@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": "same", "decoder": "light"},
        pytest.param({"padding": "torch", "decoder": "light"}, marks=pytest.mark.slow),
        pytest.param({"padding": "same", "decoder": "deeplabv3plus"}, marks=pytest.mark.slow),
        pytest.param({"padding": "torch", "decoder": "deeplabv3plus"}, marks=pytest.mark.slow),
    ],
    ids=lambda arguments: "-".join(arguments.values()),
)
def test_logits_are_torchs(arguments):
    checkpoint = _checkpoint(**arguments)
    engine = OpenVINOEngine(checkpoint, CPU)
    for route in Route:
        _agree(checkpoint, engine, route, (64, 96))


@installed
@pytest.mark.slow
@pytest.mark.parametrize("size", [(61, 83), (33, 64)])
def test_logits_are_torchs_at_odd_sizes(checkpoint, size):
    _agree(checkpoint, OpenVINOEngine(checkpoint, CPU), Route.FUSED, size)


@installed
@pytest.mark.slow
@pytest.mark.parametrize("name", ["early", "late"])
def test_logits_of_the_baselines_are_torchs(name):
    checkpoint = _checkpoint(name)
    _agree(checkpoint, OpenVINOEngine(checkpoint, CPU), Route.FUSED, (64, 96))


@installed
def test_a_switch_compiles_nothing_and_few_sizes_are_kept(checkpoint, monkeypatch):
    compiled = []
    monkeypatch.setattr(OpenVINOEngine, "_compile", lambda _, *key: compiled.append(key) or _Answer())
    engine = OpenVINOEngine(checkpoint, CPU)
    engine.logits(_images(Route.FUSED, (32, 32), "noise"))
    assert sorted(compiled) == sorted((route, (32, 32)) for route in Route)
    compiled.clear()
    for route in (Route.IR_ONLY, Route.EO_ONLY, Route.FUSED):
        engine.logits(_images(route, (32, 32), "noise"))
    assert not compiled
    engine.logits(_images(Route.EO_ONLY, (40, 32), "noise"))
    assert compiled == [(Route.EO_ONLY, (40, 32))]
    for width in range(33, 33 + KEPT_SIZES):
        engine.logits(_images(Route.IR_ONLY, (32, width), "noise"))
        engine.logits(_images(Route.FUSED, (32, 33), "noise"))
    compiled.clear()
    engine.logits(_images(Route.IR_ONLY, (32, 33), "noise"))
    assert not compiled
    engine.logits(_images(Route.IR_ONLY, (32, 32), "noise"))
    assert (Route.IR_ONLY, (32, 32)) in compiled


class _Answer:
    """A request that answers zeros."""

    data = np.zeros((1, 9, 4, 4), np.float32)

    def infer(self, *_, **__):
        pass

    def get_output_tensor(self, _):
        return self


@installed
def test_segmenter_answers_as_with_torch_and_repeats_itself():
    checkpoint = _checkpoint("single", modality="ir")
    ir = (np.add.outer(np.arange(48) ** 2, np.arange(64) * 11) % 251).astype(np.uint8)
    auto = Segmenter.from_network(checkpoint, device="cpu", height=48, width=64)
    assert (auto.engine, auto.device) == ("openvino", "cpu")
    auto.warm_up()
    first, second = auto.segment(ir=ir), auto.segment(ir=ir)
    expected = Segmenter.from_network(checkpoint, engine="torch", device="cpu").segment(ir=ir)
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.confidence, second.confidence)
    assert np.mean(first.labels == expected.labels) > 0.999
    assert np.abs(first.confidence.astype(int) - expected.confidence).max() <= 1


@installed
def test_precision_and_threads_do_not_depend_on_the_machine():
    torch.set_num_threads(2)
    engine = OpenVINOEngine(_checkpoint("single", modality="ir"), CPU)
    engine.logits(_images(Route.IR_ONLY, (32, 32), "noise"))
    compiled = engine._requests[32, 32][Route.IR_ONLY].get_compiled_model()
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2


@installed
def test_bfloat16_only_where_the_cpu_has_it(checkpoint):
    if "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert OpenVINOEngine(checkpoint, CPU, "bfloat16")._settings["INFERENCE_PRECISION_HINT"] == "bf16"
    else:
        with pytest.raises(EngineError, match="this CPU does not compute in bfloat16"):
            OpenVINOEngine(checkpoint, CPU, "bfloat16")


@installed
def test_an_engine_built_anew_traces_only_what_is_new(checkpoint, monkeypatch):
    """Torch never frees what it has traced, and a node may build its engine anew for years."""
    traced, trace = [], torch.jit.trace
    monkeypatch.setattr(torch.jit, "trace", lambda *args, **more: traced.append(1) or trace(*args, **more))
    size = (48, 32)
    images = _images(Route.IR_ONLY, size, "noise")
    first = OpenVINOEngine(checkpoint, CPU).logits(images).clone()
    assert len(traced) == len(Route)
    assert torch.equal(OpenVINOEngine(checkpoint, CPU).logits(images), first)
    assert len(traced) == len(Route)
    torch.manual_seed(1)
    other = _checkpoint()
    with torch.no_grad():
        next(other.network.parameters()).mul_(2)
    _agree(other, OpenVINOEngine(other, CPU), Route.IR_ONLY, size)
    assert len(traced) == 2 * len(Route)


_FREED_ELSEWHERE = """
import gc, os, signal, sys, threading
import torch
from csk_ros.inference.engines.openvino_engine import OpenVINOEngine
from csk_ros.labels import MFNET
from csk_ros.modality import Modality
from csk_ros.network import Checkpoint, DEFAULT_NORMALISATION, build_network

signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
network = build_network("single", num_classes=9, decoder_width=8, modality="ir").eval()
checkpoint = Checkpoint(network, MFNET, DEFAULT_NORMALISATION, {})
engines = [OpenVINOEngine(checkpoint, torch.device("cpu"), threads=1)]
engines[0].logits({Modality.IR: torch.zeros(1, 1, 32, 32)})
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

        def forward(self, *, ir):
            return torch.linalg.eigvals(ir).real

    engine = OpenVINOEngine(Checkpoint(Odd(), MFNET, DEFAULT_NORMALISATION, {}), CPU)
    with pytest.raises(EngineError, match=r"openvino .* cannot compile IR_ONLY at 8x8: ") as caught:
        engine.logits({Modality.IR: torch.zeros(1, 1, 8, 8)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("cuda", "float32", "engine openvino runs on the CPU, not on cuda"),
        ("cpu", "float16", "precision of engine openvino must be one of float32, bfloat16, not 'float16'"),
    ],
)
def test_what_it_cannot_do_is_refused(checkpoint, device, precision, message):
    with pytest.raises(EngineError, match=message):
        build_engine("openvino", checkpoint, torch.device(device), precision)


def test_missing_is_an_error_when_named_and_torch_when_auto(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"not installed .*: pip install 'csk_ros\[openvino\]'"):
        build_engine("openvino", checkpoint, CPU)
    assert build_engine("auto", checkpoint, CPU).name == "torch"


@installed
def test_openvino_is_imported_without_its_usage_reports():
    code = (
        "import sys\n"
        "from csk_ros.inference.engines.openvino_engine import import_openvino\n"
        "import_openvino()\n"
        "print('openvino' in sys.modules, any('telemetry' in n and 'stub' not in n and 'utils' not in n\n"
        "      and 'params' not in n for n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
