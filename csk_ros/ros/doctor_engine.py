"""What can run the network, whether the checkpoint loads, and how fast a frame is: for ``csk doctor``."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from csk_ros.inference import ENGINES, CheckpointError, Segmenter, SegmenterError
from csk_ros.inference.openvino_library import import_openvino
from csk_ros.modality import Modality, Route
from csk_ros.ros.doctor_facts import Checkpoint, Engine, Fact, Libraries
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUNDS = 3
_ENOUGH_MS = 2000


def observe(options: dict[str, Any]) -> Iterator[Fact]:
    """Libraries, checkpoint, engine.

    Args:
        options: the node's ``checkpoint``, ``engine``, ``device``, ``threads``, ``precision``, ``height`` and
            ``width``, and ``size``, the camera's (height, width) or None.
    """
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    yield Libraries(torch=torch.__version__, cuda_devices=cuda, openvino=_openvino_version())
    checkpoint = _checkpoint(options["checkpoint"])
    yield checkpoint
    # A broken checkpoint must not hide a missing engine.
    working = _checkpoint("") if checkpoint.problem else checkpoint
    if not working.problem:
        yield from _run(working.path, options)


def _openvino_version() -> str:
    try:
        return str(import_openvino().__version__).partition("-")[0]
    except ImportError:
        return ""


def _checkpoint(path: str) -> Checkpoint:
    """What a checkpoint is; loaded with the engine and the device that are always there."""
    try:
        path = path or str(share_path(DEFAULT_CHECKPOINT))
        segmenter = Segmenter.from_checkpoint(path, engine="torch", device="cpu")
    except (CheckpointError, FileNotFoundError) as error:
        return Checkpoint(path, problem=str(error))
    routes = sorted(route.value for route in segmenter.routes)
    return Checkpoint(path, "", routes, list(segmenter.label_set.names))


def _run(checkpoint: str, options: dict[str, Any]) -> Iterator[Engine]:
    """Build the engine as the node does, then measure every route."""
    wanted = [options["engine"], options["device"]]
    try:
        segmenter = Segmenter.from_checkpoint(
            checkpoint,
            engine=options["engine"],
            device=options["device"],
            height=options["height"] or None,
            width=options["width"] or None,
            threads=options["threads"],
            precision=options["precision"],
        )
        threads = options["threads"] or ENGINES[segmenter.engine].suitable_threads()
        found = Engine(wanted, "", segmenter.engine, segmenter.device, threads, precision=segmenter.precision)
        yield found  # if measuring never ends
        height, width = options["size"] or (480, 640)
        latency = {
            route.value: _latency_ms(segmenter, route, height, width) for route in sorted(segmenter.routes)
        }
    except (SegmenterError, RuntimeError) as error:  # RuntimeError: a full or broken device
        yield Engine(wanted, problem=next(iter(str(error).splitlines()), "it fails without a reason"))
        return
    yield replace(found, latency_ms=latency, height=height, width=width)


def _latency_ms(segmenter: Segmenter, route: Route, height: int, width: int) -> float:
    blank: dict[Modality, Any] = {
        Modality.EO: np.zeros((height, width, 3), np.uint8),
        Modality.IR: np.zeros((height, width), np.uint8),
    }
    images = {modality.value: blank[modality] for modality in route.modalities}
    segmenter.segment(**images, confidence=False)  # compiles, where the size is new
    rounds: list[float] = []
    while len(rounds) < _ROUNDS and sum(rounds) < _ENOUGH_MS:
        rounds.append(segmenter.segment(**images, confidence=False).timings["total"])
    return round(median(rounds), 1)
