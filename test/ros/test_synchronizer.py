from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import rclpy
from peer import HEIGHT, WIDTH
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from csk_ros.messages import fill_image, read_ir
from csk_ros.modality import Modality, Route
from csk_ros.perception import PerceptionSettings
from csk_ros.ros.filters import SimpleFilter
from csk_ros.ros.synchronizer import FallbackSynchronizer

MS = 1_000_000


def image(stamp_ns):
    message = Image()
    header = Header()
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    fill_image(message, np.zeros((HEIGHT, WIDTH), np.uint8), "mono8", header)
    return message


def png(stamp_ns):
    raw = image(stamp_ns)
    _, data = cv2.imencode(".png", np.zeros((HEIGHT, WIDTH), np.uint8))
    return CompressedImage(header=raw.header, format="mono8; png compressed mono8", data=data.tobytes())


@pytest.fixture
def wired():
    """A synchronizer whose two inputs the test feeds by hand, and what it called back."""
    node = rclpy.create_node("synchronizer")
    eo, ir = SimpleFilter(), SimpleFilter()
    synchronizer = FallbackSynchronizer(node, PerceptionSettings(max_wait_ns=30 * MS))
    synchronizer.connect(Modality.EO, eo)
    synchronizer.connect(Modality.IR, ir)
    called = []
    synchronizer.registerCallback(lambda *arguments: called.append(arguments))
    yield SimpleNamespace(node=node, eo=eo, ir=ir, synchronizer=synchronizer, called=called)
    synchronizer.close()
    node.destroy_node()


def test_a_pair_is_called_back_with_both_messages(wired):
    eo, ir = image(1000 * MS), image(1001 * MS)
    wired.ir.signalMessage(ir)
    wired.eo.signalMessage(eo)
    wired.eo.signalMessage(image(1100 * MS))
    assert wired.called == [(eo, ir, Route.FUSED)]
    assert wired.synchronizer.account().answered == {Route.FUSED: 1}


def test_a_png_is_decoded_once_and_called_back_as_it_came(wired, monkeypatch):
    delivered, message = [], png(1000 * MS)
    synchronizer = FallbackSynchronizer(wired.node, deliver=delivered.append)
    synchronizer.connect(Modality.IR, wired.ir)
    wired.ir.signalMessage(message)
    while not (wired.called and delivered):
        rclpy.spin_once(wired.node, timeout_sec=5)
    assert wired.called == [(None, message, Route.IR_ONLY)]
    carried = delivered[0].ir.payload
    assert carried.message is message
    monkeypatch.setattr("cv2.imdecode", None)
    assert read_ir(carried.image).shape == (HEIGHT, WIDTH)
    synchronizer.close()


def test_a_frame_without_a_partner_is_released_by_the_steady_timer(wired):
    ir = image(1000 * MS)
    wired.ir.signalMessage(ir)
    assert not wired.called
    while not wired.called:
        rclpy.spin_once(wired.node, timeout_sec=5)
    assert wired.called == [(None, ir, Route.IR_ONLY)]


def test_messages_that_are_no_images_are_refused_and_counted(wired):
    broken = image(1000 * MS)
    broken.step = 1
    wired.ir.signalMessage(broken)
    account = wired.synchronizer.account()
    assert sum(account.streams[Modality.IR].refused.values()) == 1
    assert account.balanced


def test_what_waits_at_the_end_is_counted(wired):
    wired.ir.signalMessage(image(1000 * MS))
    account = wired.synchronizer.close()
    assert (account.in_hand, sum(account.dropped.values())) == (0, 1)
