"""Where a frame of the torch engine goes, operator by operator; on a GPU also what CUDA graphs save.

Usage: python benchmarks/torch_profile.py [--device cuda] [--precision float16] [--rounds 50]

From levels on the device to ids on it: `csk bench` times uploads and downloads too. Tried on the CPU only.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from csk_ros.evaluation.variants import Variant
from csk_ros.inference import EngineError
from csk_ros.inference.engines import EngineOptions, find_device
from csk_ros.inference.engines.torch_engine import PRECISIONS, TorchEngine
from csk_ros.inference.postprocess import answer
from csk_ros.inference.preprocess import levels
from csk_ros.network import load_checkpoint
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from csk_ros.modality import Modality

_WARM_UPS = 5


class Operator(NamedTuple):
    """What an operator takes of a frame, without those that it calls.

    Attributes:
        name: as torch has it.
        calls: per frame.
        us: microseconds per frame, of the device.
    """

    name: str
    calls: float
    us: float


def main() -> None:
    """Print a table for each route."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--checkpoint", default=str(share_path(DEFAULT_CHECKPOINT)))
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    checkpoint, size = load_checkpoint(arguments.checkpoint), (arguments.size[0], arguments.size[1])
    try:
        device = find_device(arguments.device)
        engine = TorchEngine(
            checkpoint, device, EngineOptions(arguments.precision, confidence=False, report=print)
        )
    except EngineError as error:
        parser.error(str(error))
    variant = Variant("torch", engine.precision, str(device), *size, threads=0, confidence=False)
    for route in sorted(checkpoint.network.routes):
        street = variant.images(route)
        with torch.inference_mode(), engine.stream():
            images = {m: levels(street[m.value], size, device) for m in route.modalities}
            print(f"\n{route.value} at {size[0]}x{size[1]}, {engine.precision} on {device}:")
            print_frame(engine, images, size, arguments.rounds)


def print_frame(
    engine: TorchEngine, images: dict[Modality, torch.Tensor], size: tuple[int, int], rounds: int
) -> None:
    """Time the images' route, with and without its CUDA graph, then profile it without."""

    def eager() -> torch.Tensor:
        return answer(engine.logits(images), size, confidence=False)

    ways: dict[str, Callable[[], torch.Tensor]] = {"eager": eager}
    if engine.device.type == "cuda":
        ways["CUDA graph"] = lambda: engine.maps(images, size, confidence=False)
    times = frame_ms(ways, engine.device, rounds)
    print(", ".join(f"{name} {median(each):.3f} ms" for name, each in times.items()))
    if len(times) == 2:
        ratio = median(slow / fast for slow, fast in zip(*times.values(), strict=True))
        print(f"without the CUDA graph {ratio:.2f} times as long (median over rounds)")
    operators = profiled(eager, engine.device, rounds)
    whole = sum(operator.us for operator in operators)
    print("\n| operator | calls | us | share |\n| --- | ---: | ---: | ---: |")
    for name, calls, us in operators:
        if us >= whole / 1000:
            print(f"| {name} | {calls:.0f} | {us:.1f} | {us / whole:.1%} |")
    print(f"| all | {sum(operator.calls for operator in operators):.0f} | {whole:.1f} | |", flush=True)


def frame_ms(
    ways: dict[str, Callable[[], torch.Tensor]], device: torch.device, rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of each way, in turn; each waits for the device."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(_WARM_UPS + rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            _wait(device)
            if number >= _WARM_UPS:
                times[name].append((time.perf_counter() - started) * 1e3)
    return times


def profiled(frame: Callable[[], torch.Tensor], device: torch.device, rounds: int) -> list[Operator]:
    """Every operator of a frame that takes time on the device, the longest first."""
    on_gpu = device.type == "cuda"
    frame()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as record:
        for _ in range(rounds):
            frame()
        _wait(device)
    operators = [
        Operator(
            event.key,
            event.count / rounds,
            (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / rounds,
        )
        for event in record.key_averages()
        if event.key.startswith("aten::")  # the kernels that they launch would count once more
    ]
    return sorted((each for each in operators if each.us > 0), key=lambda each: -each.us)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
