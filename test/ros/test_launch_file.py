from __future__ import annotations

import importlib.util

import pytest

from csk_ros.share import share_path

launch = pytest.importorskip("launch", reason="ROS 2's launch is not installed (it has no wheel)")
pytest.importorskip("launch_ros", reason="launch_ros is not installed (it has no wheel)")


@pytest.fixture(scope="module")
def description():
    spec = importlib.util.spec_from_file_location("segment_launch", share_path("launch/segment.launch.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def test_every_argument_has_a_description_and_a_default(description):
    arguments = description.get_launch_arguments()
    assert {"checkpoint", "eo_topic", "ir_topic", "device", "params_file", "autostart"} <= {
        argument.name for argument in arguments
    }
    assert all(argument.description and argument.default_value is not None for argument in arguments)
