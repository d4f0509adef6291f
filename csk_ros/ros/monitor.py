"""What the diagnostics judge over time: whether frames are answered, how fast, and at what cost of memory."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from csk_ros.modality import Modality
from csk_ros.perception import Durations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csk_ros.perception import Account, DropCause, Percentiles

T = TypeVar("T")

_SILENT_S = 3.0
_TOO_MANY = 0.1
_MIB = 1 << 20
_PAGE = 4096


class AnswerMonitor:
    """Judges from one report to the next whether frames are being answered."""

    def __init__(self) -> None:
        self._before: Account | None = None
        self._answered_at = time.monotonic()

    def judge(self, account: Account, now_s: float) -> tuple[str, bool]:
        """What is wrong with the answers since the last call, and whether it is as bad as can be.

        Returns:
            An empty text if nothing is: at most a tenth of the frames got no mask. The second is True when
            frames come and none has been answered for 3 s.
        """
        before, self._before = self._before, account
        answered = _since(account.answered, before.answered if before else Counter())
        dropped = _since(_all_dropped(account), _all_dropped(before) if before else Counter())
        if answered.total() or not (dropped.total() or account.in_hand):
            self._answered_at = now_s
        causes = ", ".join(f"{cause.value} ({count})" for cause, count in dropped.most_common())
        silent_s = now_s - self._answered_at
        if silent_s > _SILENT_S:
            return f"no mask for {silent_s:.0f} s: {causes or 'the frame in hand is not answered'}", True
        share = dropped.total() / max(dropped.total() + answered.total(), 1)
        return (
            f"{100 * share:.0f} % of the frames get no mask: {causes}" if share > _TOO_MANY else ""
        ), False


class StageTimes:
    """Durations of the steps of a frame since they were last taken; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, Durations] = {}

    def add(self, stage: str, milliseconds: float) -> None:
        """Count one duration."""
        with self._lock:
            self._stages.setdefault(stage, Durations()).add(int(milliseconds * 1e6))

    def take(self) -> dict[str, Percentiles]:
        """The distribution of each stage, and start anew."""
        with self._lock:
            stages, self._stages = self._stages, {}
        return {name: durations.percentiles() for name, durations in stages.items()}


def memory(device: str) -> dict[str, str]:
    """Resident memory of the process and what torch holds on a CUDA device, MiB."""
    resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    facts = {"memory_mib": f"{resident / _MIB:.0f}"}
    if device.startswith("cuda"):
        facts["gpu_memory_mib"] = f"{torch.cuda.memory_reserved(device) / _MIB:.0f}"
    return facts


def _all_dropped(account: Account) -> Counter[DropCause]:
    return Counter(account.dropped) + Counter(account.streams[Modality.IR].refused)


def _since(now: Mapping[T, int], before: Mapping[T, int]) -> Counter[T]:
    return Counter(now) - Counter(before)
