from __future__ import annotations

import importlib.util

import pytest

from csk_ros.share import share_path

launch = pytest.importorskip("launch", reason="ROS 2's launch is not installed (it has no wheel)")
pytest.importorskip("launch_ros", reason="launch_ros is not installed (it has no wheel)")


def load(name):
    spec = importlib.util.spec_from_file_location(name, share_path(f"launch/{name}.launch.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declared(name):
    """The arguments that a launch file declares itself, by name."""
    entities = load(name).generate_launch_description().entities
    arguments = [entity for entity in entities if isinstance(entity, launch.actions.DeclareLaunchArgument)]
    return {argument.name: argument for argument in arguments}


def test_every_argument_of_segment_has_a_description_and_a_default():
    arguments = declared("segment")
    assert {"checkpoint", "eo_topic", "ir_topic", "device", "params_file", "autostart"} <= set(arguments)
    assert all(argument.description and argument.default_value is not None for argument in arguments.values())


def test_replay_needs_a_bag_and_nothing_else():
    arguments = declared("replay")
    assert {"rate", "loop", "start_offset", "clock", "record"} <= set(arguments)
    assert [name for name, argument in arguments.items() if argument.default_value is None] == ["bag"]
    assert all(argument.description for argument in arguments.values())


def play_command(namespace="/", **changes):
    values = {
        "bag": "drive",
        "rate": "1.0",
        "start_offset": "0.0",
        "loop": "false",
        "clock": "false",
        "bag_eo_topic": "/rgb/image_raw",
        "bag_ir_topic": "/thermal",
        "eo_topic": "eo/image",
        "ir_topic": "/lwir",
    }
    return load("replay")._play_command((values | changes).__getitem__, namespace)


def test_a_bag_is_played_to_the_topics_that_the_node_reads():
    command = play_command("/front")
    assert command[:4] == ["ros2", "bag", "play", "drive"]
    remaps = command[command.index("--remap") + 1 :]
    assert remaps == [
        "/rgb/image_raw:=/front/eo/image",
        "/rgb/image_raw/compressed:=/front/eo/image/compressed",
        "/thermal:=/lwir",
        "/thermal/compressed:=/lwir/compressed",
    ]
    topics = command[command.index("--topics") + 1 : command.index("--remap")]
    assert topics == [remap.split(":=")[0] for remap in remaps]


@pytest.mark.parametrize(("name", "flag"), [("loop", "--loop"), ("clock", "--clock")])
def test_what_is_asked_for_is_passed_on(name, flag):
    assert flag not in play_command()
    assert flag in play_command(**{name: "True"})
