"""The node's parameters: one table with type, default, range and meaning of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

from csk_ros.messages import MAX_PIXELS
from csk_ros.modality import Route
from csk_ros.perception import PerceptionSettings
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if TYPE_CHECKING:
    from rclpy.node import Node

_SECOND = 1_000_000_000


class ParameterError(ValueError):
    """A parameter that the node does not have, or a value that it cannot take; says which and why."""


class _Parameter(NamedTuple):
    default: bool | int | float | str
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


_TABLE = {
    "autostart": _Parameter(default=False, description="Configure and activate by itself at start."),
    "checkpoint": _Parameter(
        "", "Path of the checkpoint (*.safetensors); empty: the one that comes with csk_ros."
    ),
    "engine": _Parameter(
        "auto",
        "What runs the network: auto, torch or openvino; auto: openvino on a CPU if installed, else torch.",
    ),
    "device": _Parameter(
        "auto", "Where it runs, as torch names devices (cpu, cuda, cuda:1); auto: a GPU if any."
    ),
    "threads": _Parameter(0, "CPU threads of the network; 0: what suits the engine and the machine.", 0, 256),
    "height": _Parameter(
        0, "Height in pixels that images are resized to for the network; 0: as they come.", 0, 8192
    ),
    "width": _Parameter(
        0, "Width in pixels that images are resized to for the network; 0: as they come.", 0, 8192
    ),
    "eo_transport": _Parameter(
        "raw", "raw reads eo/image, compressed reads eo/image/compressed.", choices=("raw", "compressed")
    ),
    "ir_transport": _Parameter(
        "raw", "raw reads ir/image, compressed reads ir/image/compressed.", choices=("raw", "compressed")
    ),
    "max_pixels": _Parameter(
        8_847_360, "Largest image that is taken, height times width; larger ones are refused.", 1, MAX_PIXELS
    ),
    "slop": _Parameter(0.05, "Greatest stamp difference of an EO and an IR frame of a pair, s.", 0.0, 10.0),
    "eo_time_offset": _Parameter(0.0, "Added to EO stamps before pairing, s.", -10.0, 10.0),
    "max_wait": _Parameter(
        0.1, "Longest that an IR frame waits for its EO frame while EO lives, s.", 0.0, 10.0
    ),
    "return_frames": _Parameter(2, "EO frames in rhythm before a lost EO counts as back.", 1, 1000),
    "route": _Parameter(
        "auto",
        "auto, or the only route to use; fused drops frames without a pair.",
        choices=("auto", "fused", "ir_only", "eo_only"),
    ),
    "confidence": _Parameter(default=True, description="Publish ~/confidence."),
    "overlay_opacity": _Parameter(0.5, "Opacity of the classes on ~/overlay.", 0.0, 1.0),
}


class NodeParameters:
    """Declares the table on a node and reads it; an attribute per parameter.

    Raises:
        ParameterError: if an override has the wrong type or lies outside its range.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        for name, parameter in _TABLE.items():
            try:
                node.declare_parameter(name, parameter.default, _descriptor(parameter))
            except (InvalidParameterTypeException, InvalidParameterValueException) as error:
                raise ParameterError(f"parameter '{name}': {error}") from error

    def __getattr__(self, name: str) -> Any:
        """The present value of a parameter of the table."""
        if name not in _TABLE:
            raise AttributeError(name)
        return self._node.get_parameter(name).value

    def check(self) -> None:
        """Refuse overrides that name no parameter, and strings outside their choices.

        Raises:
            ParameterError: naming the parameter and what there is.
        """
        # ROS ignores an override that nothing declares; a misspelt parameter would silently do nothing.
        overrides = self._node._parameter_overrides  # noqa: SLF001 (rclpy offers no public way)
        known = (*_TABLE, "use_sim_time", "start_type_description_service")
        unknown = [name for name in overrides if name not in known and not name.startswith("qos_overrides.")]
        if unknown:
            raise ParameterError(f"unknown parameter {', '.join(unknown)}: there are {', '.join(_TABLE)}")
        for name, parameter in _TABLE.items():
            value = getattr(self, name)
            if parameter.choices and value not in parameter.choices:
                raise ParameterError(f"parameter '{name}' is '{value}': use {' or '.join(parameter.choices)}")

    def overrides_qos_of(self, topic: str) -> bool:
        """Whether the user gave ``qos_overrides`` for the subscription of a topic (resolved name)."""
        prefix = f"qos_overrides.{topic}.subscription."
        return any(name.startswith(prefix) for name in self._node._parameter_overrides)  # noqa: SLF001 (as above)

    def checkpoint_path(self) -> str:
        """The checkpoint to load.

        Raises:
            FileNotFoundError: if none is named and none comes with the package.
        """
        return self.checkpoint or str(share_path(DEFAULT_CHECKPOINT))

    def perception_settings(self) -> PerceptionSettings:
        """What pairing with fallback goes by."""
        return PerceptionSettings(
            slop_ns=int(self.slop * _SECOND),
            eo_offset_ns=int(self.eo_time_offset * _SECOND),
            max_wait_ns=int(self.max_wait * _SECOND),
            return_frames=self.return_frames,
            route=None if self.route == "auto" else Route[self.route.upper()],
        )


def _descriptor(parameter: _Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=parameter.description)
    if parameter.choices:
        descriptor.additional_constraints = f"one of {', '.join(parameter.choices)}"
    elif parameter.low is not None and isinstance(parameter.default, int):
        descriptor.integer_range = [
            IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high or 0))
        ]
    elif parameter.low is not None:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=parameter.low, to_value=float(parameter.high or 0))
        ]
    return descriptor
