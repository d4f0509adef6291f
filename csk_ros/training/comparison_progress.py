"""How far a comparison is: one line on the terminal."""

from __future__ import annotations

import sys
import time
from statistics import fmean
from typing import TYPE_CHECKING

from csk_ros.training.comparison_state import result_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csk_ros.training.comparison_spec import Run

_SHOW_EVERY_S = 1.0


class Progress:
    """Finished and running runs and the time left, on standard error.

    A terminal sees one line that changes; a file or pipe gets a line whenever a run starts or ends.

    Args:
        runs: all that shall be finished in the end.
        jobs: runs at a time.
    """

    def __init__(self, runs: Sequence[Run], jobs: int) -> None:
        self._runs = runs
        self._jobs = jobs
        self._going: dict[str, float] = {}
        self._ended: set[str] = set()
        self._took: dict[str, list[float]] = {}
        self._shown = 0.0
        self._live = sys.stderr.isatty()
        for run in runs:
            self._count(run)

    def started(self, run: Run) -> None:
        """A run begins."""
        self._going[run.name] = time.monotonic()
        self._event(f"started {run.name}")

    def ended(self, run: Run) -> None:
        """A run has ended, well or not."""
        minutes = (time.monotonic() - self._going.pop(run.name)) / 60
        self._count(run)
        self._event(f"ended {run.name} after {minutes:.1f} min")

    def note(self, text: str) -> None:
        """Something worth a line of its own."""
        print(f"{self._clear()}{text}", file=sys.stderr, flush=True)  # noqa: T201 (made for the terminal)

    def show(self) -> None:
        """Bring the line of a terminal up to date."""
        if self._live and time.monotonic() - self._shown > _SHOW_EVERY_S:
            self._shown = time.monotonic()
            sys.stderr.write(f"{self._clear()}{self.text()}")
            sys.stderr.flush()

    def close(self) -> None:
        """Leave the last state standing."""
        self.note(self.text())

    def text(self) -> str:
        """Such as ``3/30 runs finished; running: csk/all/seed0 (12 min); about 2.5 h left``."""
        parts = [f"{len(self._ended)}/{len(self._runs)} runs finished"]
        now = time.monotonic()
        if self._going:
            going = (f"{name} ({(now - since) / 60:.0f} min)" for name, since in self._going.items())
            parts.append(f"running: {', '.join(going)}")
        if (left := self.seconds_left()) is not None:
            text = f"{left / 3600:.1f} h" if left > 5400 else f"{left / 60:.0f} min"
            parts.append(f"about {text} left")
        return "; ".join(parts)

    def seconds_left(self) -> float | None:
        """From the mean of a variant's finished runs, or of all where it has none; None before the first."""
        if not self._took:
            return None
        overall = fmean(seconds for took in self._took.values() for seconds in took)
        now, left = time.monotonic(), 0.0
        for run in self._runs:
            if run.name not in self._ended:
                whole = fmean(self._took.get(run.variant, [overall]))
                left += max(0.0, whole - (now - self._going.get(run.name, now)))
        return left / self._jobs

    def _count(self, run: Run) -> None:
        result = result_of(run)
        if result is not None:
            self._ended.add(run.name)
            seconds = result["seconds"]
            self._took.setdefault(run.variant, []).append(seconds["train"]["wall"] + seconds["score"]["wall"])

    def _event(self, text: str) -> None:
        if not self._live:
            self.note(f"{text}; {self.text()}")

    def _clear(self) -> str:
        return "\r\x1b[K" if self._live else ""
