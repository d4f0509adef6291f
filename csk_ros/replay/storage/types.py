"""What the storages write about topics: type names and QoS, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import ReaderError
from rosbags.rosbag2.metadata import parse_qos as parse_profiles

from csk_ros.replay.storage.parts import Damage

if TYPE_CHECKING:
    from typing import Literal

# How rosbag2 writes a duration that was left at its default.
_INFINITE = QosTime(9223372036, 854775807)
_DEPTH = {"stream": 10, "latched": 1}
_DURABILITY = {"stream": QosDurability.VOLATILE, "latched": QosDurability.TRANSIENT_LOCAL}


def qos_profile(kind: Literal["stream", "latched"] = "stream") -> Qos:
    """The QoS that a topic was offered with: reliable, keep last; ``latched`` serves late subscribers."""
    return Qos(
        QosHistory.KEEP_LAST,
        _DEPTH[kind],
        QosReliability.RELIABLE,
        _DURABILITY[kind],
        _INFINITE,
        _INFINITE,
        QosLiveliness.AUTOMATIC,
        _INFINITE,
        avoid_ros_namespace_conventions=False,
    )


def parse_qos(profiles: Any) -> tuple[Qos, ...]:
    """The profiles that rosbag2 stored, as YAML text (up to Iron) or a list (from Jazzy on).

    Raises:
        Damage: if they are malformed.
    """
    try:
        return tuple(parse_profiles(profiles))
    except (ReaderError, TypeError, KeyError, ValueError, AttributeError, RecursionError) as error:
        raise Damage("the QoS of a topic is malformed") from error


def qos_if_whole(profiles: Any) -> tuple[Qos, ...]:
    """As :func:`parse_qos`; none where they are malformed, which is no reason to lose the messages."""
    try:
        return parse_qos(profiles)
    except Damage:
        return ()


def normal_msgtype(name: str) -> str:
    """A type's name as ROS 2 writes it: ``sensor_msgs/Image`` is ``sensor_msgs/msg/Image``."""
    package, _, rest = name.partition("/")
    return f"{package}/msg/{rest}" if rest and "/" not in rest else name
