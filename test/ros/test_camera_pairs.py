"""Two camera pairs side by side, each with a node in a namespace of its own."""

from __future__ import annotations

import time

import pytest
from peer import Peer
from rclpy.parameter import Parameter

from csk_ros.ros.segment_node import SegmentNode

PERIOD_S = 0.1
START = 1_700_000_000_000_000_000


@pytest.fixture
def pairs(checkpoint):
    """By namespace, the cameras of a pair; its node runs beside them."""
    given = {"checkpoint": str(checkpoint), "engine": "torch", "threads": 1}
    parameters = [Parameter(name, value=value) for name, value in given.items()]
    peers, nodes = {name: Peer(namespace=name) for name in ("/front", "/rear")}, []
    for name, peer in peers.items():
        node = SegmentNode(namespace=name, parameter_overrides=parameters)
        nodes.append((peer, node))
        node.start()
        assert node.state == "active", node.problem
        peer.executor.add_node(node)
    for peer in peers.values():
        peer.wait_for(peer.connected)
        peer.wait_for(lambda peer=peer: peer.node.count_publishers("segment/mask"))
    yield peers
    for peer, node in nodes:
        peer.stop()
        node.destroy_node()
        peer.close()


def test_one_pair_loses_its_optical_camera_and_the_other_does_not_notice(pairs):
    front, rear = pairs["/front"], pairs["/rear"]
    for number in range(30):
        stamp = START + int(number * PERIOD_S * 1e9)
        for peer in (front, rear):
            if peer is rear or number < 10:
                peer.publish("eo", stamp)
            peer.publish("ir", stamp)
        time.sleep(PERIOD_S)
    front.wait_for(lambda: front.routes()[-1:] == ["IR_ONLY"])
    for peer, name in ((front, "front"), (rear, "rear")):
        peer.wait_for(lambda peer=peer: peer.count("ir_received") == 30 and peer.count("in_hand") == 0)
        assert peer.balanced(), peer.account()
        peer.wait_for(lambda peer=peer: peer.count("answered") == len(peer.masks()) > 0)
        frame_ids = {mask.header.frame_id for mask in peer.masks()}
        assert f"{name}/ir_camera" in frame_ids <= {f"{name}/ir_camera", f"{name}/eo_camera"}
    assert rear.count("answered_fused") > 0
    assert rear.count("eo_received") == 30
    assert front.count("eo_received") == 10
