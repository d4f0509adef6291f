"""What a route costs: parameters, multiply-accumulates, latency."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from csk_ros.network.base import CHANNELS

if TYPE_CHECKING:
    from csk_ros.inference import Segmenter
    from csk_ros.modality import Route
    from csk_ros.network import Network

REPEATS = 30
_FEWEST, _PATIENCE_S = 5, 30.0


@dataclass(frozen=True)
class RouteCost:
    """What a route takes, whatever the machine.

    Attributes:
        parameters: trained numbers that its answer hangs on.
        macs: multiply-accumulates of its convolutions and matrix products, for one pair of images.
    """

    parameters: int
    macs: int


@dataclass(frozen=True)
class Latency:
    """Milliseconds from camera images to ids (no confidence map), one frame at a time.

    Attributes:
        median_ms, p95_ms: of ``runs``.
        runs: how often it was measured.
    """

    median_ms: float
    p95_ms: float
    runs: int


def route_cost(network: Network, route: Route, size: tuple[int, int]) -> RouteCost:
    """Count one route at a working size (height, width); nothing is computed."""
    shadow = copy.deepcopy(network).eval().to("meta").requires_grad_()
    images = {m.value: torch.empty(1, CHANNELS[m], *size, device="meta") for m in route.modalities}
    with FlopCounterMode(display=False) as counter:
        logits = shadow(**images)
    parameters = list(shadow.parameters())
    slopes = torch.autograd.grad(logits.sum(), parameters, allow_unused=True)
    used = [p.numel() for p, slope in zip(parameters, slopes, strict=True) if slope is not None]
    return RouteCost(sum(used), counter.get_total_flops() // 2)


def measure_latency(segmenter: Segmenter, images: dict[Route, dict[str, Any]]) -> dict[Route, Latency]:
    """Time routes in turns, so that what else the machine does falls on all of them alike.

    Args:
        segmenter: what to time.
        images: keyword arguments of :meth:`Segmenter.segment` by route.
    """
    for arguments in images.values():
        segmenter.segment(**arguments)
    times: dict[Route, list[float]] = {route: [] for route in images}
    until = time.monotonic() + _PATIENCE_S
    for turn in range(REPEATS):
        if turn >= _FEWEST and time.monotonic() > until:
            break
        for route, arguments in images.items():
            times[route].append(segmenter.segment(**arguments).timings["total"])
    return {route: _summary(ms) for route, ms in times.items()}


def _summary(times_ms: list[float]) -> Latency:
    median, p95 = np.percentile(times_ms, (50, 95))
    return Latency(float(median), float(p95), len(times_ms))
