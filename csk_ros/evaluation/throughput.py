"""How many frames per second a network answers when the next one always waits already."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from csk_ros.evaluation.variants import LoadedVariant

if TYPE_CHECKING:
    from csk_ros.evaluation.variants import Variant
    from csk_ros.modality import Route
    from csk_ros.network import Checkpoint


def measure_throughput(
    variant: Variant, checkpoint: Checkpoint, route: Route, *, at_once: int, frames: int
) -> float:
    """Frames per second with several in work at the same time, each by a Segmenter and a thread of its own.

    On a GPU one frame is then copied while another is computed. On the CPU they divide the variant's threads.

    Args:
        variant: how to run the network.
        checkpoint: what to run.
        route: through the network.
        at_once: frames in work at the same time.
        frames: how many each thread answers.

    Raises:
        EngineError: if this machine cannot.
    """
    if variant.device == "cpu":
        variant = replace(variant, threads=max(variant.threads // at_once, 1))
    images = variant.images(route)
    loaded = [LoadedVariant(variant, checkpoint, variant.threads) for _ in range(at_once)]
    for one in loaded:
        one.run(images)

    def answer(one: LoadedVariant) -> None:
        for _ in range(frames):
            one.run(images)

    with ThreadPoolExecutor(at_once) as pool:
        began = time.perf_counter()
        list(pool.map(answer, loaded))
        return at_once * frames / (time.perf_counter() - began)
