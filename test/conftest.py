"""Shared fixtures; keeps every DDS participant of a test run on this machine and in a domain of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("unhurried", settings.default, deadline=None)
settings.load_profile("unhurried")

os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

# A shell's background job ignores Ctrl-C and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

_REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real images and backbone weights, which is not part of the project."""
    folder = Path(os.environ.get("CSK_ROS_SHARED", _REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set CSK_ROS_SHARED to a folder that holds it")
    return folder
