from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import rclpy
from peer import BEST_EFFORT, RELIABLE
from sensor_msgs.msg import Image

from csk_ros.ros.image_input import ImageInput
from csk_ros.ros.publishers import DEFAULT_SEGMENT, publisher_problems


def publisher(name, qos=RELIABLE, namespace="/"):
    return SimpleNamespace(node_name=name, node_namespace=namespace, qos_profile=qos)


def problems(*publishers, largest=0, silent_s=0.0, fast_dds=True):
    return publisher_problems("/ir", publishers, largest=largest, silent_s=silent_s, fast_dds=fast_dds)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"largest": 10 * DEFAULT_SEGMENT, "silent_s": 60.0}],
    ids=["small", "large"],
)
def test_one_reliable_publisher_is_no_problem(arguments):
    assert problems(publisher("camera"), **arguments) == []


def test_two_publishers_are_named():
    (problem,) = problems(publisher("a"), publisher("camera", namespace="/b"))
    assert problem.startswith("/ir has 2 publishers, /a and /b/camera: ")


@pytest.mark.parametrize(("largest", "silent_s"), [(DEFAULT_SEGMENT, 0.0), (0, 4.0)])
def test_best_effort_images_that_do_not_fit_are_named_with_the_cure(largest, silent_s):
    cameras = publisher("a", BEST_EFFORT), publisher("_NODE_NAME_UNKNOWN_", BEST_EFFORT)
    for camera, name in zip(cameras, ("/a", "a node whose name is not known yet"), strict=True):
        (problem,) = problems(camera, largest=largest, silent_s=silent_s)
        assert name in problem
        assert "FASTRTPS_DEFAULT_PROFILES_FILE=" in problem
        assert "fastdds.xml, or make it reliable" in problem
        assert problems(camera, largest=largest, silent_s=silent_s, fast_dds=False) == []
    assert problems(cameras[0], largest=DEFAULT_SEGMENT - 1) == []


def test_an_input_says_each_problem_once(capfd):
    node = rclpy.create_node("watching")
    image_input = ImageInput(node, "camera", compressed=False, overridden=False)
    for _ in range(2):
        node.create_publisher(Image, "camera", RELIABLE)
    end = time.monotonic() + 20
    while not image_input.problems and time.monotonic() < end:
        image_input.follow()
        time.sleep(0.01)
    image_input.follow()
    assert image_input.problems
    assert capfd.readouterr().err.count("has 2 publishers, /watching and /watching:") == 1
    node.destroy_node()
