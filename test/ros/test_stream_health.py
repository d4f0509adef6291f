"""Cameras that go on publishing images of no use, over real DDS."""

from __future__ import annotations

import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from peer import HEIGHT, RELIABLE, WIDTH
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from csk_ros.messages import fill_image
from csk_ros.modality import Modality, Route
from csk_ros.perception import PerceptionSettings, Reason
from csk_ros.ros.image_input import ImageInput
from csk_ros.ros.synchronizer import FallbackSynchronizer

EO, IR = Modality.EO, Modality.IR
START = 1_700_000_000_000_000_000
PERIOD = 50_000_000
SETTINGS = PerceptionSettings()
GOOD_BEFORE, BAD, GOOD_AFTER = 5, 13, 8
SLACK = 1  # of two frames that were taken together, IR may come before EO

# The number of bad frames after which the stream is left, by what is shown.
LEFT_AFTER = {
    "frozen": SETTINGS.eo_content.frozen_frames + 1,
    **dict.fromkeys(("black", "blown out", "without contrast", "corrupt"), SETTINGS.eo_content.bad_frames),
}  # fmt: skip


def picture(modality, number):
    """A lit scene with noise: 8 bit colour, or 16 bit thermal counts."""
    rng = np.random.default_rng(number)
    ramp = np.linspace(0, 150, WIDTH)[None, :] + rng.integers(0, 60, (HEIGHT, WIDTH))
    if modality is EO:
        return np.repeat(ramp[..., None], 3, axis=2).astype(np.uint8)
    return (27_000 + ramp).astype(np.uint16)


def spoilt(modality, number, fault):
    pixels = picture(modality, 0 if fault == "frozen" else number)
    rest = np.iinfo(pixels.dtype).max // 2 if fault == "without contrast" else 255
    noise = pixels % 4  # no frame repeats another
    return {"black": noise, "blown out": 255 - noise, "without contrast": rest + noise}.get(fault, pixels)


class Cameras:
    """Publishes pairs at 20 Hz, raw or compressed."""

    def __init__(self, peer, transport):
        self.compressed = transport == "compressed"
        self.number = 0
        ending = "/compressed" if self.compressed else ""
        kind = CompressedImage if self.compressed else Image
        self.publishers = {
            one: peer.node.create_publisher(kind, f"{one.value}/image{ending}", RELIABLE) for one in Modality
        }

    def play(self, frames, bad=None, fault=None):
        """Returns the number of the first frame."""
        first = self.number
        for _ in range(frames):
            for modality, publisher in self.publishers.items():
                publisher.publish(self.message(modality, fault if modality is bad else None))
            self.number += 1
            time.sleep(PERIOD / 1e9)
        return first

    def message(self, modality, fault):
        header = Header()
        header.stamp.sec, header.stamp.nanosec = divmod(START + self.number * PERIOD, 1_000_000_000)
        pixels = spoilt(modality, self.number, fault) if fault else picture(modality, self.number)
        if self.compressed:
            data = cv2.imencode(".jpg" if modality is EO else ".png", pixels)[1].tobytes()
            return CompressedImage(header=header, data=data[: len(data) // 2] if fault == "corrupt" else data)
        message = Image()
        fill_image(message, pixels.view(np.uint8), "rgb8" if modality is EO else "mono16", header)
        message.width = WIDTH
        message.step = 1 if fault == "corrupt" else message.step
        return message


@pytest.fixture
def wired(peer):
    """A function that puts a synchronizer behind two cameras of a transport."""
    node = rclpy.create_node("watcher")
    decisions = []
    synchronizer = FallbackSynchronizer(node, SETTINGS, deliver=decisions.append)
    inputs = []

    def run(transport):
        cameras = Cameras(peer, transport)
        for modality in (EO, IR):
            topic = f"{modality.value}/image{'/compressed' if cameras.compressed else ''}"
            inputs.append(ImageInput(node, topic, compressed=cameras.compressed, overridden=False))
            synchronizer.connect(modality, inputs[-1])
        peer.executor.add_node(node)
        peer.wait_for(lambda: all(one.get_subscription_count() for one in cameras.publishers.values()))
        for _ in range(20):  # until both are matched and in rhythm
            cameras.play(3)
            if decisions and decisions[-1].route is Route.FUSED:
                break
        return SimpleNamespace(cameras=cameras, decisions=decisions, synchronizer=synchronizer)

    yield run
    peer.executor.remove_node(node)
    for one in inputs:
        one.close()
    synchronizer.close()
    node.destroy_node()


def numbers(decisions, *reasons):
    """The numbers of the frames that were decided for these reasons."""
    return [(d.anchor.stamp_ns - START) // PERIOD for d in decisions if d.reason in reasons]


def check_window(decisions, reason, left_from, good_from):
    """The stream is left with frame `left_from`, and taken up with the last of the good frames it takes."""
    left, paired = numbers(decisions, reason), set(numbers(decisions, Reason.PAIRED))
    back = good_from + SETTINGS.eo_content.good_frames - 1
    assert left_from <= left[0] <= left[-1] < back + SLACK
    assert not paired & set(range(left_from + SLACK, back))
    assert paired & set(range(back, good_from + GOOD_AFTER))


def through_a_fault(peer, wired, bad, fault):
    """Plays good, bad and good frames; the numbers of the first bad and the first good frame after."""
    cameras = wired.cameras
    cameras.play(GOOD_BEFORE)
    spoilt_from = cameras.play(BAD, bad, fault)
    good_from = cameras.play(GOOD_AFTER)
    last = START + (cameras.number - 1) * PERIOD
    peer.wait_for(lambda: wired.decisions and wired.decisions[-1].anchor.stamp_ns == last)
    return spoilt_from, good_from


@pytest.mark.parametrize(
    ("transport", "fault"),
    [
        ("raw", "frozen"), ("raw", "black"), ("raw", "blown out"), ("compressed", "frozen"),
        ("compressed", "without contrast"), ("compressed", "corrupt"),
    ],
)  # fmt: skip
def test_an_optical_stream_of_no_use_is_left_and_taken_up_again(peer, wired, capfd, transport, fault):
    wired = wired(transport)
    spoilt_from, good_from = through_a_fault(peer, wired, EO, fault)
    check_window(wired.decisions, Reason.EO_UNUSABLE, spoilt_from + LEFT_AFTER[fault] - 1, good_from)
    assert all(d.route is Route.IR_ONLY for d in wired.decisions if d.reason is Reason.EO_UNUSABLE)
    log = capfd.readouterr().err
    assert [log.count(text) for text in (f"eo unusable: {fault}", "eo unusable", "eo usable again")] == [
        1
    ] * 3
    account = wired.synchronizer.account()
    assert account.streams[IR].anchors == account.streams[IR].received
    assert account.balanced


@pytest.mark.parametrize(
    ("transport", "fault"), [("raw", "without contrast"), ("raw", "corrupt"), ("compressed", "frozen")]
)
def test_while_the_thermal_stream_is_of_no_use_the_optical_one_is_answered(
    peer, wired, capfd, transport, fault
):
    wired = wired(transport)
    spoilt_from, good_from = through_a_fault(peer, wired, IR, fault)
    left_after = SETTINGS.ir_content.frozen_frames + 1 if fault == "frozen" else LEFT_AFTER[fault]
    check_window(wired.decisions, Reason.IR_UNUSABLE, spoilt_from + left_after - 1, good_from)
    assert all(d.route is Route.EO_ONLY for d in wired.decisions if d.reason is Reason.IR_UNUSABLE)
    log = capfd.readouterr().err
    assert [log.count(text) for text in (f"ir unusable: {fault}", "ir unusable", "ir usable again")] == [
        1
    ] * 3
    assert wired.synchronizer.account().balanced


def test_the_node_shows_it_in_diagnostics_and_on_the_route(peer, start):
    start()
    cameras = Cameras(peer, "raw")
    peer.wait_for(lambda: all(one.get_subscription_count() for one in cameras.publishers.values()))

    def play_until(condition, bad=None, fault=None):
        for _ in range(60):
            if condition():
                return
            cameras.play(10, bad, fault)
        raise AssertionError("waited in vain")

    def shows(name, level, message):
        status = peer.status(name)
        return status is not None and status[:2] == (level, message)

    play_until(lambda: peer.routes()[-1:] == ["FUSED"] and shows("eo", DiagnosticStatus.OK, "alive"))
    unusable = (DiagnosticStatus.WARN, "unusable: frozen")
    play_until(lambda: peer.routes()[-1] == "IR_ONLY" and shows("eo", *unusable), EO, "frozen")
    assert peer.status("eo")[2]["reason"] == "frozen"
    assert int(peer.status("eo")[2]["bad_frozen"]) > 0
    assert peer.count("eo_unusable") > 0
    play_until(lambda: peer.routes()[-1] == "FUSED" and shows("eo", DiagnosticStatus.OK, "alive"))
    play_until(lambda: peer.routes()[-1] == "EO_ONLY" and shows("ir", *unusable), IR, "frozen")
    assert peer.count("ir_unusable") > 0
    play_until(lambda: peer.routes()[-1] == "FUSED" and shows("ir", DiagnosticStatus.OK, "alive"))
