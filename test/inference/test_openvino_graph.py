"""A graph of OpenVINO for another size is the one that torch runs at that size."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from csk_ros.inference.graph import RouteGraph
from csk_ros.modality import Route
from csk_ros.network import fold_batch_norms

if find_spec("openvino") is None:
    pytest.skip("needs pip install 'csk_ros[openvino]'", allow_module_level=True)

from csk_ros.inference.openvino_graph import reshape_openvino, trace_openvino
from csk_ros.inference.openvino_library import openvino_core

pytestmark = pytest.mark.usefixtures("_one_thread")
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
TRACED = (64, 96)
SIZES = [(64, 96), (96, 64), (60, 90), (45, 71), (33, 130)]


@pytest.fixture(scope="module")
def traced(make_checkpoint):
    """Makes a route's graph and its model for one size, each once."""
    made = {}

    def trace(route, **network):
        key = route, *sorted(network.items())
        if key not in made:
            checkpoint = make_checkpoint(**network)
            folded = fold_batch_norms(checkpoint.network).requires_grad_(requires_grad=False)
            graph = RouteGraph(checkpoint, folded, route)
            made[key] = graph, trace_openvino(graph, graph.examples(TRACED))
        return made[key]

    return trace


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("route", "network"),
    [
        (Route.FUSED, {"padding": "same"}),
        (Route.IR_ONLY, {"padding": "torch"}),
        (Route.IR_ONLY, {"padding": "same", "decoder": "deeplabv3plus", "output_stride": 16}),
        (Route.EO_ONLY, {"padding": "same", "decoder": "deeplabv3", "output_stride": 8}),
        (Route.FUSED, {"backbone": "resnet18"}),
        (Route.FUSED, {"name": "early", "padding": "same"}),
    ],
)
def test_a_reshaped_model_answers_as_torch_does_at_that_size(traced, route, network, size):
    graph, model = traced(route, **network)
    generator = torch.manual_seed(0)
    images = [torch.rand(each.shape, generator=generator) * 255 for each in graph.examples(size)]
    with torch.inference_mode():
        wanted = graph(*images)
    compiled = openvino_core().compile_model(reshape_openvino(model, size), "CPU", EXACT)
    got = torch.from_numpy(compiled([image.numpy() for image in images])[0])
    assert torch.allclose(got, wanted, atol=1e-3 * float(wanted.abs().max()))


def test_what_was_reshaped_is_not_changed(traced):
    _, model = traced(Route.IR_ONLY, padding="same")
    reshape_openvino(model, (45, 71))
    assert list(model.inputs[0].shape) == [1, *TRACED, 1]
