"""What made a result: weights, versions, machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path

from csk_ros import __version__
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

_PACKAGES = ("torch", "openvino", "numpy", "opencv-python-headless", "rosbags")


def find_checkpoint(path: str | None) -> Path:
    """The checkpoint of that path, or the one that comes with the package.

    Raises:
        FileNotFoundError: if it is not there.
    """
    if not path:
        return share_path(DEFAULT_CHECKPOINT)
    found = Path(path).expanduser().resolve()
    if not found.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {found}: check the path")
    return found


def checkpoint_facts(checkpoint: Path) -> dict[str, str]:
    """Name and hash of a checkpoint, for people."""
    return {
        "checkpoint": checkpoint.name,
        "checkpoint sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
    }


def versions() -> dict[str, str]:
    """The software and the machine, by name."""
    found = {"csk_ros": __version__, "Python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    found["ROS"] = os.environ.get("ROS_DISTRO", "wheels from PyPI")
    found["machine"] = (
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    )
    return found
