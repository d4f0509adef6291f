"""What is wrong with the publishers of a topic, by name and with the cure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.qos import ReliabilityPolicy

from csk_ros.share import share_path

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_SEGMENT = 512 * 1024
"""Bytes of Fast DDS's shared-memory segment unless a profile says otherwise; larger images need more."""

_SILENT_S = 3.0
_UNKNOWN = "_NODE_NAME_UNKNOWN_"


def publisher_problems(
    topic: str, publishers: Sequence[Any], *, largest: int, silent_s: float, fast_dds: bool
) -> list[str]:
    """One line for each thing that is wrong.

    Args:
        topic: resolved name.
        publishers: its ``rclpy`` endpoint infos.
        largest: bytes of the largest image that came, 0 if none did.
        silent_s: how long nothing has come, in seconds.
        fast_dds: whether Fast DDS is the middleware.
    """
    problems = []
    if len(publishers) > 1:
        problems.append(
            f"{topic} has {len(publishers)} publishers, {_names(publishers)}: their images are taken for one "
            "camera's; remap all but one"
        )
    lossy = [info for info in publishers if info.qos_profile.reliability != ReliabilityPolicy.RELIABLE]
    if lossy and fast_dds and largest >= DEFAULT_SEGMENT:
        problems.append(
            f"{topic} comes best effort from {_names(lossy)} with {largest} bytes per image: Fast DDS loses "
            f"nearly all that do not fit its shared-memory segment, 512 KiB by default; {_cure()}"
        )
    elif lossy and fast_dds and silent_s > _SILENT_S:
        problems.append(
            f"nothing comes on {topic}, which {_names(lossy)} publishes best effort: images of 512 KiB "
            f"or more do not fit Fast DDS's shared-memory segment; {_cure()}"
        )
    return problems


def _cure() -> str:
    return (
        "start the publisher (not this node) with "
        f"FASTRTPS_DEFAULT_PROFILES_FILE={share_path('config/fastdds.xml')}, or make it reliable"
    )


def _names(publishers: Sequence[Any]) -> str:
    names = [
        "a node whose name is not known yet"
        if info.node_name == _UNKNOWN
        else f"{info.node_namespace.rstrip('/')}/{info.node_name}"
        for info in publishers
    ]
    return " and ".join(sorted(names))
