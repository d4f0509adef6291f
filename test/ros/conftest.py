"""Fixtures of a node under test."""

from __future__ import annotations

import pytest
import rclpy
from peer import Peer
from rclpy.parameter import Parameter

from csk_ros.labels import MFNET
from csk_ros.network import DEFAULT_NORMALISATION, build_network, save_checkpoint
from csk_ros.ros.segment_node import SegmentNode


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """An untrained network as a checkpoint file."""
    path = tmp_path_factory.mktemp("checkpoint") / "untrained.safetensors"
    network = build_network("csk", num_classes=len(MFNET), backbone="mobilenet_v2", decoder="light")
    save_checkpoint(path, network, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    return path


@pytest.fixture(scope="session", autouse=True)
def _ros():
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def peer(request):
    """Spun, with the node under test, by the node's default executor unless the test names one."""
    peer = Peer(executor=getattr(request, "param", "auto"))
    yield peer
    peer.close()


@pytest.fixture
def start(peer, checkpoint):
    """Start a node with parameter overrides; `active=True` brings it to ACTIVE and waits for its topics."""
    nodes = []

    def run(*, active=True, **parameters):
        parameters = {"checkpoint": str(checkpoint), "engine": "torch", "threads": 1} | parameters
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        node = SegmentNode(parameter_overrides=overrides)
        nodes.append(node)
        if active:
            node.start()
        peer.executor.add_node(node)
        if active:
            assert node.state == "active", node.problem
            peer.wait_for(peer.connected)
            peer.wait_for(lambda: peer.node.count_publishers("segment/mask"))
        return node

    yield run
    peer.stop()
    for node in nodes:
        node.destroy_node()
