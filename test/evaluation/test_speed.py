from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from csk_ros.evaluation import speed, variants
from csk_ros.evaluation.peak_memory import PeakMemory, PeakMemoryError, measure_peak_memory
from csk_ros.evaluation.plain import PlainSegmenter
from csk_ros.evaluation.speed import SpeedSettings, measure_speed
from csk_ros.evaluation.variants import REFERENCE, LoadedVariant, Variant, load_variants
from csk_ros.inference import ENGINES, EngineError, Segmenter
from csk_ros.labels import MFNET
from csk_ros.modality import Route
from csk_ros.network import DEFAULT_NORMALISATION, Checkpoint, build_network, save_checkpoint

SIZE = (32, 64)


@pytest.fixture(scope="module")
def checkpoint():
    torch.manual_seed(0)
    network = build_network("csk", num_classes=9, decoder_width=8, output_stride=32).eval()
    return Checkpoint(network, MFNET, DEFAULT_NORMALISATION, {})


@pytest.fixture(scope="module")
def weights(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    _save(path, checkpoint.network)
    return path


@pytest.fixture(autouse=True)
def _without_onnx(request, monkeypatch):
    """ONNX takes torch some ten seconds to write for each route."""
    if "slow" not in request.keywords:
        for name in ("onnxruntime", "tensorrt"):
            monkeypatch.delitem(ENGINES, name)


@pytest.fixture
def quick_memory(monkeypatch):
    """Spares the processes that measure memory."""
    monkeypatch.setattr(speed, "measure_peak_memory", lambda *_: PeakMemory(123.0, None))


class ThreadCounter:
    def __init__(self, segmenter):
        self._segmenter = segmenter

    def segment(self, **images):
        self.threads = torch.get_num_threads()
        return self._segmenter.segment(**images)


def _save(path, network):
    save_checkpoint(path, network, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})


def _variant(engine="torch", precision="float32"):
    return Variant(engine, precision, "cpu", *SIZE, threads=1, confidence=False)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_memory")
def test_every_variant_stands_beside_the_reference_of_its_route(weights):
    sizes = (SIZE, (64, 64))
    result = measure_speed(SpeedSettings(weights, ("torch",), ("float32",), sizes=sizes, rounds=3, threads=1))
    assert result.complete
    assert [(row.height, row.width, row.route, row.engine, row.precision) for row in result.rows] == [
        (*size, route.value, "torch", precision)
        for size in sizes
        for route in Route
        for precision in (REFERENCE, "float32")
    ]
    for row in json.loads(json.dumps([dataclasses.asdict(row) for row in result.rows])):
        assert row["runs"] == 3
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["fps"] == pytest.approx(1e3 / row["median_ms"])
        assert set(row["stages"]) == {"prepare", "network", "answer"}
        assert sum(row["stages"].values()) == pytest.approx(1)
        assert row["ratio"] > 0
        assert row["precision"] != REFERENCE or row["ratio"] == 1
        assert (row["peak_memory_mib"], row["peak_gpu_memory_mib"]) == (123.0, None)
    macs = {(row.height, row.route): row.macs for row in result.rows}
    assert macs[64, "FUSED"] == pytest.approx(2 * macs[32, "FUSED"], rel=0.01)
    assert macs[32, "FUSED"] > macs[32, "IR_ONLY"] > 0


@pytest.mark.usefixtures("quick_memory")
@pytest.mark.slow
def test_every_engine_that_is_installed_is_measured(weights):
    settings = SpeedSettings(
        weights, precisions=("float32",), routes=(Route.EO_ONLY,), sizes=(SIZE,), rounds=1
    )
    rows = measure_speed(settings).rows
    assert [(row.engine, row.precision) for row in rows] == [
        ("torch", REFERENCE), ("onnxruntime", "float32"), ("openvino", "float32"), ("torch", "float32"),
    ]  # fmt: skip


@pytest.mark.usefixtures("quick_memory")
def test_ratios_are_of_the_same_round(weights, monkeypatch):
    # two frames to warm up, then in each round one after a rest and the one that counts
    reference_ms, ours_ms = iter([0, 0, 12, 10, 35, 30, 22, 20]), iter([0, 0, 14, 10, 13, 10, 90, 5])

    def run(self, _):
        total = next(reference_ms if self.variant.precision == REFERENCE else ours_ms)
        return {"network": total, "total": total}

    monkeypatch.setattr(LoadedVariant, "run", run)
    settings = SpeedSettings(weights, ("torch",), ("float32",), (Route.IR_ONLY,), (SIZE,), rounds=3)
    plain, ours = measure_speed(settings).rows
    assert (plain.median_ms, plain.ratio, plain.rested_ms) == (20, 1, 22)
    assert (ours.median_ms, ours.ratio, ours.fps, ours.rested_ms) == (10, 3, 100, 14)
    assert ours.stages == {"network": 1}


@pytest.mark.usefixtures("quick_memory")
def test_every_variant_gets_a_rest_then_two_frames(weights, monkeypatch):
    moments = []

    def run(self, _):
        moments.append(time.perf_counter())
        return {"total": 1.0}

    monkeypatch.setattr(LoadedVariant, "run", run)
    measure_speed(SpeedSettings(weights, ("torch",), ("float32",), (Route.IR_ONLY,), (SIZE,), rounds=2))
    gaps = np.diff(moments)
    assert len(gaps) == 11  # the first four frames warm up
    assert (gaps[3::2] >= 1 / 30).all()
    assert (gaps[4::2] < 1 / 30).all()


@pytest.fixture
def interrupted(weights, quick_memory, monkeypatch):
    """Measures two variants, with Ctrl-C after so many runs; the first four are for warming up."""

    def measure(runs):
        left = iter(range(runs))

        def run(self, _):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return {"total": 1.0}

        monkeypatch.setattr(LoadedVariant, "run", run)
        settings = SpeedSettings(weights, ("torch",), ("float32",), (Route.IR_ONLY,), (SIZE,), rounds=9)
        return measure_speed(settings)

    return measure


@pytest.mark.parametrize(("runs", "rounds"), [(8, 1), (13, 2)])
def test_an_interrupt_keeps_full_rounds_only(interrupted, runs, rounds):
    result = interrupted(runs)
    assert not result.complete
    assert [row.runs for row in result.rows] == [rounds, rounds]


@pytest.mark.usefixtures("quick_memory")
def test_a_stream_of_frames_is_timed_beside_the_rounds(weights):
    settings = SpeedSettings(
        weights, ("torch",), ("float32",), (Route.IR_ONLY,), (SIZE,), rounds=2, threads=2, at_once=2
    )
    result = measure_speed(settings)
    assert result.complete
    assert [row.at_once for row in result.rows] == [2, 2]
    assert all(row.stream_fps > 0 for row in result.rows)


@pytest.mark.usefixtures("quick_memory")
def test_an_interrupted_stream_keeps_what_was_timed(weights, monkeypatch):
    def rates(variant, _, routes, **__):
        if variant.precision != REFERENCE:
            raise KeyboardInterrupt
        yield from dict.fromkeys(routes, 50.0).items()

    monkeypatch.setattr(speed, "measure_throughput", rates)
    settings = SpeedSettings(
        weights, ("torch",), ("float32",), (Route.IR_ONLY,), (SIZE,), rounds=1, at_once=2
    )
    result = measure_speed(settings)
    assert not result.complete
    assert [row.stream_fps for row in result.rows] == [50.0, None]


def test_an_interrupt_before_the_first_full_round_leaves_nothing(interrupted):
    with pytest.raises(KeyboardInterrupt):
        interrupted(7)


def test_the_reference_gives_the_ids_of_the_segmenter(checkpoint):
    plain = PlainSegmenter(checkpoint, torch.device("cpu"), confidence=True)
    segmenter = Segmenter(checkpoint, engine="torch", device="cpu")
    for route in Route:
        images = _variant().images(route)
        expected, got = segmenter.segment(**images), plain.segment(**images)
        assert got.route is route
        assert got.labels.dtype == np.uint8
        assert np.mean(got.labels == expected.labels) > 0.999
        assert np.abs(got.confidence.astype(int) - expected.confidence).max() <= 1


def test_each_variant_has_its_own_number_of_torch_threads(checkpoint):
    loaded, _ = load_variants(checkpoint, [SIZE], threads=3)
    seen = {}
    for one in loaded:
        one._segmenter = ThreadCounter(one._segmenter)
        one.run(one.variant.images(Route.IR_ONLY))
        seen[one.variant.engine, one.variant.precision] = one._segmenter.threads
    assert seen["torch", "float32"] == 3
    assert seen["torch", REFERENCE] == seen["openvino", "float32"] == 1


def test_what_cannot_run_is_left_out_with_its_reason(checkpoint, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # as of a CPU that has no bfloat16
    _, left_out = load_variants(checkpoint, [SIZE], engines=("torch",))
    assert left_out == [
        f"torch {name}: this CPU does not compute in {name}: use precision float32"
        for name in ("float16", "bfloat16")
    ]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"engines": ("steam",)}, "engine 'steam' is not available: use some of openvino, torch"),
        (
            {"precisions": ("float32", "float16")},
            "float16 cannot run here: .*this CPU does not compute in float16",
        ),
        (
            {"precisions": ("float32", "float8")},
            "float8 cannot run here: precision of engine openvino must be",
        ),
        ({"device": "cuda:7"}, "device 'cuda:7' is missing"),
    ],
)
def test_what_was_named_and_is_missing_is_an_error(checkpoint, named, reason):
    with pytest.raises(EngineError, match=reason):
        load_variants(checkpoint, [SIZE], **named)


def test_a_named_engine_that_is_not_installed_is_an_error_and_else_left_out(checkpoint, monkeypatch):
    def build(*_, **__):
        raise EngineError("engine openvino is not installed: pip install 'csk_ros[openvino]'")

    ours = variants.Segmenter
    monkeypatch.setattr(
        variants,
        "Segmenter",
        lambda *a, **k: build() if k["engine"] == "openvino" else ours(*a, **k),
    )
    with pytest.raises(EngineError, match=r"openvino cannot run here: .*csk_ros\[openvino\]"):
        load_variants(checkpoint, [SIZE], engines=("openvino", "torch"))
    loaded, left_out = load_variants(checkpoint, [SIZE], precisions=("float32",))
    assert {one.variant.engine for one in loaded} == {"torch"}
    assert left_out == ["openvino float32: engine openvino is not installed: pip install 'csk_ros[openvino]'"]


@pytest.mark.usefixtures("quick_memory")
def test_settings_that_mean_nothing(weights, tmp_path):
    with pytest.raises(ValueError, match="rounds is 0"):
        SpeedSettings(weights, rounds=0)
    with pytest.raises(ValueError, match="sizes must be positive"):
        SpeedSettings(weights, sizes=((0, 64),))
    network = build_network("single", modality="ir", num_classes=9, decoder_width=8, output_stride=32)
    thermal = tmp_path / "thermal.safetensors"
    _save(thermal, network)
    with pytest.raises(ValueError, match="does not run FUSED: it runs IR_ONLY"):
        measure_speed(SpeedSettings(thermal, routes=(Route.FUSED,), sizes=(SIZE,)))


@pytest.mark.slow
def test_peak_memory_is_that_of_a_process_of_its_own(weights):
    held = np.ones(1 << 29, np.uint8)  # 512 MiB of this process, which the other must not count
    small = measure_peak_memory(_variant(), Route.FUSED, weights)
    large = dataclasses.replace(_variant(), height=1024, width=1536)
    assert small.gpu is None
    assert 50 < small.process < measure_peak_memory(large, Route.FUSED, weights).process - 20
    assert small.process < _own_peak_mib() - 200
    assert held.all()


def test_a_failing_memory_process_is_one_line(tmp_path):
    with pytest.raises(PeakMemoryError, match=r"memory of torch float32 failed: .*absent\.safetensors"):
        measure_peak_memory(_variant(), Route.FUSED, tmp_path / "absent.safetensors")


def _own_peak_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@pytest.mark.parametrize(("device", "torchs"), [("cpu", "cpu"), ("xpu", "cpu"), ("xpu:1", "cpu")])
def test_the_reference_runs_where_torch_can(device, torchs):
    variant = Variant("openvino", "float16", device, *SIZE, threads=1, confidence=False)
    assert variant.reference(2) == Variant("torch", REFERENCE, torchs, *SIZE, threads=2, confidence=False)
