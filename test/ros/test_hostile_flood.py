"""Thousands of hostile messages through a node process: it lives, counts all of them and answers on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from array import array
from pathlib import Path

import hostile_images as hostile
import numpy as np
import pytest
import yaml
from builtin_interfaces.msg import Time
from peer import HEIGHT, WIDTH
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from csk_ros.messages import stamp_to_ns
from csk_ros.ros.refusal_log import EVERY_S

BATCH = 500
DEEP = QoSProfile(depth=2 * BATCH, reliability=ReliabilityPolicy.RELIABLE)
MOST_GROWTH = 0.05
"""Of the memory after the first half of the messages, in which the middleware's queues fill up."""


class Flood:
    """Publishes hostile messages on both streams, as many as it is told, all that a seed gives."""

    def __init__(self, node, transports, seed):
        self._rng = np.random.default_rng(seed)
        self._transports = transports
        self.sent = dict.fromkeys(transports, 0)
        self.cameras = {
            name: node.create_publisher(
                CompressedImage if transport == "compressed" else Image, self.topic(name), DEEP
            )
            for name, transport in transports.items()
        }

    def topic(self, name):
        return f"/{name}/image{'/compressed' if self._transports[name] == 'compressed' else ''}"

    def message(self, name):
        header = hostile.header(self._rng)
        stamp = Time(sec=header["sec"], nanosec=header["nanosec"])
        common = {"header": Header(stamp=stamp, frame_id=header["frame_id"])}
        fuzz = hostile.compressed if self._transports[name] == "compressed" else hostile.raw
        fields = fuzz(self._rng)
        fields["data"] = array("B", fields["data"])
        return (CompressedImage if fuzz is hostile.compressed else Image)(**common, **fields)

    def publish(self, count):
        for _ in range(count):
            name = "eo" if self._rng.random() < 0.5 else "ir"
            self.sent[name] += 1
            self.cameras[name].publish(self.message(name))

    def publish_good(self, name, stamp_ns):
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
        header = Header(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id="good")
        if self._transports[name] == "compressed":
            message = CompressedImage(header=header, format="png", data=hostile.png(WIDTH, HEIGHT))
        else:
            size = {"height": HEIGHT, "width": WIDTH, "step": WIDTH}
            message = Image(header=header, encoding="mono8", data=array("B", pixels.tobytes()), **size)
        self.sent[name] += 1
        self.cameras[name].publish(message)


@pytest.fixture
def run_node(checkpoint, tmp_path):
    """Start a node process whose queues hold a batch; gives it and the file with all that it writes."""
    processes = []

    def run(topics, **parameters):
        deep = {"reliability": "reliable", "history": "keep_last", "depth": 2 * BATCH}
        parameters = {
            "checkpoint": str(checkpoint),
            "engine": "torch",
            "threads": 1,
            "autostart": True,
        } | parameters
        parameters["qos_overrides"] = {topic: {"subscription": {**deep}} for topic in topics}
        file = tmp_path / "parameters.yaml"
        file.write_text(yaml.safe_dump({"segment": {"ros__parameters": parameters}}), encoding="utf-8")
        output = tmp_path / "output.txt"
        with output.open("w") as stream:
            command = [
                sys.executable,
                "-m",
                "csk_ros.ros.segment_node",
                "--ros-args",
                "--params-file",
                str(file),
            ]
            processes.append(
                subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=dict(os.environ))
            )
        return processes[-1], output

    yield run
    for process in processes:
        process.terminate()
        try:
            process.wait(timeout=30)
        finally:
            process.kill()


def memory_mb(process):
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def settled(peer, flood):
    """Whether diagnostics count all that was sent, with no frame in hand."""

    def check():
        return (
            peer.status("frames") is not None
            and all(peer.count(f"{name}_received") == sent for name, sent in flood.sent.items())
            and peer.count("in_hand") == 0
        )

    return check


def accounted(peer):
    """Sum of what became of the frames, whatever that was."""
    values = {key: int(value) for key, value in peer.status("frames")[2].items() if value.isdigit()}
    kept = ("answered", "eo_refused", "no_anchor", "in_hand", "eo_unusable", "ir_unusable")
    return sum(count for key, count in values.items() if key in kept or key.startswith("dropped_"))


def answers_a_good_frame(peer, flood, stamp_ns):
    stamps = [stamp_ns + n * 10**9 for n in range(100)]
    for stamp in stamps:
        flood.publish_good("ir", stamp)
        time.sleep(0.1)
        if any(stamp_to_ns(mask.header.stamp) in stamps for mask in peer.masks()):
            return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("eo", "ir", "count"), [("compressed", "raw", 10_000), ("raw", "compressed", 10_000)]
)
def test_ten_thousand_hostile_messages(peer, run_node, eo, ir, count):
    flood = Flood(peer.node, {"eo": eo, "ir": ir}, seed=1)
    # Small, so that no image that is in order, only large, comes between the two measurements of the memory.
    node, output = run_node(
        [flood.topic(name) for name in flood.cameras], eo_transport=eo, ir_transport=ir, max_pixels=65_536
    )
    peer.wait_for(lambda: all(c.get_subscription_count() == 1 for c in flood.cameras.values()), timeout=90)
    started = time.monotonic()
    for batch in range(count // BATCH):
        flood.publish(BATCH)
        peer.wait_for(settled(peer, flood), timeout=90)
        assert node.poll() is None, output.read_text()[-3000:]
        if batch == count // BATCH // 2:
            half = memory_mb(node)
        print(f"{(batch + 1) * BATCH} messages, {time.monotonic() - started:.0f} s, {memory_mb(node):.1f} MB")
    seconds, grown = time.monotonic() - started, memory_mb(node) / half - 1

    assert accounted(peer) == sum(flood.sent.values()) == count
    assert peer.count("dropped_unreadable") > count // 10
    assert peer.count("eo_refused") > count // 10
    assert peer.count("answered") > 0
    assert grown < MOST_GROWTH, f"{half:.0f} MB grew by {grown:.1%}"

    for name, camera in flood.cameras.items():
        whole = serialize_message(flood.message(name))
        for broken in (whole[:-3], whole[:20], whole[:4], b"\xff" * 40, whole[:8] + b"\xff" * 4 + whole[12:]):
            camera.publish(broken)
    assert answers_a_good_frame(peer, flood, 1_800_000_000 * 10**9)

    text = output.read_text()
    assert "Traceback" not in text
    refusals = re.findall(r"\[ERROR\].* image refused: .*", text)
    assert 0 < len(refusals) <= 2 * (2 + seconds / EVERY_S)
    assert max(map(len, refusals)) < 500
