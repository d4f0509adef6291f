"""Arrivals to decisions: pairing with fallback, stream health, the account of every frame. Pure Python."""

from csk_ros.perception.account import Account, Durations, Percentiles, StreamAccount
from csk_ros.perception.content import ContentHealth, ContentSettings, Fault, Look
from csk_ros.perception.frames import Decision, DropCause, Frame, Reason
from csk_ros.perception.health import StreamReport, StreamState
from csk_ros.perception.perception import Perception
from csk_ros.perception.settings import PerceptionSettings

__all__ = [
    "Account",
    "ContentHealth",
    "ContentSettings",
    "Decision",
    "DropCause",
    "Durations",
    "Fault",
    "Frame",
    "Look",
    "Percentiles",
    "Perception",
    "PerceptionSettings",
    "Reason",
    "StreamAccount",
    "StreamReport",
    "StreamState",
]
