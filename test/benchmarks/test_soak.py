"""Two minutes of the soak run: every fault that there is, over real DDS, with the node as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fault_schedule import KINDS, FaultSchedule

ROOT = Path(__file__).resolve().parents[2]
MINUTES, EVERY_S, SEED = 2.0, 1.2, 0


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_minutes_of_every_fault(tmp_path):
    dealt = {fault.kind for fault in FaultSchedule(SEED, 60 * MINUTES, every_s=EVERY_S).faults}
    assert dealt == set(KINDS)
    options = {
        "minutes": MINUTES, "every": EVERY_S, "seed": SEED, "warm-up": 40, "out": tmp_path,
        # Other work may take its share of the machine; the bounds that count are docs/reliability.md's.
        "p99-ms": 1500, "memory-growth": 0.1,
    }  # fmt: skip
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, str(ROOT / "benchmarks" / "soak.py"), *flags]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=380, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["counters"]["answered_fused"] > 0
    assert report["counters"]["answered_ir_only"] > 0
    assert report["counters"]["answered_eo_only"] > 0
