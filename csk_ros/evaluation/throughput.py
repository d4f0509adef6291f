"""How many frames per second a network answers when the next one always waits already."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from csk_ros.evaluation.variants import LoadedVariant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from csk_ros.evaluation.variants import Variant
    from csk_ros.modality import Route
    from csk_ros.network import Checkpoint


def measure_throughput(
    variant: Variant, checkpoint: Checkpoint, routes: Iterable[Route], *, at_once: int, frames: int
) -> Iterator[tuple[Route, float]]:
    """Frames per second with several in work at the same time, each by a Segmenter and a thread of its own.

    On a GPU one frame is then copied while another is computed. On the CPU they divide the variant's threads.

    Args:
        variant: how to run the network.
        checkpoint: what to run.
        routes: through the network, one after the other.
        at_once: frames in work at the same time.
        frames: how many each thread answers.

    Yields:
        Each route and its frames per second.

    Raises:
        EngineError: if this machine cannot.
    """
    if variant.device == "cpu":
        variant = replace(variant, threads=max(variant.threads // at_once, 1))
    loaded = [LoadedVariant(variant, checkpoint, variant.threads) for _ in range(at_once)]
    for route in routes:
        yield route, _rate(loaded, variant.images(route), frames)


def _rate(loaded: Sequence[LoadedVariant], images: dict[str, Any], frames: int) -> float:
    for one in loaded:
        one.run(images)
    stopped = threading.Event()

    def answer(one: LoadedVariant) -> None:
        for _ in range(frames):
            if stopped.is_set():
                return
            one.run(images)

    with ThreadPoolExecutor(len(loaded)) as pool:
        began = time.perf_counter()
        try:
            list(pool.map(answer, loaded))
        finally:  # Ctrl-C does not wait for all frames
            stopped.set()
        return len(loaded) * frames / (time.perf_counter() - began)
