"""Precisions, and CUDA graphs: how the engine handles them here, what they answer where there is a GPU."""

from __future__ import annotations

import pytest
import torch

from csk_ros.inference import EngineError, Segmenter
from csk_ros.inference.engines import EngineOptions, torch_engine
from csk_ros.inference.engines.cuda_graph import CudaGraph
from csk_ros.inference.engines.torch_engine import KEPT_GRAPHS, TorchEngine
from csk_ros.modality import Modality, Route

CPU = torch.device("cpu")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
pytestmark = pytest.mark.usefixtures("_one_thread")


def _images(size=(64, 96), seed=0):
    """Smooth levels of a pair."""
    generator = torch.manual_seed(seed)
    coarse = {m: torch.rand(1, c, 5, 7, generator=generator) for m, c in ((Modality.EO, 3), (Modality.IR, 1))}
    return {
        m: (255 * torch.nn.functional.interpolate(each, size=size, mode="bilinear"))
        .byte()
        .permute(0, 2, 3, 1)
        for m, each in coarse.items()
    }


@pytest.mark.parametrize(("precision", "tolerance"), [("float16", 0.02), ("bfloat16", 0.1)])
def test_a_precision_is_that_of_weights_and_activations(checkpoint, monkeypatch, precision, tolerance):
    """This CPU computes in it slowly, which is why it is not offered, but it does."""
    monkeypatch.setattr(torch_engine, "_cpu_precisions", lambda: ("float32", precision))
    engine = TorchEngine(checkpoint, CPU, EngineOptions(precision))
    assert {p.dtype for p in engine._graphs[Route.FUSED].network.parameters()} == {getattr(torch, precision)}
    got, wanted = engine.logits(_images()), TorchEngine(checkpoint, CPU).logits(_images())
    assert got.dtype == torch.float32
    spread = (wanted - wanted.mean(dim=(2, 3), keepdim=True)).abs().max()
    assert 0 < (got - wanted).abs().max() < tolerance * max(spread, wanted.abs().max())


@pytest.mark.parametrize("has", [{"avx512_bf16": True}, {"amx_bf16": True}, {"avx512_bf16": False}, {}])
def test_bfloat16_only_where_the_cpu_has_it(checkpoint, monkeypatch, has):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    if any(has.values()):
        assert TorchEngine(checkpoint, CPU, EngineOptions("bfloat16")).precision == "bfloat16"
    else:
        with pytest.raises(EngineError, match="this CPU does not compute in bfloat16: use precision float32"):
            TorchEngine(checkpoint, CPU, EngineOptions("bfloat16"))


@pytest.mark.parametrize(("device", "lines"), [("cpu", 0), ("cuda:1", 1)])
def test_auto_is_float32_and_names_what_may_be_faster_on_a_gpu(checkpoint, device, lines):
    said = []
    options = EngineOptions(report=said.append)
    assert TorchEngine.suitable_precision(checkpoint, torch.device(device), options) == "float32"
    assert len(said) == lines
    assert all("float16" in line for line in said)


class _Graph:
    """In place of a captured graph."""

    made: list[tuple[torch.Size, ...]]

    def __init__(self, function, examples, pool):
        assert (pool is None) == (not self.made)
        self._function, self.pool = function, "shared"
        self.made.append(tuple(example.shape for example in examples))

    def __call__(self, inputs):
        return self._function(inputs)


@pytest.fixture
def captured(checkpoint, monkeypatch):
    """An engine that takes the CPU for a GPU, and the shapes that it has captured."""
    monkeypatch.setattr(_Graph, "made", [], raising=False)
    monkeypatch.setattr(torch_engine, "CudaGraph", _Graph)
    said = []
    engine = TorchEngine(checkpoint, CPU, EngineOptions(report=said.append))
    engine.device = torch.device("cuda")
    return engine, _Graph.made, said


def test_a_graph_is_captured_once_for_each_route_and_size(captured, checkpoint):
    engine, made, _ = captured
    pair, thermal = _images(), {Modality.IR: _images()[Modality.IR]}
    plain = TorchEngine(checkpoint, CPU)
    for images in (pair, thermal, pair, thermal):
        got = engine.maps(images, (64, 96), confidence=True)
        assert torch.equal(got, plain.maps(images, (64, 96), confidence=True))
        assert torch.equal(engine.maps(images, (64, 96), confidence=False), got[:1])
    assert made == [((1, 64, 96, 3), (1, 64, 96, 1)), ((1, 64, 96, 1),)]
    engine.maps(pair, (32, 48), confidence=True)
    engine.maps({m: image.float() for m, image in pair.items()}, (64, 96), confidence=True)
    assert len(made) == 4
    for height in range(KEPT_GRAPHS):
        engine.maps(thermal, (height + 1, 8), confidence=True)
    assert len(engine._captured) == KEPT_GRAPHS


def test_what_cannot_be_captured_runs_without_and_says_so_once(captured, checkpoint, monkeypatch):
    engine, _, said = captured

    def refuse(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(_Graph, "__init__", refuse)
    wanted = TorchEngine(checkpoint, CPU).maps(_images(), (64, 96), confidence=True)
    for _ in range(2):
        assert torch.equal(engine.maps(_images(), (64, 96), confidence=True), wanted)
    reason = "operation not permitted when stream is capturing"
    assert said == [f"torch: without a CUDA graph, so slower than this device can: {reason}"]


EXCHANGED = {"exchange_stages": ["mixed", "spatial", "channel", "none"], "exchange_channels": "gamma"}


@pytest.mark.parametrize(
    ("network", "more"),
    [
        ("csk", {}),
        ("csk", EXCHANGED),
        ("csk", {"backbone": "resnet18", "decoder": "deeplabv3plus", "gate": "concatenation"}),
        ("early", {}),
        ("late", {}),
    ],
)
def test_a_frame_takes_nothing_from_the_host(make_checkpoint, network, more):
    """What a CUDA graph demands; tensors on meta have no values to read, and do not mix with the CPU's."""
    checkpoint = make_checkpoint(network, **more)
    engine = TorchEngine(checkpoint, CPU)
    for graph in engine._graphs.values():
        graph.to("meta")
    for route in checkpoint.network.routes:
        images = {m: image.to("meta") for m, image in _images().items() if m in route.modalities}
        for confidence in (False, True):
            maps = engine.maps(images, (60, 90), confidence=confidence)
            assert (maps.device.type, maps.shape) == ("meta", (1 + confidence, 60, 90))


@gpu
def test_a_graph_answers_what_its_inputs_show():
    graph = CudaGraph(lambda inputs: inputs[0] + inputs[1], [torch.ones(3, device="cuda")] * 2)
    other = CudaGraph(lambda inputs: inputs[0] * 2, [torch.ones(3, device="cuda")], graph.pool)
    assert other([torch.full((3,), 3.0, device="cuda")]).tolist() == [6, 6, 6]
    first = graph([torch.full((3,), 2.0, device="cuda")] * 2)
    assert graph([torch.zeros(3, device="cuda")] * 2).tolist() == [0, 0, 0]
    assert first.tolist() == [4, 4, 4]  # the caller's to keep


@gpu
def test_what_waits_for_the_device_cannot_be_captured():
    with pytest.raises(RuntimeError):
        CudaGraph(lambda inputs: inputs[0] * inputs[0].max().item(), [torch.ones(3, device="cuda")])


@gpu
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_a_gpu_answers_as_the_cpu_and_captures_every_route(checkpoint, precision):
    said = []
    segmenter = Segmenter.from_network(
        checkpoint,
        engine="torch",
        device="cuda",
        precision=precision,
        height=64,
        width=96,
        report=said.append,
    )
    plain = Segmenter.from_network(checkpoint, engine="torch", device="cpu", height=64, width=96)
    segmenter.warm_up()
    assert said == []
    graphs = set(segmenter._engine._captured.values())
    assert {type(graph) for graph in graphs} == {CudaGraph}
    for seed in range(3):
        images = {m.value: image[0].squeeze(-1).numpy() for m, image in _images(seed=seed).items()}
        for given in (images, {"ir": images["ir"]}, {"eo": images["eo"]}):
            got, wanted = segmenter.segment(**given), plain.segment(**given)
            assert (got.labels == wanted.labels).mean() > (0.999 if precision == "float32" else 0.9)
    assert set(segmenter._engine._captured.values()) == graphs


@gpu
def test_segmenters_on_a_gpu_have_streams_of_their_own(checkpoint):
    engines = [TorchEngine(checkpoint, torch.device("cuda")) for _ in range(2)]
    streams = []
    for engine in engines:
        with engine.stream():
            streams.append(torch.cuda.current_stream())
    assert len({*streams, torch.cuda.default_stream()}) == 3
