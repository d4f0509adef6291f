"""The engines that compile against torch, and what they compile when."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from csk_ros.inference import Segmenter
from csk_ros.inference.engines import (
    ENGINES,
    EngineOptions,
    build_engine,
    onnxruntime_engine,
    openvino_engine,
)
from csk_ros.inference.engines.compiled import KEPT_SIZES, CompiledEngine
from csk_ros.inference.engines.torch_engine import TorchEngine
from csk_ros.inference.latest_used import LatestUsed
from csk_ros.inference.postprocess import answer
from csk_ros.labels import MFNET
from csk_ros.modality import Modality, Route
from csk_ros.network import DEFAULT_NORMALISATION, save_checkpoint

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("_one_thread")
COMPILED = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"needs {name}"))
    for name, engine in ENGINES.items()
    if issubclass(engine, CompiledEngine) and name != "tensorrt"  # which needs a GPU
]


# ONNX takes torch some ten seconds to write, several times that on a busy machine
SLOW_WITH_ONNX = [
    pytest.param(*param.values, marks=[*param.marks, pytest.mark.slow, pytest.mark.timeout(400)])
    if param.values == ("onnxruntime",)
    else param
    for param in COMPILED
]


@pytest.fixture(params=COMPILED)
def name(request):
    return request.param


def _images(route, size, kind, seed=0):
    """Levels of noise, or of smooth shapes with edges as a camera sees them."""
    generator = torch.Generator().manual_seed(seed)
    images = {}
    for modality in route.modalities:
        channels = 3 if modality is Modality.EO else 1
        if kind == "noise":
            images[modality] = torch.randint(0, 256, (1, *size, channels), generator=generator).byte()
        else:
            coarse = torch.rand(1, channels, 5, 7, generator=generator) * 255
            image = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
            image[..., size[0] // 3 :, size[1] // 4 : size[1] // 2] *= 0.2
            images[modality] = image.permute(0, 2, 3, 1)
    return images


def _agree(checkpoint, engine, route, size):
    for kind in ("noise", "scene"):
        images = _images(route, size, kind)
        expected = TorchEngine(checkpoint, CPU).logits(images)
        got = engine.logits(images).clone()
        assert got.dtype == torch.float32
        assert got.shape == expected.shape
        scale = (expected - expected.mean(dim=(2, 3), keepdim=True)).abs().max()
        assert (got - expected).abs().max() < 1e-3 * scale
        # the classes of an untrained network differ by less than its pixels do: take each one's mean away
        centred = [x - expected.mean(dim=(2, 3), keepdim=True) for x in (got, expected)]
        ids, wanted = (x.argmax(dim=1) for x in centred)
        assert len(wanted.unique()) > 2
        assert (ids == wanted).float().mean() > 0.999
        for asked in (size, (2 * size[0], size[1])):
            ids, confidence = answer(got.clone(), asked, confidence=True)
            maps = engine.maps(images, asked, confidence=True)
            assert (maps[0] == ids).float().mean() > 0.999
            assert (maps[1].int() - confidence).abs().max() <= 1


@pytest.mark.parametrize("name", SLOW_WITH_ONNX)
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
def test_logits_are_torchs(name, arguments, make_checkpoint):
    checkpoint = make_checkpoint(**arguments)
    engine = build_engine(name, checkpoint, CPU)
    for route in Route:
        _agree(checkpoint, engine, route, (64, 96))


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("size", [(61, 83), (33, 64)])
def test_logits_are_torchs_at_odd_sizes(name, checkpoint, size):
    _agree(checkpoint, build_engine(name, checkpoint, CPU), Route.FUSED, size)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("network", ["early", "late"])
def test_logits_of_the_baselines_are_torchs(name, network, make_checkpoint):
    checkpoint = make_checkpoint(network)
    _agree(checkpoint, build_engine(name, checkpoint, CPU), Route.FUSED, (64, 96))


def test_a_switch_compiles_nothing_and_few_sizes_are_kept(name, checkpoint, monkeypatch):
    compiled = []
    monkeypatch.setattr(ENGINES[name], "_compile", lambda _, *key: compiled.append(key) or _logits)
    said = []
    engine = build_engine(name, checkpoint, CPU, options=EngineOptions(report=said.append))

    def run(route, size):
        engine.maps(_images(route, size, "noise"), (4, 4), confidence=True)

    run(Route.FUSED, (32, 32))
    assert sorted(compiled) == sorted((route, (32, 32)) for route in Route)
    assert said[0] == f"{name}: making EO_ONLY ready at 32x32"
    compiled.clear()
    for route in (Route.IR_ONLY, Route.EO_ONLY, Route.FUSED):
        run(route, (32, 32))
    assert not compiled
    run(Route.EO_ONLY, (40, 32))
    assert compiled == [(Route.EO_ONLY, (40, 32))]
    for width in range(33, 34 + KEPT_SIZES):
        run(Route.IR_ONLY, (32, width))
        run(Route.FUSED, (32, 33))
    assert compiled.count((Route.FUSED, (32, 33))) == 1  # used all along
    run(Route.IR_ONLY, (32, 32))
    assert (Route.IR_ONLY, (32, 32)) in compiled


def _logits(_):
    return torch.zeros(1, 9, 4, 4)


def _ir(height=48, width=64):
    return (np.add.outer(np.arange(height) ** 2, np.arange(width) * 11) % 251).astype(np.uint8)


@pytest.fixture(scope="module")
def file(tmp_path_factory, make_checkpoint):
    """A checkpoint; what is made of it in one test, the next takes from the cache beside it."""
    path = tmp_path_factory.mktemp("compiled") / "net.safetensors"
    network = make_checkpoint("single", modality="ir").network
    save_checkpoint(path, network, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    return path


@pytest.mark.parametrize("confidence", [True, False])
def test_segmenter_answers_as_with_torch_and_repeats_itself(name, file, confidence):
    segmenter = Segmenter.from_checkpoint(file, name, "cpu", height=48, width=64, confidence=confidence)
    assert (segmenter.engine, segmenter.device) == (name, "cpu")
    segmenter.warm_up()
    first, second = segmenter.segment(ir=_ir()), segmenter.segment(ir=_ir())
    expected = Segmenter.from_checkpoint(file, "torch", "cpu").segment(ir=_ir())
    assert np.array_equal(first.labels, second.labels)
    assert np.mean(first.labels == expected.labels) > 0.999
    without = segmenter.segment(ir=_ir(), confidence=False)
    assert without.confidence is None
    assert np.mean(without.labels == expected.labels) > 0.999
    if confidence:
        assert np.array_equal(first.confidence, second.confidence)
        assert np.abs(first.confidence.astype(int) - expected.confidence).max() <= 1
    else:
        assert first.confidence is None


def test_an_answer_is_not_overwritten_by_the_next(name, file):
    segmenter = Segmenter.from_checkpoint(file, name, "cpu")
    first = segmenter.segment(ir=_ir())
    kept = first.labels.copy(), first.confidence.copy()
    segmenter.segment(ir=255 - _ir())
    assert np.array_equal(first.labels, kept[0])
    assert np.array_equal(first.confidence, kept[1])


def test_images_of_other_sizes_and_16_bits_answer_as_with_torch(name, file):
    counts = _ir(90, 70).astype(np.uint16) * 7 + 3000
    got = Segmenter.from_checkpoint(file, name, "cpu", height=48, width=64).segment(ir=counts)
    expected = Segmenter.from_checkpoint(file, "torch", "cpu", height=48, width=64).segment(ir=counts)
    assert got.labels.shape == (90, 70)
    assert np.mean(got.labels == expected.labels) > 0.999
    assert np.abs(got.confidence.astype(int) - expected.confidence).max() <= 1


@pytest.fixture
def made(monkeypatch):
    """A list that grows with every model that is made anew; no process before has made any."""
    models = []

    def spy(owner, function):
        original = getattr(owner, function)
        monkeypatch.setattr(owner, function, lambda *given: models.append(1) or original(*given))

    spy(openvino_engine, "trace_openvino")
    spy(onnxruntime_engine, "write_onnx")
    monkeypatch.setattr(openvino_engine, "_conversions", LatestUsed(0))
    return models


@pytest.mark.parametrize("name", SLOW_WITH_ONNX)
def test_the_next_start_takes_its_models_from_the_disk(name, file, made, tmp_path):
    own = Path(shutil.copy(file, tmp_path))

    def run(**more):
        return Segmenter.from_checkpoint(own, name, "cpu", **more).segment(ir=_ir())

    first = run()
    answers = name == "openvino"  # which makes a model of its own of the answer
    assert len(made) == 1 + answers
    second = run()
    assert len(made) == 1 + answers
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.confidence, second.confidence)
    run(confidence=False)
    assert len(made) == 1 + 2 * answers
    run(cache=False)
    assert len(made) == 2 + 3 * answers


@pytest.mark.parametrize("name", SLOW_WITH_ONNX)
def test_half_a_model_on_the_disk_is_made_again(name, file, made, tmp_path):
    own = Path(shutil.copy(file, tmp_path))
    first = Segmenter.from_checkpoint(own, name, "cpu").segment(ir=_ir())
    for model in (tmp_path / ".csk_ros_cache").glob("*/[mc]o[dm]*"):  # models and compiled ones
        model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    second = Segmenter.from_checkpoint(own, name, "cpu").segment(ir=_ir())
    assert np.array_equal(first.labels, second.labels)
    anew = len(made)
    assert anew == (4 if name == "openvino" else 2)
    Segmenter.from_checkpoint(own, name, "cpu").segment(ir=_ir())
    assert len(made) == anew
