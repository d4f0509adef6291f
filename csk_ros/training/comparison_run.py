"""One run of a comparison, in a process of its own: trains, or goes on training, and scores."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import torch

from csk_ros import __version__
from csk_ros.evaluation.routes import score_routes
from csk_ros.network import load_checkpoint
from csk_ros.training.files import read_json, sha256, write_json
from csk_ros.training.reading import parse_document
from csk_ros.training.run import train
from csk_ros.training.samples import JoinedSamples
from csk_ros.training.settings import TrainSettings, complete_specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csk_ros.data import Sample
    from csk_ros.evaluation.metrics import Scores
    from csk_ros.network import Checkpoint

_TRAINED = "trained.json"
_SECONDS = "seconds.json"
INTERRUPTED = 130
"""Exit code of a run that was stopped and can be gone on with."""


def main(folder: Path) -> int:
    """Finish the run in ``folder``; returns the exit code.

    The process stops and saves, as after Ctrl-C, when its standard input ends: that is, when the process that
    started it wants that or is no more.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        return finish(folder)
    except KeyboardInterrupt:
        return INTERRUPTED


def finish(folder: Path) -> int:
    """Train and score what ``run.json`` in ``folder`` says; writes ``result.json`` beside it.

    Returns:
        0 when finished, :data:`INTERRUPTED` when Ctrl-C stopped the training, which has saved.
    """
    job = read_json(folder / "run.json")
    torch.set_num_threads(job["threads"])
    cv2.setNumThreads(job["threads"])
    settings = parse_document(TrainSettings, job["filled"], str(folder))
    if not (Path(settings.output) / _TRAINED).is_file() and not _train(settings):
        return INTERRUPTED
    write_json(folder / "result.json", _result(settings, job))
    return 0


def _stop_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):  # not through sys.stdin, whose lock would hinder the exit
        pass
    os.kill(os.getpid(), signal.SIGINT)


def _train(settings: TrainSettings) -> bool:
    """Train until the end, or until it is stopped; whether it came to the end."""
    run = Path(settings.output)
    resume = any((run / name).is_file() for name in ("last.ckpt", "teacher/last.ckpt"))
    if not resume:  # what was stopped before it saved anything starts again
        shutil.rmtree(run, ignore_errors=True)
    used = _Seconds()
    result = train(replace(settings, data=replace(settings.data, test={})), resume=resume)
    seconds = used.since(read_json(run / _SECONDS) or {})
    write_json(run / _SECONDS, seconds)
    if not result.interrupted:
        write_json(run / _TRAINED, {"seconds": seconds})
    return not result.interrupted


def _result(settings: TrainSettings, job: dict[str, Any]) -> dict[str, Any]:
    run = Path(settings.output)
    weights = run / "last.safetensors"
    checkpoint = load_checkpoint(weights)
    used = _Seconds()
    tests = {name: _score(checkpoint, spec, settings) for name, spec in settings.data.test.items()}
    return {
        "run": job["run"],
        "label_set": checkpoint.label_set.to_dict(),
        "tests": tests,
        "budget": _budget(checkpoint, settings, job["threads"]),
        "seconds": {"train": read_json(run / _TRAINED)["seconds"], "score": used.since({})},
        "weights": {"file": weights.name, "sha256": sha256(weights)},
        "needs": job["needs"],
        "settings": job["settings"],
        "versions": {
            "csk_ros": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _score(checkpoint: Checkpoint, spec: str, settings: TrainSettings) -> dict[str, Any]:
    data = settings.data
    samples = JoinedSamples.open(complete_specs([spec], data.root), data.test_split, data.size)
    sizes: set[tuple[int, ...]] = set()

    def watched() -> Iterator[Sample]:
        for sample in map(samples.__getitem__, range(len(samples))):
            sizes.add(sample.ir.shape)
            yield sample

    scores = score_routes(checkpoint, watched(), device=settings.loop.accelerator)
    routes = {route.value: _scores_to_dict(one) for route, one in scores.items()}
    return {"sizes": sorted(map(list, sizes)), "routes": routes}


def _scores_to_dict(scores: Scores) -> dict[str, Any]:
    present = zip(scores.label_set.names, scores.iou, scores.present, strict=True)
    return {
        "frames": scores.frames,
        "miou_present": scores.miou_present(),
        "miou": scores.miou(),
        "pixel_accuracy": scores.pixel_accuracy,
        "iou": {name: float(iou) for name, iou, occurs in present if occurs},
        "confusion": scores.confusion.tolist(),
    }


def _budget(checkpoint: Checkpoint, settings: TrainSettings, threads: int) -> dict[str, Any]:
    steps = checkpoint.training["steps"]
    batch = settings.data.batch * settings.loop.accumulate
    cuda = settings.loop.accelerator != "cpu" and torch.cuda.is_available()
    return {
        "steps": steps,
        "batch": batch,
        "samples_seen": steps * batch,
        "epochs": settings.loop.epochs,
        "crop": list(settings.data.crop),
        "parameters": sum(parameter.numel() for parameter in checkpoint.network.parameters()),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": threads,
    }


class _Seconds:
    """Wall-clock and CPU time from here on, of this process and the loading processes that have ended."""

    def __init__(self) -> None:
        self._start = self._now()

    @staticmethod
    def _now() -> dict[str, float]:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return {"wall": time.monotonic(), "cpu": sum(u.ru_utime + u.ru_stime for u in used)}

    def since(self, before: dict[str, float]) -> dict[str, float]:
        """The seconds since the start, on top of ``before``."""
        return {k: round(before.get(k, 0.0) + now - self._start[k], 1) for k, now in self._now().items()}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
