from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import rclpy
from peer import BEST_EFFORT, LATCHED, RELIABLE
from sensor_msgs.msg import Image

from csk_ros.ros.endpoints import DEFAULT_SEGMENT, ProblemLog, publisher_problems, subscription_problems
from csk_ros.ros.image_input import ImageInput
from csk_ros.ros.qos import LATCHED as NODE_LATCHED
from csk_ros.ros.qos import OUTPUT


def publisher(name, qos=RELIABLE, namespace="/"):
    return SimpleNamespace(node_name=name, node_namespace=namespace, qos_profile=qos)


def problems(*publishers, asked=None, largest=0, silent_s=0.0, fast_dds=True):
    return publisher_problems(
        "/ir", publishers, asked=asked, largest=largest, silent_s=silent_s, fast_dds=fast_dds
    )


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


def test_a_publisher_that_qos_overrides_do_not_fit_is_named():
    (problem,) = problems(publisher("a", BEST_EFFORT), publisher("b"), asked=RELIABLE)[1:]
    assert problem.startswith("nothing comes on /ir from /a, which qos_overrides do not fit: ")
    assert "Best effort publisher and reliable subscription; remove them" in problem
    assert problems(publisher("b"), asked=RELIABLE) == []


def test_real_endpoints_of_default_qos_fit_each_other():
    node = rclpy.create_node("watching")
    for name, qos in (("masks", OUTPUT), ("route", NODE_LATCHED)):
        publisher = node.create_publisher(Image, name, qos)
        for asked in (RELIABLE, BEST_EFFORT):
            node.create_subscription(Image, name, print, asked)
        end = time.monotonic() + 20
        while len(found := node.get_subscriptions_info_by_topic(name)) < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert subscription_problems(name, found, publisher.qos_profile) == []
        offered = node.get_publishers_info_by_topic(name)
        assert problems(*offered, asked=RELIABLE) == []
    node.destroy_node()


def test_a_subscription_that_asks_for_too_much_is_named_and_others_are_not():
    listeners = publisher("fits", BEST_EFFORT), publisher("also", RELIABLE), publisher("late", LATCHED)
    (problem,) = subscription_problems("/segment/mask", listeners, OUTPUT)
    assert problem.startswith("/late gets nothing from /segment/mask, its QoS asks for too much: ")
    assert "Volatile publisher and transient local subscription" in problem


def test_a_problem_is_logged_once_while_it_lasts_and_again_when_it_returns():
    lines = []
    log = ProblemLog(lines.append)
    for found in (["a", "a"], ["a", "b"], ["b"], ["a", "b"]):
        log.update(found)
    assert lines == ["a", "b", "a"]
    assert log.problems == ["a", "b"]


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
