"""A process of ``csk doctor``: observes one part and writes what it finds at once, as facts.

A process of its own, because a middleware or library that does not fit ends its process or hangs, and must
not take the report with it.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from csk_ros.ros.doctor_facts import Libraries, Ros, write_fact

_PARTS = {"ros": ("csk_ros.ros.doctor_observer", Ros), "engine": ("csk_ros.ros.doctor_engine", Libraries)}


def main() -> int:
    """Observe the part of the first argument by the options of the second (JSON), facts into the third."""
    (module, failed), options, out = _PARTS[sys.argv[1]], json.loads(sys.argv[2]), Path(sys.argv[3])
    try:
        observe = importlib.import_module(module).observe
    except ImportError as error:  # whether it imports is part of the question
        missing = isinstance(error, ModuleNotFoundError)
        write_fact(out, failed(problem=str(error).splitlines()[0], missing=missing))
        return 0
    for fact in observe(options):
        write_fact(out, fact)
    return 0


if __name__ == "__main__":
    sys.exit(main())
