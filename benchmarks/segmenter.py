"""Parameters, MACs and latency of each route of a network, and what folding and channels-last bring.

Every round times all variants in turn, so that a busy machine slows them alike; compare within one run.
"""

from __future__ import annotations

import argparse
import copy
import platform
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from csk_ros.inference import Segmenter
from csk_ros.labels import LabelSet
from csk_ros.modality import Modality, Route
from csk_ros.network import (
    BACKBONES,
    DECODERS,
    DEFAULT_NORMALISATION,
    Checkpoint,
    build_network,
    fold_batch_norms,
    load_checkpoint,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Measure and print the tables."""
    arguments = _parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    checkpoint = _checkpoint(arguments)
    network = checkpoint.network
    size = (arguments.height, arguments.width)
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    print(f"{network.architecture}")
    print(
        f"{parameters:.2f} M parameters, {size[0]}x{size[1]}, {platform.processor() or platform.machine()}, "
    )
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.rounds} rounds")
    routes = sorted(network.routes)
    for route in routes:
        print(f"{route.value:8} {_gmacs(network, route, size):6.2f} GMACs")
    _table("network", _network_calls(network, routes, size), arguments.rounds)
    _table("segmenter", _segmenter_calls(checkpoint, routes, size, arguments), arguments.rounds)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", help="measure this file instead of a network with random weights")
    parser.add_argument("--backbone", default="mobilenet_v2", choices=BACKBONES)
    parser.add_argument("--decoder", default="light", choices=list(DECODERS))
    parser.add_argument("--output-stride", type=int)
    parser.add_argument("--decoder-width", type=int)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--engine", default="auto")
    return parser.parse_args()


def _checkpoint(arguments: argparse.Namespace) -> Checkpoint:
    if arguments.checkpoint:
        return load_checkpoint(arguments.checkpoint)
    network = build_network(
        "csk",
        num_classes=9,
        backbone=arguments.backbone,
        decoder=arguments.decoder,
        output_stride=arguments.output_stride,
        decoder_width=arguments.decoder_width,
    )
    classes = LabelSet(tuple(map(str, range(9))), tuple((i, i, i) for i in range(9)))
    return Checkpoint(network.eval(), classes, DEFAULT_NORMALISATION, {})


def _inputs(route: Route, size: tuple[int, int]) -> dict[str, torch.Tensor]:
    channels = {Modality.EO: 3, Modality.IR: 1}
    return {modality.value: torch.rand(1, channels[modality], *size) for modality in route.modalities}


def _gmacs(network: torch.nn.Module, route: Route, size: tuple[int, int]) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(**_inputs(route, size))
    return counter.get_total_flops() / 2e9


def _network_calls(network: Any, routes: list[Route], size: tuple[int, int]) -> dict[str, Callable[[], Any]]:
    folded = fold_batch_norms(network)
    last = torch.channels_last
    variants = {
        "plain": (network, torch.contiguous_format),
        "channels_last": (copy.deepcopy(network).to(memory_format=last), last),
        "folded": (folded, torch.contiguous_format),
        "folded+channels_last": (copy.deepcopy(folded).to(memory_format=last), last),
    }
    calls = {}
    for name, (module, layout) in variants.items():
        for route in routes:
            inputs = {key: x.contiguous(memory_format=layout) for key, x in _inputs(route, size).items()}
            calls[f"{name} {route.value}"] = partial(module, **inputs)
    return calls


def _segmenter_calls(
    checkpoint: Checkpoint, routes: list[Route], size: tuple[int, int], arguments: argparse.Namespace
) -> dict[str, Callable[[], Any]]:
    segmenter = Segmenter(checkpoint, engine=arguments.engine, device=arguments.device)
    images = {"eo": np.zeros((*size, 3), np.uint8), "ir": np.zeros(size, np.uint8)}
    calls = {}
    for route in routes:
        given = {modality.value: images[modality.value] for modality in route.modalities}
        calls[f"{segmenter.engine} {segmenter.device} {route.value}"] = partial(segmenter.segment, **given)
    return calls


def _table(title: str, calls: dict[str, Callable[[], Any]], rounds: int) -> None:
    laps: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for number in range(rounds + 2):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                if number >= 2:
                    laps[name].append((time.perf_counter() - start) * 1e3)
    print(f"\n{title:32}{'min ms':>9}{'median':>9}{'p95':>9}")
    for name, values in laps.items():
        print(f"{name:32}{min(values):9.1f}{np.median(values):9.1f}{np.percentile(values, 95):9.1f}")


if __name__ == "__main__":
    main()
