"""The node as it is, over an engine that fails or hangs when told to.

The file that the environment variable CSK_ENGINE_FAULT names holds what happens to the next frames:
"once" (one raises; the file is removed), or "raise UNTIL" or "hang UNTIL", a time of the steady clock in ns.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from csk_ros.inference import Segmenter
from csk_ros.ros.segment_node import main

_FILE = Path(os.environ["CSK_ENGINE_FAULT"])


def _suffer() -> None:
    try:
        order, _, until = _FILE.read_text(encoding="ascii").partition(" ")
    except FileNotFoundError:
        return
    if order == "once":
        _FILE.unlink()
        raise RuntimeError("injected: fails once")
    left_s = (int(until) - time.monotonic_ns()) / 1e9
    if left_s > 0 and order == "raise":
        raise RuntimeError("injected: fails")
    if left_s > 0:
        time.sleep(left_s)


def _break_engine() -> None:
    whole = Segmenter.segment

    def segment(self: Segmenter, **images: Any) -> Any:
        _suffer()
        return whole(self, **images)

    Segmenter.segment = segment  # type: ignore[method-assign]  # what this file is for


if __name__ == "__main__":
    _break_engine()
    sys.exit(main())
