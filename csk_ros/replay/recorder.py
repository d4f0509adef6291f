"""Receives what the node says of a run, and writes it to a bag as it comes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import String

from csk_ros.modality import Modality, Route
from csk_ros.replay.bag import IMAGE, STRING
from csk_ros.replay.played import Announced, Mask, NodeReports, Standing, Usage
from csk_ros.replay.stamps import read_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rclpy.node import Node

    from csk_ros.replay.bag import BagWriter

DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"

_RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_P50 = "_p50_ms"
_FACTS = ("engine", "device", "precision", "checkpoint")
_RISING = ("ir_received", "eo_received", "answered")
_NOW = ("in_hand",)  # what is in the node's hands at this moment, no counter
_LOOK_S = 0.1
# Longer than the node's default time between two reports.
_QUIET_S = 3.0


class Recorder:
    """Subscribes to masks, confidences, routes and diagnostics.

    Args:
        node: subscribes.
        bag: takes the messages.
        segment: full name of the node that segments, such as ``/segment``.

    Attributes:
        masks: as they came.
        routes: as they came.
    """

    def __init__(self, node: Node, bag: BagWriter, segment: str) -> None:
        self._node, self._bag = node, bag
        self._topics = {
            "mask": f"{segment}/mask",
            "confidence": f"{segment}/confidence",
            "route": f"{segment}/route",
            "health": "/diagnostics",
        }
        self._changed = threading.Condition()
        self._stopped = False
        self._changed_at = time.monotonic()
        self._listener = _Listener(segment.lstrip("/"))
        self.masks: list[Mask] = []
        self.routes: list[Announced] = []
        bag.add_topic(self._topics["mask"], IMAGE)
        bag.add_topic(self._topics["route"], STRING, "latched")
        bag.add_topic(self._topics["health"], DIAGNOSTICS)
        self._subscriptions = [
            self._subscribe("mask", Image, _RELIABLE, self._on_mask),
            self._subscribe("route", String, _LATCHED, self._on_route),
            self._subscribe("health", DiagnosticArray, _RELIABLE, self._on_health),
        ]

    def matched(self) -> bool:
        """Whether somebody publishes masks and routes."""
        return all(self._node.count_publishers(self._topics[name]) for name in ("mask", "route"))

    def heard(self) -> bool:
        """Whether the node has told its counters."""
        with self._changed:
            return bool(self._listener.latest)

    def begin(self) -> None:
        """Count from here: what the node received earlier is of no run; take confidences if there are."""
        if self._node.count_publishers(self._topics["confidence"]):
            self._bag.add_topic(self._topics["confidence"], IMAGE)
            self._subscriptions.append(self._subscribe("confidence", Image, _RELIABLE, self._on_confidence))
        with self._changed:
            self._listener.begin()

    def wait_for_account(self, sent: Mapping[Modality, int], timeout_s: float) -> bool:
        """Wait until the node reports an outcome for every image sent and every mask has come.

        That its streams stand still from now on is no longer noted: they do because nothing is played.

        Args:
            sent: images sent, by stream.
            timeout_s: longest to wait; less where nothing changes any more.

        Returns:
            Whether that happened; if not, the account shows what is missing.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._changed_at = time.monotonic()
            self._listener.played()
            while not self._complete(sent):
                now = time.monotonic()
                if now > deadline or now - self._changed_at > _QUIET_S:
                    return False
                self._changed.wait(_LOOK_S)
        return True

    def stop(self) -> None:
        """Receive nothing more, not even what is on its way already."""
        with self._changed:
            self._stopped = True
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def reports(self) -> NodeReports:
        """What the node's diagnostics said since :meth:`begin`."""
        with self._changed:
            return self._listener.reports()

    def _subscribe(self, name: str, message_type: type, qos: QoSProfile, take: Callable[..., None]) -> Any:
        return self._node.create_subscription(message_type, self._topics[name], take, qos, raw=True)

    def _complete(self, sent: Mapping[Modality, int]) -> bool:
        account = self._listener.account
        received = all(account.get(f"{m.value}_received", images) == images for m, images in sent.items())
        answered = account.get("answered") == len(self.masks)
        return bool(account) and received and answered and not account.get("in_hand")

    def _on_mask(self, data: bytes, info: dict[str, Any]) -> None:
        received_ns = time.time_ns()
        with self._changed:
            if self._write("mask", received_ns, data):
                self.masks.append(Mask(read_stamp(data), info["source_timestamp"], received_ns))
                self._note_change()

    def _on_confidence(self, data: bytes) -> None:
        with self._changed:
            self._write("confidence", time.time_ns(), data)

    def _on_route(self, data: bytes, info: dict[str, Any]) -> None:
        received_ns = time.time_ns()
        route = Route(deserialize_message(data, String).data)
        with self._changed:
            if self._write("route", received_ns, data):
                self.routes.append(Announced(info["source_timestamp"], route))

    def _on_health(self, data: bytes) -> None:
        received_ns = time.time_ns()
        message = deserialize_message(data, DiagnosticArray)
        with self._changed:
            if self._write("health", received_ns, data) and self._listener.hear(message, received_ns):
                self._note_change()

    def _note_change(self) -> None:
        self._changed_at = time.monotonic()
        self._changed.notify_all()

    def _write(self, name: str, received_ns: int, data: bytes) -> bool:
        if not self._stopped:
            self._bag.write_raw(self._topics[name], received_ns, data)
        return not self._stopped


class _Listener:
    """Gathers what one node says in its diagnostics.

    Args:
        segment: full name of the node, without the leading slash.
    """

    def __init__(self, segment: str) -> None:
        self._segment = segment
        self._before: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        self._streams: dict[Modality, list[Standing]] = {modality: [] for modality in Modality}
        self._stages: dict[str, list[float]] = {}
        self._facts: dict[str, str] = {}
        self._memory: list[Usage] = []
        self._restarts = 0
        self._begun = self._over = False
        self.latest: dict[str, int] = {}

    @property
    def account(self) -> dict[str, int]:
        """Its counters since the beginning, over restarts."""
        counted = {
            name: self._kept.get(name, 0) + number - self._before.get(name, 0)
            for name, number in self.latest.items()
        }
        return counted | {name: self.latest[name] for name in _NOW if name in counted}

    def begin(self) -> None:
        """Count from here."""
        self._begun = True
        self._before = dict(self.latest)

    def played(self) -> None:
        """Nothing comes any more."""
        self._over = True

    def hear(self, message: DiagnosticArray, wall_ns: int) -> bool:
        """Take a message; whether the counters changed."""
        statuses = {
            status.name.removeprefix(f"{self._segment}: "): {item.key: item.value for item in status.values}
            for status in message.status
            if status.name.startswith(f"{self._segment}: ")
        }
        self._hear_node(statuses.get("node", {}), wall_ns)
        if self._begun:
            for modality in Modality:
                self._hear_stream(modality, statuses.get(modality.value, {}), wall_ns)
            for key, value in statuses.get("speed", {}).items():
                if key.endswith(_P50):
                    self._stages.setdefault(key.removesuffix(_P50), []).append(float(value))
        return self._hear_frames(statuses.get("frames", {}))

    def reports(self) -> NodeReports:
        return NodeReports(
            account=self.account,
            streams={modality: tuple(standings) for modality, standings in self._streams.items()},
            stages_ms={stage: tuple(times) for stage, times in self._stages.items()},
            facts=dict(self._facts),
            memory=tuple(self._memory),
            restarts=self._restarts,
        )

    def _hear_node(self, values: Mapping[str, str], wall_ns: int) -> None:
        self._facts |= {key: values[key] for key in _FACTS if key in values}
        if self._begun and "memory_mib" in values:
            gpu = values.get("gpu_memory_mib")
            self._memory.append(
                Usage(wall_ns, None, float(values["memory_mib"]), None, float(gpu) if gpu else None)
            )

    def _hear_stream(self, modality: Modality, values: Mapping[str, str], wall_ns: int) -> None:
        if "state" in values and not self._over:
            state, rate_hz = values["state"].upper(), float(values.get("rate_hz", 0))
            self._streams[modality].append(Standing(wall_ns, state, rate_hz, values.get("reason", "")))

    def _hear_frames(self, values: Mapping[str, str]) -> bool:
        counters = {key: int(value) for key, value in values.items() if value.isdigit()}
        if not counters or counters == self.latest:
            return False
        if any(counters.get(name, 0) < self.latest.get(name, 0) for name in _RISING):
            self._kept, self._before = self.account, {}
            self._restarts += self._begun
        self.latest = counters
        return True
