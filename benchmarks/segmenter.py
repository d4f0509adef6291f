"""Parameters, MACs and latency of each route of a network, for every engine and number of threads.

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


VARIANTS = ("plain", "channels_last", "folded", "folded+channels_last")


def main() -> None:
    """Measure and print the tables."""
    arguments = _parse()
    checkpoint = _checkpoint(arguments)
    network = checkpoint.network
    size = (arguments.height, arguments.width)
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    print(f"{network.architecture}")
    print(
        f"{parameters:.2f} M parameters, {size[0]}x{size[1]}, {platform.processor() or platform.machine()}, "
    )
    print(f"torch {torch.__version__}, {arguments.rounds} rounds")
    routes = sorted(network.routes & {Route(name) for name in arguments.routes})
    for route in routes:
        print(f"{route.value:8} {_gmacs(network, route, size):6.2f} GMACs")
    calls = _network_calls(network, routes, size, arguments)
    calls |= _segmenter_calls(checkpoint, routes, size, arguments)
    _table(calls, arguments.rounds)


def _with_threads(number: int, call: Callable[[], Any]) -> Callable[[], Any]:
    """``call`` with this many threads of torch; setting them is not part of the time that matters."""

    def run() -> Any:
        torch.set_num_threads(number)
        return call()

    return run


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", help="measure this file instead of a network with random weights")
    parser.add_argument("--backbone", default="mobilenet_v2", choices=BACKBONES)
    parser.add_argument("--decoder", default="light", choices=list(DECODERS))
    parser.add_argument("--output-stride", type=int)
    parser.add_argument("--decoder-width", type=int)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--variants", nargs="*", default=["plain", "folded+channels_last"], choices=VARIANTS)
    parser.add_argument("--engines", nargs="+", default=["torch", "openvino"])
    parser.add_argument("--routes", nargs="+", default=[route.value for route in Route])
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


def _network_calls(
    network: Any, routes: list[Route], size: tuple[int, int], arguments: argparse.Namespace
) -> dict[tuple[str, Route], Callable[[], Any]]:
    folded = fold_batch_norms(network)
    last = torch.channels_last
    variants = {
        "plain": (network, torch.contiguous_format),
        "channels_last": (copy.deepcopy(network).to(memory_format=last), last),
        "folded": (folded, torch.contiguous_format),
        "folded+channels_last": (copy.deepcopy(folded).to(memory_format=last), last),
    }
    calls = {}
    for name in arguments.variants:
        module, layout = variants[name]
        for route in routes:
            inputs = {key: x.contiguous(memory_format=layout) for key, x in _inputs(route, size).items()}
            for number in arguments.threads:
                calls[f"network, {name} x{number}", route] = _with_threads(number, partial(module, **inputs))
    return calls


def _segmenter_calls(
    checkpoint: Checkpoint, routes: list[Route], size: tuple[int, int], arguments: argparse.Namespace
) -> dict[tuple[str, Route], Callable[[], Any]]:
    images = {"eo": np.zeros((*size, 3), np.uint8), "ir": np.zeros(size, np.uint8)}
    calls = {}
    for engine in arguments.engines:
        for number in arguments.threads:
            segmenter = Segmenter(checkpoint, engine=engine, device=arguments.device, threads=number)
            for route in routes:
                given = {modality.value: images[modality.value] for modality in route.modalities}
                call = _with_threads(number, partial(segmenter.segment, **given))
                calls[f"Segmenter, {engine} {segmenter.device} x{number}", route] = call
    return calls


def _table(calls: dict[tuple[str, Route], Callable[[], Any]], rounds: int) -> None:
    laps: dict[tuple[str, Route], list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for number in range(rounds + 2):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                if number >= 2:
                    laps[name].append((time.perf_counter() - start) * 1e3)
    print(f"\n{'':36}{'':9}{'min ms':>9}{'median':>9}{'p95':>9}{'speed-up':>10}")
    for (name, route), values in laps.items():
        first = next(reference for (_, its), reference in laps.items() if its is route)
        ratio = np.median(np.divide(first, values))  # of the same round: what disturbs one disturbs both
        numbers = f"{min(values):9.1f}{np.median(values):9.1f}{np.percentile(values, 95):9.1f}{ratio:10.2f}"
        print(f"{name:36}{route.value:9}{numbers}")


if __name__ == "__main__":
    main()
