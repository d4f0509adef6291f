from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csk_ros.modality import Route
from csk_ros.network import build_network
from csk_ros.network.exchange import PAPER_STAGES
from csk_ros.training.losses import cross_entropy, enet_weights, head_losses


def slow_cross_entropy(logits, labels, weight):
    total = share = 0.0
    for n in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                label = int(labels[n, y, x])
                if label == 255:
                    continue
                scores = [float(v) for v in logits[n, :, y, x]]
                highest = max(scores)
                log_sum = highest + math.log(sum(math.exp(v - highest) for v in scores))
                factor = 1.0 if weight is None else float(weight[label])
                total += factor * (log_sum - scores[label])
                share += factor
    return total / share if share else 0.0


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), weighted=st.booleans(), ignored=st.floats(0, 1))
def test_cross_entropy_equals_the_slow_one(seed, weighted, ignored):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(2, 3, 4, 5, generator=generator)
    labels = torch.randint(0, 3, (2, 4, 5), generator=generator)
    labels[torch.rand(2, 4, 5, generator=generator) < ignored] = 255
    weight = torch.rand(3, generator=generator) + 0.1 if weighted else None
    expected = slow_cross_entropy(logits, labels, weight)
    assert float(cross_entropy(logits, labels, weight)) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("weight", [None, torch.ones(3)])
def test_a_batch_without_labels_gives_zero_loss_and_zero_gradient(weight):
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 2, 2), 255), weight)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_enet_weights_rise_as_classes_get_rare():
    weights = enet_weights(np.array([1.0, 0.1, 0.0]))
    expected = [1 / math.log(2.02), 1 / math.log(1.12), 1 / math.log(1.02)]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert weights.dtype == np.float32
    assert enet_weights(np.array([0.0]), 1.2)[0] == pytest.approx(1 / math.log(1.2))


@pytest.fixture
def network():
    torch.manual_seed(0)
    arguments = {
        "decoder_width": 8,
        "output_stride": 32,
        "exchange_stages": PAPER_STAGES,
        "exchange_direction": "ir_to_eo",
    }
    return build_network("csk", num_classes=3, **arguments).train()


def gradients(network, *routes):
    output = network.forward_heads(eo=torch.randn(2, 3, 64, 64), ir=torch.randn(2, 1, 64, 64))
    losses = head_losses(output.logits, torch.randint(0, 3, (2, 64, 64)), None)
    sum(losses[route] for route in routes).backward()
    return {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_every_head_and_both_streams_learn(network):
    reached = gradients(network, *Route)
    for part in ("heads.FUSED", "heads.IR_ONLY", "heads.EO_ONLY", "fusion", "decoders.eo", "decoders.ir"):
        assert any(name.startswith(part) for name in reached), part
    for modality in ("eo", "ir"):
        assert any(name.startswith("encoder") and f".{modality}." in name for name in reached), modality


def test_the_ir_head_leaves_everything_private_to_eo_and_fusion_alone(network):
    reached = gradients(network, Route.IR_ONLY)
    assert any(name.startswith("heads.IR_ONLY") for name in reached)
    private = ("decoders.eo", "heads.EO_ONLY", "heads.FUSED", "fusion")
    strangers = [n for n in reached if n.startswith(private) or (n.startswith("encoder") and ".eo." in n)]
    assert strangers == []
