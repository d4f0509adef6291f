"""The node as a process of its own."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from peer import LATCHED, play
from sensor_msgs.msg import Image


def run_node(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "csk_ros.ros.segment_node", "--ros-args", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_process_autostarts_and_ends_cleanly_when_told_twice(peer, checkpoint, kind):
    process = run_node("-p", f"checkpoint:={checkpoint}", "-p", "autostart:=true", "-p", "engine:=torch")
    try:
        peer.wait_for(peer.connected, timeout=60)
        for first in range(0, 1200, 5):  # an earlier node may still seem to subscribe
            if peer.masks():
                break
            play(peer, 5, first=first)
        assert peer.masks()
        for _ in range(2):  # the terminal and the launch file both send it
            process.send_signal(kind)
            time.sleep(0.02)
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert "Traceback" not in output


def test_process_refuses_a_parameter_of_the_wrong_type_in_one_line():
    process = run_node("-p", "slop:=wide")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "parameter 'slop'" in output
    assert "Traceback" not in output


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have pools of their own")
def test_threads_of_the_process_get_no_memory_pools_of_their_own():
    program = """
import ctypes, threading
from csk_ros.ros.segment_node import main
assert main(["--ros-args", "-p", "slop:=wide"]) == 1
barrier = threading.Barrier(8)
def use():
    block = b"x" * 100_000
    barrier.wait()
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stderr.count("Arena ") < 6  # those from before, made while libraries were imported


def test_process_survives_a_transition_that_cannot_be(peer, checkpoint):
    process = run_node("-r", "__ns:=/alone", "-p", f"checkpoint:={checkpoint}", "-p", "engine:=torch")
    client = peer.node.create_client(ChangeState, "alone/segment/change_state")
    try:
        assert client.wait_for_service(timeout_sec=60)
        for transition, possible in (("activate", False), ("configure", True), ("activate", True)):
            future = client.call_async(ChangeState.Request(transition=Transition(label=transition)))
            peer.wait_for(future.done, timeout=60)
            assert future.result().success == possible
        future = client.call_async(
            ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
        )
        peer.wait_for(future.done, timeout=60)
        assert not future.result().success
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "No transition matching activate found for current state unconfigured" in output
    assert "No transition matching 3 found for current state active" in output
    assert "Traceback" not in output


def test_process_refuses_an_executor_that_there_is_not():
    output, _ = (process := run_node("-p", "executor:=fast")).communicate(timeout=60)
    assert process.returncode == 1
    assert "parameter 'executor' is 'fast': use auto or events or single_threaded" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_process_survives_listeners_that_come_and_go_while_its_publishers_do(peer, checkpoint):
    """With QoS events for publishers that are gone, rclpy's EventsExecutor dies in a few of these rounds."""
    process = run_node("-p", f"checkpoint:={checkpoint}", "-p", "engine:=torch", "-p", "autostart:=true")
    client = peer.node.create_client(ChangeState, "segment/change_state")
    listener = rclpy.create_node("listener")
    topics = [f"segment/{name}" for name in ("mask", "overlay", "confidence")]
    try:
        peer.wait_for(peer.connected, timeout=60)
        for _ in range(20):
            for transition in ("deactivate", "cleanup", "configure", "activate"):
                future = client.call_async(ChangeState.Request(transition=Transition(label=transition)))
                while not future.done():
                    assert process.poll() is None, process.communicate()[0]
                    heard = [listener.create_subscription(Image, t, print, LATCHED) for t in topics]
                    time.sleep(0.01)
                    for subscription in heard:
                        listener.destroy_subscription(subscription)
                assert future.result().success
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=60)
        listener.destroy_node()
    assert process.returncode == 0, output
    assert "Traceback" not in output
