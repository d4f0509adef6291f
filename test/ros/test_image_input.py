from __future__ import annotations

import time

import numpy as np
import pytest
import rclpy
from peer import BEST_EFFORT, RELIABLE
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from csk_ros.messages import fill_image, stamp_to_ns
from csk_ros.ros.image_input import ImageInput

MS = 1_000_000


def image(stamp_ns):
    message = Image()
    header = Header()
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    fill_image(message, np.zeros((4, 4), np.uint8), "mono8", header)
    return message


@pytest.fixture
def node():
    node = rclpy.create_node("image_input")
    yield node
    node.destroy_node()


@pytest.fixture
def listening(node):
    """An input that began before any publisher, and the stamps that came out of it."""
    image_input = ImageInput(node, "camera", compressed=False, overridden=False)
    stamps = []
    image_input.registerCallback(lambda message: stamps.append(stamp_to_ns(message.header.stamp)))
    return image_input, stamps


def spin_until(node, condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        rclpy.spin_once(node, timeout_sec=0.01)


@pytest.mark.parametrize("offered", [RELIABLE, BEST_EFFORT], ids=["reliable", "best effort"])
def test_no_frame_is_lost_or_doubled_while_the_subscription_changes(node, listening, offered):
    image_input, stamps = listening
    camera = node.create_publisher(Image, "camera", offered)
    spin_until(node, camera.get_subscription_count)
    for n in range(60):
        camera.publish(image(n * MS))
        if n == 20:
            spin_until(node, lambda: node.get_publishers_info_by_topic("/camera"))
            image_input.follow()
        rclpy.spin_once(node, timeout_sec=0.02)
    spin_until(node, lambda: stamps[-1:] == [59 * MS])
    assert stamps == [n * MS for n in range(60)]
    assert image_input.qos.reliability == offered.reliability
    spin_until(node, lambda: camera.get_subscription_count() == 1)


def test_a_camera_that_restarts_with_another_offer_is_followed(node, listening):
    image_input, stamps = listening
    for offered in (RELIABLE, BEST_EFFORT):
        camera = node.create_publisher(Image, "camera", offered)
        spin_until(node, lambda: node.get_publishers_info_by_topic("/camera"))
        image_input.follow()
        before = len(stamps)
        while len(stamps) < before + 3:
            camera.publish(image(time.monotonic_ns()))
            rclpy.spin_once(node, timeout_sec=0.02)
        assert image_input.qos.reliability == offered.reliability
        node.destroy_publisher(camera)
        spin_until(node, lambda: not node.get_publishers_info_by_topic("/camera"))


def test_a_stamp_that_stands_still_goes_on_after_a_change(node, listening):
    image_input, stamps = listening
    camera = node.create_publisher(Image, "camera", RELIABLE)
    spin_until(node, camera.get_subscription_count)
    spin_until(node, lambda: node.get_publishers_info_by_topic("/camera"))
    image_input.follow()
    assert image_input.qos.reliability == ReliabilityPolicy.RELIABLE

    def came():
        camera.publish(image(0))
        return len(stamps) > 40

    spin_until(node, came)
