"""Quality of service: subscriptions as their publishers offer, outputs that any subscriber matches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.duration import Infinite
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy

if TYPE_CHECKING:
    from rclpy.node import Node

# The defaults, as the graph tells of endpoints: left unset, each would compare as a limit not kept.
_UNLIMITED = {
    "deadline": Infinite,
    "liveliness": LivelinessPolicy.AUTOMATIC,
    "liveliness_lease_duration": Infinite,
}
OUTPUT = QoSProfile(
    depth=5, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE, **_UNLIMITED
)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL, **_UNLIMITED
)
_DEPTH = 5


def publisher_matched_qos(node: Node, topic: str) -> QoSProfile:
    """The strongest profile that every present publisher of ``topic`` (resolved name) offers.

    Without a publisher: best effort and volatile, which any publisher matches.
    """
    offered = [info.qos_profile for info in node.get_publishers_info_by_topic(topic)]
    reliable = offered and all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
    latched = offered and all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
    return QoSProfile(
        depth=_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
