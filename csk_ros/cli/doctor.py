"""``csk doctor``: what is wrong with this installation, its cameras and its middleware, and the cure."""

from __future__ import annotations

import shutil
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

_WIDTHS = (60, 100)
_PARAMETERS = ("checkpoint", "engine", "device", "eo_transport", "ir_transport")


def register(commands: Any, name: str) -> None:
    """Add ``csk doctor`` to the commands."""
    text = "find out why the node does not work, and how to cure it"
    doctor = ArgumentParser(
        description="Check ROS, transport, cameras, clocks, checkpoint, engine and CPU as the node would use "
        "them, and print what is wrong with its cure. Run it in the shell that starts the node, while the "
        "cameras run. Ends with exit code 1 if there are errors.",
    )
    doctor.add_argument("--eo-topic", metavar="TOPIC", type=str, default="eo/image", help="optical images")
    doctor.add_argument("--ir-topic", metavar="TOPIC", type=str, default="ir/image", help="thermal images")
    doctor.add_argument("--namespace", metavar="NAME", type=str, default="", help="namespace of the node")
    doctor.add_argument(
        "--params-file", metavar="FILE", type=str, default="", help="YAML file with the node's parameters"
    )
    doctor.add_argument("--checkpoint", metavar="FILE", type=str | None, default=None, help="*.safetensors")
    doctor.add_argument(
        "--engine", type=str | None, default=None, help="auto, torch, openvino, onnxruntime or tensorrt"
    )
    doctor.add_argument("--device", type=str | None, default=None, help="auto, cpu, cuda, cuda:N or xpu")
    for modality in ("eo", "ir"):
        doctor.add_argument(
            f"--{modality}-transport",
            type=Literal["raw", "compressed"] | None,
            default=None,
            help=f"raw reads {modality.upper()}_TOPIC, compressed reads {modality.upper()}_TOPIC/compressed",
        )
    doctor.add_argument("--seconds", type=float, default=5.0, help="how long to listen, 0.5 to 60")
    doctor.add_argument(
        "--skip", metavar="PARTS", type=str, default="", help="some of ros,streams,transport,engine"
    )
    doctor.add_argument("--json", action="store_true", help="print the report as JSON (docs/doctor.md)")
    commands.add_subcommand(name, doctor, help=text)


def run(arguments: Namespace) -> int:
    """Run ``csk doctor``; returns the exit code."""
    from csk_ros.ros.doctor import Options, diagnose

    given = {name: arguments[name] for name in _PARAMETERS if arguments[name] is not None}
    options = Options(
        eo_topic=arguments.eo_topic,
        ir_topic=arguments.ir_topic,
        namespace=arguments.namespace,
        seconds=arguments.seconds,
        params_file=arguments.params_file,
        parameters=given,
        skip=frozenset(filter(None, arguments.skip.split(","))),
    )
    report = diagnose(options)
    low, high = _WIDTHS
    print(
        report.json()
        if arguments.json
        else report.text(min(high, max(low, shutil.get_terminal_size().columns)))
    )
    return report.exit_code
