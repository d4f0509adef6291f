"""Where the files that come with the package are: checkpoints, configuration, launch files."""

from __future__ import annotations

import sys
from pathlib import Path

DEFAULT_CHECKPOINT = "models/csk_mobilenet_v2_shallow_scenes.safetensors"
"""What node and demo run when no checkpoint is named."""


def share_path(relative: str) -> Path:
    """The path of a file that the package brings, such as ``models/x.safetensors``.

    Looks beside the package (a source checkout or editable install), then in ``share/csk_ros`` of
    every prefix above the package (``colcon build``) and of the Python environment (``pip install``).

    Raises:
        FileNotFoundError: if no place holds it; the message lists the places.
    """
    package = Path(__file__).resolve().parent
    prefixes = [*package.parents, Path(sys.prefix), Path(sys.base_prefix), Path("/usr/local")]
    places = [package.parent, *(prefix / "share" / "csk_ros" for prefix in prefixes)]
    for place in places:
        if (place / relative).exists():
            return place / relative
    looked = ", ".join(str(place) for place in dict.fromkeys(places))
    raise FileNotFoundError(
        f"{relative} does not come with this installation of csk_ros (looked in {looked})"
    )
