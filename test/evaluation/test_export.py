"""Exported models answer as torch does, or nothing is written."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from csk_ros.data import open_samples
from csk_ros.data.sample import Sample
from csk_ros.evaluation import export as export_module
from csk_ros.evaluation.export import ExportError, ExportSettings, export, format_checks
from csk_ros.evaluation.export_check import Check, camera_images
from csk_ros.inference import EngineError, Segmenter, SegmenterError
from csk_ros.inference.exported import FORMATS, run_exported
from csk_ros.inference.int8_models import find_int8
from csk_ros.inference.model_cache import ModelCache, fingerprint
from csk_ros.inference.openvino_bytes import pack_pixels
from csk_ros.labels import MFNET
from csk_ros.modality import Route
from csk_ros.network import DEFAULT_NORMALISATION, build_network, load_checkpoint, save_checkpoint

pytest.importorskip("openvino")
SIZE, OTHER = (64, 96), (80, 120)


def _save(path, **network):
    torch.manual_seed(0)
    built = build_network(num_classes=9, decoder_width=8, output_stride=32, **network).eval()
    save_checkpoint(path, built, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    return path


@pytest.fixture(scope="module")
def thermal(tmp_path_factory):
    return _save(tmp_path_factory.mktemp("thermal") / "thermal.safetensors", name="single", modality="ir")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return _save(tmp_path_factory.mktemp("both") / "both.safetensors", name="csk")


@pytest.fixture(scope="module")
def scenes():
    class Held(list):
        label_set, rate_hz = MFNET, 1.0

    return Held(open_samples("scenes:seed=3,frames=6", None))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def settings(checkpoint, **more):
    return ExportSettings(checkpoint, **{"to": "openvino", "size": SIZE, "frames": 3, "threads": 1} | more)


def test_a_route_is_written_and_says_what_it_is(thermal, scenes, tmp_path):
    checks = export(settings(thermal), scenes, tmp_path / "out")
    check = checks[Route.IR_ONLY]
    assert check.frames == 3
    assert check.agreement > 0.999
    assert check.confidence_error < 0.1
    assert check.miou == pytest.approx(check.torch_miou, abs=1e-3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "export.json", "ir_only.bin", "ir_only.xml",
    ]  # fmt: skip
    document = json.loads((tmp_path / "out" / "export.json").read_text())
    assert document["inputs"]["ir"] == {"dtype": "uint8", "shape": list(SIZE)}
    assert document["classes"] == list(MFNET.names)
    assert document["routes"]["IR_ONLY"]["agreement"] == check.agreement
    assert "| IR_ONLY | 3 | 100.00 |" in format_checks(checks)


def test_a_file_takes_camera_bytes_and_gives_what_the_segmenter_gives(thermal, scenes, tmp_path):
    chosen = settings(thermal, size=OTHER, working_size=SIZE, ir_bits=16)
    export(chosen, scenes, tmp_path / "out")
    run = run_exported(tmp_path / "out" / "ir_only.xml", 1)
    images = camera_images(scenes[1], Route.IR_ONLY, chosen.shape)
    assert (images[0].dtype, images[0].shape) == (np.uint16, OTHER)
    labels, confidence = run(images)
    wanted = Segmenter.from_checkpoint(thermal, "torch", "cpu", height=64, width=96).segment(ir=images[0])
    assert labels.dtype == confidence.dtype == np.uint8
    assert np.mean(labels == wanted.labels) > 0.995
    assert np.abs(confidence.astype(int) - wanted.confidence).mean() < 0.5


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_every_route_in_both_formats(both, scenes, tmp_path, to):
    checks = export(settings(both, to=to), scenes, tmp_path / "out")
    assert set(checks) == set(Route)
    assert min(check.agreement for check in checks.values()) > 0.999


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_dynamic_model_takes_another_size(both, scenes, tmp_path, to):
    chosen = settings(both, to=to, dynamic=True, routes=(Route.FUSED,))
    assert export(chosen, scenes, tmp_path / "out")[Route.FUSED].agreement > 0.999
    run = run_exported(tmp_path / "out" / f"fused{FORMATS[to]}", 1)
    eo, ir = camera_images(scenes[0], Route.FUSED, settings(both, size=(96, 160)).shape)
    wanted = Segmenter.from_checkpoint(both, "torch", "cpu").segment(eo=eo, ir=ir)
    assert np.mean(run([eo, ir])[0] == wanted.labels) > 0.999


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("to", "precision", "more"),
    [
        ("onnx", "float16", {}),
        ("onnx", "float32", {"ir_bits": 16, "working_size": SIZE, "size": OTHER, "eo_size": (100, 150)}),
        ("openvino", "float16", {"confidence": False}),
    ],
)
def test_precisions_sizes_and_depths(both, scenes, tmp_path, to, precision, more):
    chosen = settings(both, to=to, precision=precision, routes=(Route.FUSED,), **more)
    check = export(chosen, scenes, tmp_path / "out")[Route.FUSED]
    assert check.agreement > 0.99
    assert (check.confidence_error is None) == (not chosen.confidence)


INT8 = {"engine": "openvino", "device": "cpu", "precision": "int8"}


def test_without_calibration_int8_says_how_to_make_it(thermal):
    with pytest.raises(
        EngineError, match=r"there is no int8 model of this checkpoint: make it with csk export"
    ):
        Segmenter.from_checkpoint(thermal, **INT8)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_int8_is_kept_for_the_node(tmp_path, scenes):
    pytest.importorskip("nncf")
    thermal = _save(tmp_path / "own" / "thermal.safetensors", name="single", modality="ir", padding="same")
    chosen = settings(thermal, precision="int8", size=OTHER, least_agreement=0.5, most_miou_loss=100.0)
    export(chosen, scenes, tmp_path / "out")
    ir = camera_images(scenes[0], Route.IR_ONLY, chosen.shape)[0]
    labels, _ = run_exported(tmp_path / "out" / "ir_only.xml", 1)([ir])
    for confidence in (True, False):
        segmenter = Segmenter.from_checkpoint(thermal, confidence=confidence, **INT8)
        assert segmenter.precision == "int8"
        got = segmenter.segment(ir=ir)
        assert np.mean(got.labels == labels) > 0.999  # the node runs what the file holds
        assert (got.confidence is not None) == confidence
    export(chosen, scenes, tmp_path / "again")  # a calibration takes the place of the one before

    found = find_int8(fingerprint(load_checkpoint(thermal)), None, ModelCache.beside(thermal))
    model = found.read(Route.IR_ONLY)
    # multiples of 32, which can be reshaped to any size
    assert list(model.inputs[0].shape) == [1, 96, 128, 1]
    assert model.inputs[0].get_element_type().to_dtype() == np.uint8
    assert list(pack_pixels(model).inputs[0].shape) == [1, 96, 64, 2]

    robot = tmp_path / "robot" / "thermal.safetensors"
    robot.parent.mkdir()
    for file in (thermal, tmp_path / "again" / "thermal.int8.zip"):
        shutil.copy(file, robot.parent)
    for size in (OTHER, SIZE, (45, 71)):
        image = cv2.resize(ir, size[::-1])
        got, wanted = (
            Segmenter.from_checkpoint(robot, cache=False, **how).segment(ir=image)
            for how in (INT8, {"engine": "torch", "device": "cpu"})
        )
        assert np.mean(got.labels == wanted.labels) > 0.6


def test_a_model_that_answers_otherwise_is_refused_and_leaves_nothing(thermal, scenes, tmp_path, monkeypatch):
    def wrong(path, threads):
        run = run_exported(path, threads)
        return lambda images: [(labels + 1) % 9 for labels in run(images)]

    monkeypatch.setattr(export_module, "run_exported", wrong)
    with pytest.raises(ExportError, match=r"IR_ONLY gives 0\.00 % of the pixels torch's class, and 99\.00 %"):
        export(settings(thermal), scenes, tmp_path / "out")
    with pytest.raises(ExportError, match=r"IR_ONLY loses .* points of mIoU against torch, and -100 may"):
        export(settings(thermal, least_agreement=0.0, most_miou_loss=-100.0), scenes, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("loss", "refused"), [(0.012, True), (0.008, False), (-0.1, False)])
def test_a_model_that_scores_worse_is_refused_whatever_it_agrees_in(loss, refused, tmp_path):
    check = Check(5, 0.999, 0.999, None, 0.6 - loss, 0.6, 10.0, 20.0)
    settings = ExportSettings(tmp_path, most_miou_loss=1.0)
    with pytest.raises(ExportError, match=r"IR_ONLY loses 1\.20 points") if refused else nullcontext():
        export_module._refuse(Route.IR_ONLY, check, settings)


def test_without_labels_only_agreement_counts(thermal, scenes, tmp_path):
    bare = [replace(sample, labels=None) for sample in scenes]
    check = export(settings(thermal), bare, tmp_path / "out")[Route.IR_ONLY]
    assert (check.miou, check.torch_miou) == (None, None)
    assert "| - | - |" in format_checks({Route.IR_ONLY: check})


def test_what_exists_is_left_alone(thermal, scenes, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="out exists already: name a new folder"):
        export(settings(thermal), scenes, tmp_path / "out")


def test_calibration_and_comparison_share_no_frame(thermal):
    class Numbers:
        label_set, rate_hz = MFNET, 1.0

        def __len__(self):
            return 100

        def __getitem__(self, index):
            return index

    calibration, compared = export_module._choose(Numbers(), settings(thermal, precision="int8", frames=10))
    assert len(calibration) == len(compared) == 10
    assert not set(calibration) & set(compared)
    assert min(calibration) == 0
    assert max(compared) == 99
    assert export_module._choose(Numbers(), settings(thermal, frames=1000))[1] == list(range(100))


def test_thermal_depths_are_converted(thermal):
    eight = Sample(None, np.full((4, 6), 200, np.uint8), None, "a", 0)
    shape = settings(thermal, size=(4, 6), ir_bits=16).shape
    assert camera_images(eight, Route.IR_ONLY, shape)[0].tolist() == [[51200] * 6] * 4
    ramp = Sample(None, np.linspace(9000, 21000, 24).astype(np.uint16).reshape(4, 6), None, "b", 0)
    levels = camera_images(ramp, Route.IR_ONLY, replace(shape, ir_bits=8))[0]
    assert (levels.dtype, levels.min(), levels.max()) == (np.uint8, 0, 255)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"to": "tflite"}, "to is tflite: use one of onnx, openvino"),
        ({"precision": "int4"}, "precision is int4: use one of float32, float16, int8"),
        ({"to": "onnx", "precision": "int8"}, "int8 is written for openvino only"),
        ({"precision": "int8", "dynamic": True}, "int8 is calibrated for one size: leave --dynamic out"),
        ({"ir_bits": 12}, "ir_bits is 12: use one of 8, 16"),
        ({"frames": 0}, "frames is 0"),
        ({"size": (0, 4)}, "sizes must be positive"),
        (
            {"dynamic": True, "size": (60, 96)},
            "dynamic models take both images in one size, of multiples of 32",
        ),
        ({"dynamic": True, "eo_size": (96, 96)}, "dynamic models take both images in one size"),
    ],
)
def test_settings_that_mean_nothing(thermal, given, message):
    with pytest.raises(ValueError, match=message):
        settings(thermal, **given)


def test_too_little_to_export_with(thermal, scenes, tmp_path):
    with pytest.raises(ValueError, match="does not run FUSED: it runs IR_ONLY"):
        export(settings(thermal, routes=(Route.FUSED,)), scenes, tmp_path / "out")
    with pytest.raises(ValueError, match="there are 1 samples, and 2 are needed at least"):
        export(settings(thermal, precision="int8"), scenes[:1], tmp_path / "out")


def test_a_missing_library_is_named(thermal, scenes, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nncf", None)
    with pytest.raises(SegmenterError, match=r"int8 needs nncf .*pip install 'csk_ros\[export\]'"):
        export(settings(thermal, precision="int8"), scenes, tmp_path / "out")
    monkeypatch.setattr("csk_ros.inference.onnx_file.find_spec", lambda _: None)
    with pytest.raises(SegmenterError, match=r"writing ONNX needs onnx: pip install 'csk_ros\[onnx\]'"):
        export(settings(thermal, to="onnx"), scenes, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
