"""Networks for the engines, in memory."""

from __future__ import annotations

import pytest
import torch

from csk_ros.labels import MFNET
from csk_ros.network import DEFAULT_NORMALISATION, Checkpoint, build_network


def _make_checkpoint(name="csk", **more):
    torch.manual_seed(0)
    network = build_network(name, num_classes=9, decoder_width=16, **more).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # fresh ones would hide a batch norm of the wrong route
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.7, 1.4)
    return Checkpoint(network, MFNET, DEFAULT_NORMALISATION, {})


@pytest.fixture(scope="session")
def make_checkpoint():
    """Makes a small untrained network of nine classes, whose batch norms all differ."""
    return _make_checkpoint


@pytest.fixture(scope="session")
def checkpoint(make_checkpoint):
    """A small CSK-Net."""
    return make_checkpoint()


@pytest.fixture
def _one_thread():
    torch.set_num_threads(1)
