"""The node's parameters: one table with type, default, range and meaning of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

from csk_ros.messages import MAX_PIXELS
from csk_ros.perception import PerceptionSettings
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rclpy.node import Node
    from rclpy.parameter import Parameter


class ParameterError(ValueError):
    """A parameter that the node does not have, or a value that it cannot take; says which and why."""


EXECUTORS = ("auto", "events", "single_threaded")

_AT_START, _AT_CONFIGURE, _LIVE = "start", "configure", "live"


class _Parameter(NamedTuple):
    default: bool | int | float | str
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    when: str = _AT_CONFIGURE


_TABLE = {
    "autostart": _Parameter(
        default=False, description="Configure and activate by itself at start.", when=_AT_START
    ),
    "executor": _Parameter(
        "auto",
        "What runs the node's callbacks in rclpy: auto, events or single_threaded; auto: events where rclpy "
        "has it (7.1.4).",
        choices=EXECUTORS,
        when=_AT_START,
    ),
    "checkpoint": _Parameter(
        "", "Path of the checkpoint (*.safetensors); empty: the one that comes with csk_ros."
    ),
    "engine": _Parameter(
        "auto",
        "What runs the network: auto, torch, openvino, onnxruntime or tensorrt; auto: openvino on a CPU if "
        "it is installed, else torch.",
    ),
    "precision": _Parameter(
        "auto",
        "What it computes in: auto, float32, or what the engine offers beside, such as bfloat16 and int8; "
        "auto: int8 with openvino where the weights are calibrated and the CPU is fast in it, else float32.",
    ),
    "device": _Parameter(
        "auto",
        "Where it runs, as torch names devices (cpu, cuda, cuda:1, xpu: an Intel GPU with openvino); auto: a "
        "CUDA device if any, else the CPU.",
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
    "slop": _Parameter(
        0.05, "Greatest stamp difference of an EO and an IR frame of a pair, s.", 0.0, 10.0, when=_LIVE
    ),
    "eo_time_offset": _Parameter(0.0, "Added to EO stamps before pairing, s.", -10.0, 10.0, when=_LIVE),
    "max_wait": _Parameter(
        0.1, "Longest that an IR frame waits for its EO frame while EO lives, s.", 0.0, 10.0, when=_LIVE
    ),
    "first_timeout": _Parameter(
        1.0,
        "A stream is lost if no frame comes for so long before its rate is known, s; a camera of 1 Hz or "
        "less needs more than its period.",
        0.1,
        60.0,
        when=_LIVE,
    ),
    "return_frames": _Parameter(
        2, "EO frames in rhythm before a lost EO counts as back.", 1, 1000, when=_LIVE
    ),
    "eo_frozen_frames": _Parameter(
        5,
        "EO is frozen after so many frames in a row that repeat the one before; 0: never (for a simulator, "
        "whose standing scene repeats exactly).",
        0,
        1000,
        when=_LIVE,
    ),
    "ir_frozen_frames": _Parameter(
        8,
        "The same for IR; more than a driver repeats each frame of its sensor; 0: never (for a simulator).",
        0,
        1000,
        when=_LIVE,
    ),
    "eo_dark": _Parameter(
        16,
        "EO is black if 99 % of its pixels are at this level of 255 or below; 0: never.",
        0,
        255,
        when=_LIVE,
    ),
    "eo_bright": _Parameter(
        245,
        "EO is blown out if 95 % of its pixels are at this level of 255 or above; 0: never.",
        0,
        255,
        when=_LIVE,
    ),
    "eo_flat": _Parameter(
        8,
        "EO is without contrast if so few levels of 255 separate 5 % and 99 % of its pixels; 0: never.",
        0,
        255,
        when=_LIVE,
    ),
    "ir_flat": _Parameter(
        4,
        "The same for IR, in levels as the camera counts them (8 or 16 bit); 0: never.",
        0,
        65535,
        when=_LIVE,
    ),
    "bad_frames": _Parameter(
        3,
        "So many black, blown out, flat or unreadable frames in a row make a stream unusable; 0: never.",
        0,
        1000,
        when=_LIVE,
    ),
    "good_frames": _Parameter(
        3, "So many good frames make an unusable stream usable again.", 1, 1000, when=_LIVE
    ),
    "route": _Parameter(
        "auto",
        "auto, or the only route to use; fused drops frames without a pair.",
        choices=("auto", "fused", "ir_only", "eo_only"),
        when=_LIVE,
    ),
    "confidence": _Parameter(default=True, description="Publish ~/confidence while somebody listens."),
    "overlay_opacity": _Parameter(0.5, "Opacity of the classes on ~/overlay.", 0.0, 1.0, when=_LIVE),
    "engine_failures": _Parameter(
        3, "Frames in a row that the engine fails on before the node gives it up.", 1, 1000
    ),
    "engine_timeout": _Parameter(
        10.0,
        "Longest that the engine takes for a frame before the node gives it up, s.",
        0.1,
        3600.0,
        when=_LIVE,
    ),
    "auto_recover": _Parameter(
        default=True,
        description="Configure and activate again by itself after the engine was given up.",
        when=_LIVE,
    ),
    "diagnostics_period": _Parameter(
        1.0, "Time between two messages on /diagnostics, s.", 0.1, 60.0, when=_LIVE
    ),
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

    def guard(
        self,
        *,
        fixed: Callable[[], bool],
        check: Callable[[Mapping[str, Any]], None],
        changed: Callable[[], None],
    ) -> None:
        """Refuse changes that cannot be, and tell of those that were made.

        Args:
            fixed: whether what is read at configure is in use.
            check: called with values by name before they are set; raises ValueError to refuse them.
            changed: called after values were set.
        """

        def refuse_or_not(parameters: Sequence[Parameter]) -> SetParametersResult:
            try:
                for parameter in parameters:
                    _check_change(parameter.name, parameter.value, fixed=fixed())
                check({parameter.name: parameter.value for parameter in parameters})
            except ValueError as error:
                return SetParametersResult(successful=False, reason=str(error))
            return SetParametersResult(successful=True)

        self._node.add_on_set_parameters_callback(refuse_or_not)
        self._node.add_post_set_parameters_callback(lambda _: changed())

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
        for name in _TABLE:
            _check_choice(name, getattr(self, name))

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

    def perception_settings(self, changes: Mapping[str, Any] | None = None) -> PerceptionSettings:
        """What pairing with fallback goes by, with some values changed.

        Raises:
            ValueError: for values that mean nothing together.
        """
        values = {name: getattr(self, name) for name in _TABLE}
        return PerceptionSettings.from_parameters({**values, **(changes or {})})


def _check_choice(name: str, value: Any) -> None:
    choices = _TABLE[name].choices
    if choices and value not in choices:
        raise ParameterError(f"parameter '{name}' is '{value}': use {' or '.join(choices)}")


def _check_change(name: str, value: Any, *, fixed: bool) -> None:
    if name not in _TABLE:
        return  # rclpy's own, as use_sim_time
    _check_choice(name, value)
    if fixed and _TABLE[name].when == _AT_CONFIGURE:
        raise ParameterError(
            f"parameter '{name}' is read at configure: deactivate and clean up the node, then set it"
        )


def _descriptor(parameter: _Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=parameter.description, read_only=parameter.when == _AT_START)
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
