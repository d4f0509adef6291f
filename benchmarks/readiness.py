"""What an answer costs out of stride: the first one, and the one after a switch of the route.

    python benchmarks/readiness.py switch     # thermal frames after fused ones and after thermal ones
    python benchmarks/readiness.py start      # from the process to ACTIVE, with and without models on disk

Prints medians and ratios of one run. Nothing of the user's cache is touched.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from csk_ros.inference import Segmenter
from csk_ros.inference.int8_models import SUFFIX
from csk_ros.replay.live import LiveSession
from csk_ros.replay.node_process import NodeProcess
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

_WAYS = (
    ("openvino", "int8"),
    ("openvino", "float32"),
    ("onnxruntime", "float32"),
    ("torch", "float32"),
)
"""Engines and precisions."""


def measure_switch(checkpoint: Path, rounds: int) -> None:
    """The time of the first thermal frame after two fused ones, and of the third thermal frame in a row."""
    rng = np.random.default_rng(0)
    eo = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    ir = rng.integers(0, 256, (480, 640), dtype=np.uint8)
    for engine, precision in _WAYS:
        segmenter = Segmenter.from_checkpoint(
            checkpoint, engine, "cpu", precision=precision, height=480, width=640, threads=0
        )
        segmenter.warm_up()
        switched, steady = [], []
        for _ in range(rounds):
            for _ in range(2):
                segmenter.segment(eo=eo, ir=ir)
            times = [segmenter.segment(ir=ir).timings["total"] for _ in range(4)]
            switched.append(times[0])
            steady.append(times[2])
        more = median(a - b for a, b in zip(switched, steady, strict=True))
        print(
            f"{engine} {precision}: IR_ONLY steady {median(steady):.1f} ms, "
            f"after FUSED {median(switched):.1f} ms, more (median of {rounds} pairs) {more:+.2f} ms"
        )


def measure_start(checkpoint: Path, rounds: int) -> None:
    """Seconds from the start of the node's process to ACTIVE, cold and then warm, for each way."""
    for engine, precision in _WAYS:
        cold, warm = [], []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                own = Path(shutil.copy(checkpoint, folder))
                shutil.copy(checkpoint.with_suffix(SUFFIX), folder)
                cold.append(_start_s(own, engine, precision))
                warm.append(_start_s(own, engine, precision))
        print(
            f"{engine} {precision}: cold {median(cold):.1f} s, warm {median(warm):.1f} s "
            f"(medians of {rounds})"
        )


def _start_s(checkpoint: Path, engine: str, precision: str) -> float:
    parameters = {
        "autostart": "true",
        "checkpoint": str(checkpoint),
        "engine": engine,
        "precision": precision,
        "device": "cpu",
    }
    log = checkpoint.parent / "node.log"
    with LiveSession("segment") as session:
        started = time.monotonic()
        with NodeProcess(log, parameters):
            session.wait_until_active(lambda: True, 180)
            return time.monotonic() - started


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("switch", "start"))
    parser.add_argument("--rounds", type=int, default=0, help="default: 20 switches, 3 starts")
    arguments = parser.parse_args()
    checkpoint = share_path(DEFAULT_CHECKPOINT)
    if arguments.what == "switch":
        measure_switch(checkpoint, arguments.rounds or 20)
    else:
        measure_start(checkpoint, arguments.rounds or 3)


if __name__ == "__main__":
    main()
