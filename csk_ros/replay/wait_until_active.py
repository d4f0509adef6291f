"""Waits until a lifecycle node is active: ``python -m csk_ros.replay.wait_until_active NAME SECONDS``.

The launch file starts the bag after it. Needs nothing but ROS.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from csk_ros.replay.live import LiveError, LiveSession

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Wait; returns 0 once the node is active, else 1 after a line on stderr."""
    name, seconds = arguments
    try:
        with LiveSession(name) as session:
            session.wait_until_active(lambda: True, float(seconds))
    except LiveError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
