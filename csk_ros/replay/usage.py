"""What a process uses while it runs: processor and memory from ``/proc``, the GPU from ``nvidia-smi``."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from csk_ros.replay.played import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

_MIB = 1 << 20
_PERIOD_S = 1.0
_SMI_S = 5.0


class UsageWatch:
    """Samples the usage of a process each second in a thread of its own; a context manager.

    Args:
        pid: of the process; None samples nothing.
        check: called each time, whether or not there is something to sample.

    Attributes:
        samples: so far.
    """

    def __init__(self, pid: int | None, check: Callable[[], None]) -> None:
        self._process = None if pid is None else ProcessUsage(pid)
        self._check = check
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="csk_usage", daemon=True)
        self.samples: list[Usage] = []

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(_PERIOD_S):
            self._check()
            sample = self._process.sample() if self._process else None
            if sample:
                self.samples.append(sample)


class ProcessUsage:
    """Samples one process of this machine.

    Args:
        pid: of the process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._smi = shutil.which("nvidia-smi")
        self._before = self._cpu_s(), time.monotonic()

    def sample(self) -> Usage | None:
        """Its usage since the last sample; None when it has ended."""
        cpu_s, now = self._cpu_s(), time.monotonic()
        (cpu_before_s, before), self._before = self._before, (cpu_s, now)
        memory_mib = self._memory_mib()
        if cpu_s is None or cpu_before_s is None or memory_mib is None:
            return None
        percent = 100 * (cpu_s - cpu_before_s) / max(now - before, 1e-9)
        return Usage(time.time_ns(), percent, memory_mib, *self._gpu())

    def _cpu_s(self) -> float | None:
        """Seconds of processor time of all its threads."""
        text = self._read("stat")
        if text is None:
            return None
        # The name in parentheses may hold anything; utime and stime are the 12th and 13th field after it.
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _memory_mib(self) -> float | None:
        text = self._read("statm")
        return None if not text else int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MIB

    def _read(self, name: str) -> str | None:
        try:
            return Path(f"/proc/{self._pid}/{name}").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None

    def _gpu(self) -> tuple[float | None, float | None]:
        """Load in percent of the GPU on which it holds memory, and that memory in MiB; None without one."""
        if not self._smi:
            return None, None
        held = [
            row
            for row in self._ask("--query-compute-apps=pid,gpu_uuid,used_memory")
            if row[0] == str(self._pid)
        ]
        if not held:
            return None, None
        loads = {row[0]: row[1] for row in self._ask("--query-gpu=uuid,utilization.gpu")}
        memory = sum(_number(row[2]) or 0.0 for row in held)
        return _number(loads.get(held[0][1], "")), memory or None

    def _ask(self, query: str) -> list[list[str]]:
        command = [str(self._smi), query, "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(  # noqa: S603 (found on the path, fixed arguments)
                command, capture_output=True, text=True, timeout=_SMI_S, check=False
            )
        except subprocess.TimeoutExpired:
            return []
        return [
            [field.strip() for field in line.split(",")] for line in done.stdout.splitlines() if "," in line
        ]


def _number(text: str) -> float | None:
    """A figure of nvidia-smi; None for what the driver does not tell (``[N/A]``)."""
    try:
        return float(text)
    except ValueError:
        return None
