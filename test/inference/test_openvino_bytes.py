"""Models of bytes compute what models of floats compute, and pixels packed into channels the same sums."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from csk_ros.data.synthetic import SceneDrive
from csk_ros.inference import Segmenter
from csk_ros.inference.graph import RouteGraph
from csk_ros.inference.int8_models import find_int8
from csk_ros.inference.model_cache import fingerprint
from csk_ros.inference.preprocess import levels
from csk_ros.modality import Modality, Route
from csk_ros.network import Normalisation, fold_batch_norms, load_checkpoint
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if find_spec("openvino") is None:
    pytest.skip("needs pip install 'csk_ros[openvino]'", allow_module_level=True)

import openvino

from csk_ros.inference.openvino_bytes import (
    _path,
    _quantised_path,
    _readers,
    as_input,
    lay_on_levels,
    pack_filters,
    pack_pixels,
    read_bytes,
)
from csk_ros.inference.openvino_graph import reshape_openvino, trace_openvino
from csk_ros.inference.openvino_library import openvino_core, openvino_ops

pytestmark = pytest.mark.usefixtures("_one_thread")
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
SIZE = (64, 96)
INT8 = {"engine": "openvino", "device": "cpu", "threads": 1, "cache": False}


def run(model, images):
    """A model's answer to images, in whatever shape it takes them."""
    compiled = openvino_core().compile_model(model, "CPU", EXACT)
    shaped = [image.reshape(tuple(port.shape)) for image, port in zip(images, model.inputs, strict=True)]
    return compiled(shaped)[0]


def bytes_of(model, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, tuple(port.shape)).astype(np.uint8) for port in model.inputs]


def traced(checkpoint, route):
    folded = fold_batch_norms(checkpoint.network).requires_grad_(requires_grad=False)
    graph = RouteGraph(checkpoint, folded, route)
    return trace_openvino(graph, graph.examples(SIZE))


@pytest.mark.parametrize(
    ("route", "network", "mean", "error"),
    [
        (Route.FUSED, {"padding": "same"}, 0.4, 1e-5),  # of 255: a whole level
        (Route.FUSED, {"padding": "same"}, 0.12, 0.02),
        (Route.EO_ONLY, {"backbone": "resnet18"}, 0.5, 0.02),
        (Route.IR_ONLY, {"name": "single", "modality": "ir", "padding": "torch"}, 0.4, 1e-5),
    ],
)
def test_a_model_of_bytes_answers_as_one_of_levels(make_checkpoint, route, network, mean, error):
    scales = {
        Modality.EO: Normalisation((mean, 0.6, 0.2), (0.2, 0.3, 0.5)),
        Modality.IR: Normalisation((mean,), (0.3,)),
    }
    floats = traced(replace(make_checkpoint(**network), normalisation=scales), route)
    model = read_bytes(floats)
    assert {port.get_element_type() for port in model.inputs} == {openvino.Type.u8}
    assert {port.get_element_type() for port in floats.inputs} == {openvino.Type.f32}  # is not changed
    images = bytes_of(model)
    wanted, got = run(floats, [image.astype(np.float32) for image in images]), run(model, images)
    assert np.abs(got - wanted).max() < error * np.abs(wanted).max()


@pytest.mark.parametrize("mean", [0.5, 0.12])
def test_inside_the_image_the_first_filters_give_the_same(make_checkpoint, mean):
    scales = {
        Modality.EO: Normalisation((mean,) * 3, (0.3,) * 3),
        Modality.IR: Normalisation((mean,), (0.3,)),
    }
    checkpoint = make_checkpoint("single", modality="ir", padding="same")
    floats = traced(replace(checkpoint, normalisation=scales), Route.IR_ONLY)
    model = read_bytes(floats)
    image = bytes_of(model)[0]
    first = []
    for each, given_image in ((floats, image.astype(np.float32)), (model, image)):
        bias = _readers(_path(each.get_parameters()[0])[-1])[0]
        assert bias.get_type_name() == "Add"
        first.append(run(openvino.Model([bias], each.get_parameters()), [given_image])[..., 1:-1, 1:-1])
    np.testing.assert_allclose(*first, atol=1e-4)


def test_inputs_that_are_joined_first_stay_floats(make_checkpoint):
    model = read_bytes(traced(make_checkpoint("early"), Route.FUSED))
    assert {port.get_element_type() for port in model.inputs} == {openvino.Type.f32}


@settings(max_examples=60)
@given(
    stride=st.integers(1, 5),
    width=st.integers(1, 9),
    begin=st.integers(0, 6),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
def test_packed_filters_give_the_same_sums(stride, width, begin, channels, seed):
    generator = np.random.default_rng(seed)
    filters = generator.integers(-9, 10, (2, channels, 3, width)).astype(np.int8)
    pixels = 6 * stride
    image = torch.from_numpy(generator.integers(0, 9, (1, 4, pixels, channels))).float()
    end = width + 5 * stride - pixels  # of six outputs the last reads up to there
    planes = functional.pad(image.permute(0, 3, 1, 2), (begin, end - begin))
    wanted = functional.conv2d(planes, torch.from_numpy(filters).float(), stride=(1, stride))

    packed, (left, right) = pack_filters(filters, stride, begin)
    wide = image.reshape(1, 4, 6, stride * channels).permute(0, 3, 1, 2)
    got = functional.conv2d(functional.pad(wide, (left, right)), torch.from_numpy(packed).float())
    assert torch.equal(got, wanted)


@pytest.fixture(scope="module")
def shipped():
    checkpoint = load_checkpoint(share_path(DEFAULT_CHECKPOINT))
    return find_int8(fingerprint(checkpoint), checkpoint.path, None)


@pytest.mark.parametrize("route", [Route.FUSED, Route.IR_ONLY])
@pytest.mark.parametrize(("size", "packed"), [((96, 128), 2), ((64, 98), 2), ((45, 71), 1)])
def test_packed_pixels_change_no_answer(shipped, route, size, packed):
    model = reshape_openvino(shipped.read(route), size)
    images = bytes_of(model)
    fast = pack_pixels(model)
    channels = [1 if modality is Modality.IR else 3 for modality in route.modalities]
    assert [port.shape[3] for port in fast.inputs] == [packed * count for count in channels]
    assert [port.shape[3] for port in model.inputs] == channels  # is not changed
    np.testing.assert_array_equal(run(fast, images), run(model, images))


def keeps_every_byte(model):
    """Whether what the first quantiser of a thermal image gives is what comes into it: whole levels."""
    _, _, shift, quantiser, _ = _quantised_path(model.get_parameters()[0])
    both = openvino.Model([shift, quantiser], model.get_parameters())
    compiled = openvino_core().compile_model(both, "CPU", EXACT)
    size = tuple(model.inputs[0].shape)
    every = np.arange(np.prod(size)).astype(np.uint8).reshape(size)
    shifted, quantised = (compiled([every])[index] for index in range(2))
    whole = len(np.unique(shifted)) == 256 and np.array_equal(shifted, np.rint(shifted))
    return whole and np.allclose(quantised, shifted, atol=1e-3)


def test_a_quantiser_laid_on_the_levels_keeps_every_byte(make_checkpoint):
    model = read_bytes(traced(make_checkpoint("single", modality="ir", padding="same"), Route.IR_ONLY))
    *_, shift, conv = _path(model.get_parameters()[0])
    ops = openvino_ops()
    bounds = [ops.constant(np.float32(bound)) for bound in (-7.3, 9.1) * 2]
    conv.input(0).replace_source_output(ops.fake_quantize(shift, *bounds, 256).output(0))
    assert not keeps_every_byte(model)
    lay_on_levels(model)
    assert keeps_every_byte(model)


def test_the_calibrated_models_keep_every_byte(shipped):
    assert keeps_every_byte(reshape_openvino(shipped.read(Route.IR_ONLY), (32, 32)))


def test_sixteen_bit_thermal_is_answered_as_its_levels_are():
    segmenter = Segmenter.from_checkpoint(share_path(DEFAULT_CHECKPOINT), precision="int8", **INT8)
    counts = 20_000 + 9 * SceneDrive(frames=1, light="dusk")[0].ir[::4, ::4].astype(np.uint16)
    whole = levels(counts, counts.shape, torch.device("cpu"))[0, ..., 0].round().byte().numpy()
    labels = segmenter.segment(ir=counts).labels
    assert len(np.unique(labels)) > 2
    np.testing.assert_array_equal(labels, segmenter.segment(ir=whole).labels)


def test_levels_between_bytes_are_rounded():
    between = np.float32([0.4, 0.6, 254.6, 255.0])
    assert as_input(between, np.uint8).tolist() == [0, 1, 255, 255]
    assert as_input(between, np.float32) is between
    own = np.uint8([3])
    assert as_input(own, np.uint8) is own
