"""What is wrong with the publishers and subscriptions of a topic, by name and with the cure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.qos import QoSCompatibility, ReliabilityPolicy, qos_check_compatible

from csk_ros.share import share_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.qos import QoSProfile

DEFAULT_SEGMENT = 512 * 1024
"""Bytes of Fast DDS's shared-memory segment unless a profile says otherwise; larger images need more."""

# rclpy's EventsExecutor dies of a QoS event that comes for something just destroyed (ros2/rclpy#1644). What
# such events would tell of is looked up here.
NO_PUBLISHER_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)
NO_SUBSCRIPTION_EVENTS = SubscriptionEventCallbacks(use_default_callbacks=False)

_SILENT_S = 3.0
_UNKNOWN = "_NODE_NAME_UNKNOWN_"


class ProblemLog:
    """Logs each problem once for as long as it lasts.

    Args:
        warn: takes a line.

    Attributes:
        problems: those of the last update.
    """

    def __init__(self, warn: Callable[[str], object]) -> None:
        self._warn = warn
        self.problems: list[str] = []

    def update(self, problems: list[str]) -> None:
        """Log what is new among the problems that there are now."""
        before, self.problems = self.problems, list(dict.fromkeys(problems))
        for problem in self.problems:
            if problem not in before:
                self._warn(problem)


def why_incompatible(offered: QoSProfile, asked: QoSProfile) -> str:
    """Why a publisher's QoS does not serve a subscription's; empty if it does or cannot be known."""
    compatibility, reason = qos_check_compatible(offered, asked)
    return str(reason).rstrip(";") if compatibility == QoSCompatibility.ERROR else ""


def subscription_problems(topic: str, subscriptions: Sequence[Any], offered: QoSProfile) -> list[str]:
    """One line for each subscription that asks for more than is offered, and so gets nothing.

    Args:
        topic: resolved name.
        subscriptions: its ``rclpy`` endpoint infos.
        offered: the QoS of the node's own publisher.
    """
    reasons = [(info, why_incompatible(offered, info.qos_profile)) for info in subscriptions]
    return [
        f"{_names([info])} gets nothing from {topic}, its QoS asks for too much: {reason}"
        for info, reason in reasons
        if reason
    ]


def publisher_problems(
    topic: str,
    publishers: Sequence[Any],
    *,
    asked: QoSProfile | None,
    largest: int,
    silent_s: float,
    fast_dds: bool,
) -> list[str]:
    """One line for each thing that is wrong.

    Args:
        topic: resolved name.
        publishers: its ``rclpy`` endpoint infos.
        asked: the QoS of the node's own subscription where it does not follow the publishers.
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
    if asked:
        problems += _overridden(topic, publishers, asked)
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


def _overridden(topic: str, publishers: Sequence[Any], asked: QoSProfile) -> list[str]:
    reasons = [(info, why_incompatible(info.qos_profile, asked)) for info in publishers]
    return [
        f"nothing comes on {topic} from {_names([info])}, which qos_overrides do not fit: {reason}; "
        "remove them, then the node subscribes as the camera offers"
        for info, reason in reasons
        if reason
    ]


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
