"""What limits the int8 network on this processor: each kind of layer beside what such a layer can reach.

Usage: python benchmarks/roofline.py [--threads 2] [--rounds 80]

Times are OpenVINO's own counters, medians over rounds for the network, least over rounds for the ceilings.
Bytes are those of the activations that a layer reads and writes, and of its filters.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from math import prod
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from csk_ros.inference.int8_models import find_int8
from csk_ros.inference.model_cache import fingerprint
from csk_ros.inference.openvino_bytes import pack_pixels
from csk_ros.inference.openvino_graph import reshape_openvino
from csk_ros.inference.openvino_library import import_openvino, openvino_core, openvino_ops
from csk_ros.network import load_checkpoint
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REPEATED = 6


class Cost(NamedTuple):
    """What layers take: milliseconds, multiply-accumulates, bytes moved, how many they are."""

    ms: float = 0.0
    macs: int = 0
    moved: int = 0
    layers: int = 0

    def plus(self, other: Cost) -> Cost:
        """Of both together."""
        return Cost(
            self.ms + other.ms, self.macs + other.macs, self.moved + other.moved, self.layers + other.layers
        )

    def cells(self) -> str:
        """The end of a line of a table."""
        return (
            f" {self.ms:.2f} | {self.macs / 1e6:.0f} | {self.moved / 1e6:.1f} |"
            f" {self.macs / self.ms / 1e6:.0f} | {self.moved / self.ms / 1e6:.1f} |"
        )


class Layer(NamedTuple):
    """A layer to find the ceiling of."""

    kind: str
    channels: int
    height: int
    width: int


_CEILINGS = (
    Layer("1x1", 512, 30, 40),
    Layer("1x1", 128, 60, 80),
    Layer("1x1", 32, 120, 160),
    Layer("1x1", 16, 240, 320),
    Layer("depthwise", 32, 240, 320),
    Layer("depthwise", 64, 60, 80),
)


def times_of(compiled: Any, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each layer in each round, by name, of those that take any."""
    request = compiled.create_infer_request()
    rng = np.random.default_rng(0)
    for tensor in request.input_tensors:
        tensor.data[...] = rng.integers(0, 256, tensor.shape)
    times = defaultdict(list)
    for _ in range(rounds):
        request.infer()
        for layer in request.profiling_info:
            times[layer.node_name].append(layer.real_time.total_seconds() * 1e3)
    return {name: taken for name, taken in times.items() if any(taken)}


def compiled_with_counters(model: Any, threads: int) -> Any:
    """A model as the engine compiles it, but that it counts."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "PERF_COUNT": True,
    }
    return openvino_core().compile_model(model, "CPU", settings)


def filters_of(model: Any) -> dict[str, list[int]]:
    """The filters' shapes of each convolution by name, (out, in, h, w), grouped ones (groups, 1, 1, h, w)."""
    kinds = ("Convolution", "GroupConvolution")
    return {
        op.get_friendly_name(): list(op.input(1).get_shape())
        for op in model.get_ops()
        if op.get_type_name() in kinds
    }


def kind_of(layer: Any, filters: Mapping[str, Sequence[int]]) -> str:
    """What it counts as in the table."""
    shape = filters.get(layer.get_friendly_name())
    if shape is None:
        return "resizing" if layer.get_rt_info()["layerType"].astype(str) == "Interpolate" else "others"
    if len(shape) > len(("out", "in", "h", "w")):
        return "depthwise"
    return "1x1" if prod(shape[2:]) == 1 else "first"


def costs_of(model: Any, threads: int, rounds: int) -> dict[str, Cost]:
    """The cost of each kind of layer."""
    compiled, filters = compiled_with_counters(model, threads), filters_of(model)
    times = times_of(compiled, rounds)
    costs: dict[str, Cost] = defaultdict(Cost)
    for layer in compiled.get_runtime_model().get_ops():
        name = layer.get_friendly_name()
        if name in times:
            shape = filters.get(name)
            macs = prod(layer.output(0).get_shape()) * prod(shape[-3:]) if shape else 0
            cost = Cost(median(times[name]), macs, _moved(layer) + (prod(shape) if shape else 0), 1)
            kind = kind_of(layer, filters)
            costs[kind] = costs[kind].plus(cost)
    return costs


def _moved(layer: Any) -> int:
    outputs = [layer.output(0), *(port.get_source_output() for port in layer.inputs())]
    return sum(prod(output.get_shape()) * _size(output.get_node()) for output in outputs)


def _size(layer: Any) -> int:
    return 4 if layer.get_rt_info()["outputPrecisions"].astype(str) in ("f32", "i32") else 1


def chain(layer: Layer) -> Any:
    """The same int8 layer some times over, bytes to bytes."""
    openvino, ops, rng = import_openvino(), openvino_ops(), np.random.default_rng(0)
    depthwise, channels = layer.kind == "depthwise", layer.channels
    shape = (channels, 1, 1, 3, 3) if depthwise else (channels, channels, 1, 1)
    scale = ops.constant(np.full((channels, *[1] * (len(shape) - 1)), 0.01, np.float32))
    filters = ops.multiply(
        ops.convert(ops.constant(rng.integers(-127, 128, shape).astype(np.int8)), "f32"), scale
    )

    def quantised(x: Any) -> Any:
        low, high = ops.constant(np.float32(0)), ops.constant(np.float32(6))
        return ops.fake_quantize(x, low, high, low, high, 256)

    images = ops.parameter([1, channels, layer.height, layer.width], np.uint8)
    flow = quantised(ops.multiply(ops.convert(images, "f32"), ops.constant(np.float32(6 / 255))))
    for _ in range(_REPEATED):
        pad = [int(depthwise)] * 2
        convolve = ops.group_convolution if depthwise else ops.convolution
        flow = quantised(ops.relu(convolve(flow, filters, [1, 1], pad, pad, [1, 1])))
    return openvino.Model([ops.result(flow)], [images])


def ceiling(layer: Layer, threads: int, rounds: int) -> Cost:
    """What one such layer takes among its like."""
    model = chain(layer)
    filters = filters_of(model)
    times = times_of(compiled_with_counters(model, threads), rounds)
    ms = median(min(taken) for name, taken in times.items() if name in filters)
    pixels = layer.channels * layer.height * layer.width
    shape = next(iter(filters.values()))
    return Cost(ms, pixels * prod(shape[-3:]), 2 * pixels + prod(shape), 1)


def main() -> None:
    """Print a table for each route, and the ceilings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", default=str(share_path(DEFAULT_CHECKPOINT)))
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.checkpoint)
    models = find_int8(fingerprint(checkpoint), checkpoint.path, None)
    if models is None:
        parser.error(f"{arguments.checkpoint} has no *.int8.zip beside it")
    columns = "ms | MMAC | MB | GMAC/s | GB/s |"
    for route in sorted(models.routes):
        model = pack_pixels(reshape_openvino(models.read(route), tuple(arguments.size)))
        costs = costs_of(model, arguments.threads, arguments.rounds)
        whole = Cost()
        for cost in costs.values():
            whole = whole.plus(cost)
        print(f"\n| {route.value} | layers | time | {columns}\n| ---" + " | ---:" * 7 + " |")
        for kind, cost in sorted(costs.items(), key=lambda item: -item[1].ms):
            print(f"| {kind} | {cost.layers} | {cost.ms / whole.ms:.0%} |{cost.cells()}")
        print(f"| all | {whole.layers} | |{whole.cells()}", flush=True)
    print(f"\n| what a layer reaches | {columns}\n| ---" + " | ---:" * 5 + " |")
    for layer in _CEILINGS:
        cost = ceiling(layer, arguments.threads, arguments.rounds)
        name = f"{layer.kind}, {layer.channels} channels of {layer.height}x{layer.width}"
        print(f"| {name} |{cost.cells()}", flush=True)


if __name__ == "__main__":
    main()
