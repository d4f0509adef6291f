from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from csk_ros.replay.usage import ProcessUsage, UsageWatch


def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_process_uses_processor_and_memory():
    usage = ProcessUsage(os.getpid())
    started = time.monotonic()
    burn(0.3)
    sample = usage.sample()
    share = 100 * 0.3 / (time.monotonic() - started)
    assert sample.cpu_percent >= 0.8 * share  # the kernel counts in hundredths of a second
    assert 10 < sample.memory_mib < 100_000


def test_a_process_that_has_ended_has_no_usage():
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        pass
    assert ProcessUsage(process.pid).sample() is None


@pytest.mark.parametrize(
    ("pid", "load", "expected"),
    [("{pid}", "37", (37.0, 512.0)), ("{pid}", "[N/A]", (None, 512.0)), ("1", "37", (None, None))],
)
def test_the_gpu_is_the_one_that_the_process_holds_memory_on(tmp_path, monkeypatch, pid, load, expected):
    smi = tmp_path / "nvidia-smi"
    pid = pid.format(pid=os.getpid())
    smi.write_text(
        "#!/bin/sh\n"
        f'case "$1" in *apps*) echo "{pid}, GPU-b, 512";; *) echo "GPU-a, 99"; echo "GPU-b, {load}";; esac\n'
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    sample = ProcessUsage(os.getpid()).sample()
    assert (sample.gpu_percent, sample.gpu_memory_mib) == expected


def test_a_watch_samples_and_looks_after_the_run():
    looks = []
    with UsageWatch(os.getpid(), lambda: looks.append(1)) as watch:
        while len(watch.samples) < 2:
            time.sleep(0.01)
    assert len(looks) >= 2
    with UsageWatch(None, looks.clear) as watch:
        while looks:
            time.sleep(0.01)
    assert watch.samples == []
