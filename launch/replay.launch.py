"""Play a bag to the segmentation node with `ros2 bag play`; `--show-args` lists what can be set.

Takes the arguments of segment.launch.py too. `csk replay --live` plays bags where rosbag2 is not installed.
"""

import sys

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import FindPackageShare

_SHARE = FindPackageShare("csk_ros")
_CLOCK_HZ = "100"
# For the node to answer the last image, and the recorder to write the answer.
_SETTLE_S = 3.0
_ARGUMENTS = {
    "bag_eo_topic": ("/eo/image", "topic of the optical images in the bag, without /compressed"),
    "bag_ir_topic": ("/ir/image", "topic of the thermal images in the bag, without /compressed"),
    "rate": ("1.0", "how much faster than recorded the bag is played"),
    "loop": ("false", "play the bag again and again; else everything shuts down when it has ended"),
    "start_offset": ("0.0", "where to begin, in seconds since the bag's start"),
    "clock": ("false", "publish the bag's time on /clock; the node then takes its time from there"),
    "record": ("", "folder of a new bag for masks, confidences, routes and diagnostics; empty: none"),
    "active_timeout": (
        "120.0",
        "how long the node may take to be active before the bag is played, in seconds",
    ),
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, start the node, then play the bag."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="the bag to play (rosbag2: a folder or its file)"),
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in _ARGUMENTS.items()
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value=LaunchConfiguration("clock"),
                description="take time from /clock; default: as clock",
            ),
            IncludeLaunchDescription(PythonLaunchDescriptionSource([_SHARE, "/launch/segment.launch.py"])),
            OpaqueFunction(function=_play_when_active),
        ]
    )


def _play_when_active(context: LaunchContext) -> list[ExecuteProcess | RegisterEventHandler]:
    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    namespace = "/" + value("namespace").strip("/")
    segment = f"{namespace.rstrip('/')}/segment"
    play = ExecuteProcess(cmd=_play_command(value, namespace), name="bag_play", output="screen")
    wait = ExecuteProcess(
        cmd=[sys.executable, "-m", "csk_ros.replay.wait_until_active", segment, value("active_timeout")],
        name="wait_until_active",
        output="screen",
    )
    record = [_record(value("record"), segment)] if value("record") else []
    return [
        *record,
        RegisterEventHandler(OnProcessExit(target_action=wait, on_exit=lambda event, _: _go_on(event, play))),
        RegisterEventHandler(
            OnProcessExit(target_action=play, on_exit=[TimerAction(period=_SETTLE_S, actions=[_end()])])
        ),
        wait,
    ]


def _play_command(value, namespace: str) -> list[str]:  # noqa: ANN001 (a local function)
    remaps, topics = [], []
    for modality in ("eo", "ir"):
        there, here = value(f"bag_{modality}_topic"), value(f"{modality}_topic")
        here = here if here.startswith("/") else f"{namespace.rstrip('/')}/{here}"
        for end in ("", "/compressed"):
            topics.append(f"{there}{end}")
            remaps.append(f"{there}{end}:={here}{end}")
    return [
        *("ros2", "bag", "play", value("bag")),
        *("--rate", value("rate")),
        *("--start-offset", value("start_offset")),
        *(["--loop"] if value("loop").lower() == "true" else []),
        *(["--clock", _CLOCK_HZ] if value("clock").lower() == "true" else []),
        "--disable-keyboard-controls",
        *("--topics", *topics),
        *("--remap", *remaps),
    ]


def _record(folder: str, segment: str) -> ExecuteProcess:
    topics = [f"{segment}/mask", f"{segment}/confidence", f"{segment}/route", "/diagnostics"]
    command = ["ros2", "bag", "record", "--output", folder, "--topics", *topics]
    return ExecuteProcess(cmd=command, name="bag_record", output="screen")


def _go_on(event, play: ExecuteProcess) -> list[ExecuteProcess | EmitEvent]:  # noqa: ANN001 (ProcessExited)
    return [play] if event.returncode == 0 else [_end("the node is not active")]


def _end(reason: str = "the bag has ended") -> EmitEvent:
    return EmitEvent(event=Shutdown(reason=reason))
