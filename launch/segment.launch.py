"""Start the segmentation node: `ros2 launch csk_ros segment.launch.py --show-args` lists what can be set."""

import os

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

_SHARE = FindPackageShare("csk_ros")
_PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
_FROM_PARAMS_FILE = {
    "checkpoint": "checkpoint (*.safetensors)",
    "engine": "what runs the network: auto, torch, openvino, onnxruntime or tensorrt",
    "device": "where it runs: auto, cpu, cuda, cuda:1, xpu, ...",
    "eo_transport": "raw or compressed (eo_topic/compressed)",
    "ir_transport": "raw or compressed (ir_topic/compressed)",
}
_OTHERS = {
    "params_file": ([_SHARE, "/config/segment.yaml"], "YAML file with the node's parameters"),
    "eo_topic": ("eo/image", "topic of the optical camera's images"),
    "ir_topic": ("ir/image", "topic of the thermal camera's images"),
    "namespace": ("", "namespace of the node; one per camera pair"),
    "autostart": ("true", "configure and activate at once; false leaves that to a lifecycle manager"),
    "use_sim_time": ("false", "take time from /clock"),
    "respawn": ("true", "start the node again if its process dies"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node."""
    arguments = [
        DeclareLaunchArgument(name, default_value="", description=f"{text}; empty: as in params_file")
        for name, text in _FROM_PARAMS_FILE.items()
    ]
    arguments += [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in _OTHERS.items()
    ]
    # The default shared-memory segment of Fast DDS is too small for images (docs/architecture.md).
    profile = (
        []
        if _PROFILE_VARIABLE in os.environ
        else [SetEnvironmentVariable(_PROFILE_VARIABLE, [_SHARE, "/config/fastdds.xml"])]
    )
    return LaunchDescription([*arguments, *profile, OpaqueFunction(function=_segment_node)])


def _segment_node(context: LaunchContext) -> list[Node]:
    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    given = {name: value(name) for name in _FROM_PARAMS_FILE if value(name)}
    switches = {name: value(name).lower() == "true" for name in ("autostart", "use_sim_time")}
    remappings = []
    for modality in ("eo", "ir"):
        topic = value(f"{modality}_topic")
        remappings += [(f"{modality}/image{end}", f"{topic}{end}") for end in ("", "/compressed")]
    return [
        Node(
            package="csk_ros",
            executable="segment_node",
            name="segment",
            namespace=value("namespace"),
            parameters=[value("params_file"), given | switches],
            remappings=remappings,
            arguments=["--ros-args", "--log-level", f"segment:={value('log_level')}"],
            respawn=value("respawn").lower() == "true",
            respawn_delay=1.0,
            output="screen",
        )
    ]
