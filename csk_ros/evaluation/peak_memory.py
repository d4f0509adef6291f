"""The most memory that a variant ever holds, in a process that does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from csk_ros.evaluation.variants import Variant
from csk_ros.modality import Route
from csk_ros.network import load_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

_FRAMES = 3
_MIB = 1 << 20
_KIB_PER_MIB = 1 << 10


class PeakMemoryError(RuntimeError):
    """The measuring process failed; the message is one line."""


class PeakMemory(NamedTuple):
    """Greatest use, in MiB.

    Attributes:
        process: resident memory of the process, Python and libraries included.
        gpu: what torch held of a CUDA device; None on the CPU.
    """

    process: float
    gpu: float | None


def measure_peak_memory(variant: Variant, route: Route, checkpoint: Path) -> PeakMemory:
    """Load the variant in a process of its own, run some frames and read its peak.

    Raises:
        PeakMemoryError: if that process fails, with the last line that it wrote.
    """
    command = [sys.executable, "-m", __name__, json.dumps(asdict(variant)), route.value, str(checkpoint)]
    # In a session of its own: Ctrl-C is for this process, which ends that one.
    done = subprocess.run(  # noqa: S603 (our own interpreter and module)
        command, capture_output=True, text=True, check=False, start_new_session=True
    )
    if done.returncode:
        line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise PeakMemoryError(f"measuring the memory of {variant.engine} {variant.precision} failed: {line}")
    return PeakMemory(**json.loads(done.stdout.splitlines()[-1]))


def main(arguments: Sequence[str]) -> int:
    """Run one variant and print its peak as JSON."""
    description, route, path = arguments
    variant = Variant(**json.loads(description))
    segmenter = variant.load(load_checkpoint(path))
    images = variant.images(Route(route))
    for _ in range(_FRAMES):
        segmenter.segment(**images)
    device = torch.device(variant.device)
    gpu = torch.cuda.max_memory_allocated(device) / _MIB if device.type == "cuda" else None
    sys.stdout.write(json.dumps(PeakMemory(_peak_mib(), gpu)._asdict()) + "\n")
    return 0


def _peak_mib() -> float:
    # Not ru_maxrss: that counts what the parent held when it started this process.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / _KIB_PER_MIB


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
