"""The computer and its environment as ``csk doctor`` sees them. Imports no ROS."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

from csk_ros.ros.doctor_facts import Machine
from csk_ros.share import share_path

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Where Fast DDS looks for its profile: up to Jazzy, and since Kilted."""

_VARIABLES = (
    "ROS_DISTRO", "ROS_DOMAIN_ID", "ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_STATIC_PEERS",
    "ROS_DISCOVERY_SERVER", "ROS_SECURITY_ENABLE", "RMW_IMPLEMENTATION", "OMP_NUM_THREADS",
    *PROFILE_VARIABLES,
)  # fmt: skip
_SAMPLE_S = 0.5
SHARED_MEMORY = "/dev/shm"  # noqa: S108 (its free space is looked at; nothing is written there)


def observe_machine() -> Machine:
    """Look at the machine; takes half a second."""
    environment = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    profile = next((environment[name] for name in PROFILE_VARIABLES if name in environment), "")
    text = _text(Path(profile)) if profile else ""
    settings = re.sub(r"<!--.*?-->", "", text or "", flags=re.DOTALL)
    cores = len(os.sched_getaffinity(0))
    return Machine(
        cores=cores,
        idle_cores=round(min(cores, _idle_cores(_SAMPLE_S)), 2),
        shm_free_bytes=shutil.disk_usage(SHARED_MEMORY).free if Path(SHARED_MEMORY).is_dir() else None,
        environment=environment,
        distributions=sorted(path.parent.name for path in Path("/opt/ros").glob("*/setup.bash")),
        profile=profile,
        profile_readable=text is not None,
        segment_bytes=_segment_bytes(settings),
        udp_only=_leaves_shared_memory_out(settings),
        shipped_profile=_shipped_profile(),
        nvidia=Path("/proc/driver/nvidia/version").exists(),
    )


def _segment_bytes(profile: str) -> int | None:
    found = re.search(r"<segment_size>\s*(\d+)\s*<", profile)
    return int(found[1]) if found else None


def _leaves_shared_memory_out(profile: str) -> bool:
    own = re.search(r"<useBuiltinTransports>\s*(false|0)\s*<", profile)
    return bool(own) and not re.search(r"<type>\s*SHM\s*<", profile)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    except OSError:
        return None


def _shipped_profile() -> str:
    try:
        return str(share_path("config/fastdds.xml"))
    except FileNotFoundError:
        return ""


def _idle_cores(seconds: float) -> float:
    before = _idle_ticks()
    time.sleep(seconds)
    return (_idle_ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds


def _idle_ticks() -> int:
    """Idle and waiting time of all cores together."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    return int(fields[4]) + int(fields[5])
