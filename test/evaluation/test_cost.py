from __future__ import annotations

import pytest
import torch
from pixel_net import PixelNet
from torch import nn

from csk_ros.evaluation.cost import RouteCost, route_cost
from csk_ros.modality import Route
from csk_ros.network import build_network
from csk_ros.network.base import CHANNELS


def _network(name="csk", **arguments):
    return build_network(name, num_classes=9, decoder_width=8, output_stride=32, **arguments).eval()


def _macs_by_hooks(network, route, size):
    """Multiply-accumulates of every convolution that runs, from the size of what it gives."""
    counted = []

    def count(conv, _, output):
        counted.append(output.numel() * conv.weight[0].numel())

    convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    hooks = [m.register_forward_hook(count) for m in convs]
    with torch.no_grad():
        network(**{m.value: torch.zeros(1, CHANNELS[m], *size) for m in route.modalities})
    for hook in hooks:
        hook.remove()
    return sum(counted)


@pytest.fixture(scope="module")
def network():
    return _network()


@pytest.mark.parametrize("route", Route)
def test_macs_are_those_of_the_convolutions_that_run(network, route):
    assert route_cost(network, route, (32, 64)).macs == _macs_by_hooks(network, route, (32, 64))


def test_thermal_alone_costs_what_the_plain_thermal_network_costs(network):
    single = _network("single", modality="ir")
    plain = route_cost(single, Route.IR_ONLY, (32, 64))
    assert plain.parameters == sum(p.numel() for p in single.parameters())
    assert route_cost(network, Route.IR_ONLY, (32, 64)) == plain
    fused = route_cost(network, Route.FUSED, (32, 64))
    heads = sum(p.numel() for r in ("EO_ONLY", "IR_ONLY") for p in network.heads[r].parameters())
    assert fused.parameters == sum(p.numel() for p in network.parameters()) - heads


def test_counting_leaves_the_network_alone():
    network = PixelNet(9).requires_grad_(requires_grad=False)
    assert route_cost(network, Route.FUSED, (8, 8)) == RouteCost(9 * 9 * 4 + 18 + 90, 64 * (9 * 9 * 4 + 81))
    assert not any(p.is_meta or p.requires_grad for p in network.parameters())
