"""Why images are refused, in a log that nobody can flood."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from csk_ros.modality import Modality

EVERY_S = 5.0


class RefusalLog:
    """Writes at most one line per stream every few seconds; each says how many it stands for.

    The streams do not silence each other. May be called from any thread.

    Args:
        write: takes a line.
        clock: a steady one, in seconds.
    """

    def __init__(self, write: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._due: dict[Modality, float] = {}
        self._silent: Counter[Modality] = Counter()
        self._lock = threading.Lock()

    def __call__(self, modality: Modality, reason: str) -> None:
        """Note that an image was refused."""
        with self._lock:
            now = self._clock()
            if now < self._due.get(modality, now):
                self._silent[modality] += 1
                return
            self._due[modality] = now + EVERY_S
            silent = self._silent.pop(modality, 0)
        more = f" ({silent} more since the last such line)" if silent else ""
        self._write(f"{modality.value} image refused: {reason}{more}")
