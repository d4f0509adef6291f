"""The end of a replay: its report, what a terminal shows of it, and its exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from csk_ros.replay.report import write_report
from csk_ros.replay.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from csk_ros.replay.result import ReplayResult

PARTIAL, INTERRUPTED = 3, 130


def conclude(
    folder: Path, result: ReplayResult, labels_at: Callable[[int], NDArray[np.uint8] | None] | None = None
) -> int:
    """Write the report and say what came of the replay.

    Args:
        folder: of the results.
        result: the replay.
        labels_at: gives the labels of a stamp; None: those of the bag.

    Returns:
        0; :data:`PARTIAL` if the result does not cover all of the bag; :data:`INTERRUPTED`.
    """
    kind = "live replay" if result.kind == "live" else "replay"
    write_report(folder, result, title=f"{kind} of {result.bag.name}", labels_at=labels_at)
    for problem in result.problems:
        sys.stderr.write(f"csk: {problem}\n")
    if result.answered:
        sys.stdout.write(summarise(result, folder / "report.html"))
    if result.interrupted:
        return INTERRUPTED
    return 0 if result.complete else PARTIAL
