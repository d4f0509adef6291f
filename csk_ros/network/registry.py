"""Networks by name, which is how checkpoints and configuration files build them."""

from __future__ import annotations

from typing import Any

from csk_ros.network.baselines import EarlyFusionNet, LateFusionNet, SingleNet
from csk_ros.network.csknet import CSKNet

Network = CSKNet | SingleNet | EarlyFusionNet | LateFusionNet

ARCHITECTURES: dict[str, type[Network]] = {
    kind.name: kind for kind in (CSKNet, SingleNet, EarlyFusionNet, LateFusionNet)
}
"""Every network by its name."""


def build_network(name: str, **arguments: Any) -> Network:
    """Build a network with random weights.

    Args:
        name: a key of :data:`ARCHITECTURES`.
        arguments: JSON-ready keyword arguments of that class.

    Raises:
        ValueError: for an unknown name, argument or value.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown network {name!r}: use one of {', '.join(sorted(ARCHITECTURES))}")
    try:
        return ARCHITECTURES[name](**arguments)
    except TypeError as error:
        raise ValueError(f"network {name!r} cannot be built with {arguments}: {error}") from error
