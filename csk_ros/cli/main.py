"""The ``csk`` command: finds the subcommand, runs it, and turns expected errors into one line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from csk_ros import __version__
from csk_ros.cli import (
    bag,
    bench,
    compare,
    compare_reports,
    data,
    demo,
    doctor,
    evaluate,
    export,
    replay,
    train,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_COMMANDS: dict[str, ModuleType] = {
    "bag": bag,
    "bench": bench,
    "compare": compare,
    "compare-reports": compare_reports,
    "data": data,
    "demo": demo,
    "doctor": doctor,
    "evaluate": evaluate,
    "export": export,
    "replay": replay,
    "train": train,
}

_ROS = (
    "rclpy",
    "sensor_msgs",
    "std_msgs",
    "diagnostic_msgs",
    "lifecycle_msgs",
    "rosgraph_msgs",
    "std_srvs",
)
# Which extra of the package brings a module; these are imported by subcommands only.
_EXTRAS = {
    "replay": ("rosbags", "apsw", "mcap", "lz4", "zstandard", "matplotlib", "jinja2", "tqdm"),
    "train": ("lightning", "tensorboard"),
    "evaluate": ("matplotlib", "tqdm"),
    "export": ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf"),
    "ros": _ROS,
    "bench": ("tqdm", "matplotlib", *_ROS),
}
TRACEBACK_VARIABLE = "CSK_TRACEBACK"


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``csk``.

    Args:
        argv: arguments after the program's name; None takes those of the process.

    Returns:
        The exit code: the command's own or 0, 1 after an expected error, 130 after Ctrl-C. Wrong
        arguments exit with 2.
    """
    arguments = _parser().parse_args(argv)
    command = _COMMANDS[arguments.command]
    try:
        code: int | None = command.run(arguments[arguments.command])
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except Exception as error:
        text = _explain(error, arguments.command)
        if text is None or os.environ.get(TRACEBACK_VARIABLE):
            raise
        return _complain(f"error: {text}", 1)
    return code or 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="csk",
        description="RGB-thermal semantic segmentation for ROS 2, with fallback to thermal alone.",
        epilog=f"Errors are one line; set {TRACEBACK_VARIABLE}=1 to see where they come from.",
        version=f"csk_ros {__version__}",
    )
    commands = parser.add_subcommands(dest="command", metavar="COMMAND")
    for name, module in _COMMANDS.items():
        module.register(commands, name)
    return parser


def _explain(error: Exception, command: str) -> str | None:
    """The line for an error that a user can act on; None for a bug, which deserves its traceback."""
    if isinstance(error, ModuleNotFoundError):
        return _explain_missing(error, command)
    if isinstance(error, OSError | ValueError) or type(error).__module__.startswith("csk_ros."):
        return " ".join(str(error).split())
    return None


def _explain_missing(error: ModuleNotFoundError, command: str) -> str | None:
    module = (error.name or "").partition(".")[0]
    for extra in sorted(_EXTRAS, key=lambda extra: extra != command):  # a command's own extra first
        if module in _EXTRAS[extra]:
            return f"this command needs {module}, which is not installed: pip install 'csk_ros[{extra}]'"
    return None


def _complain(text: str, code: int) -> int:
    print(f"csk: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
