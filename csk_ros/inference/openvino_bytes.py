"""OpenVINO graphs of int8 that read camera bytes: no float image is made on the way to the first filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from csk_ros.inference.graph import LEVELS
from csk_ros.inference.openvino_library import import_openvino, openvino_ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_SHIFTS = ("Add", "Subtract")


def read_bytes(model: Any) -> Any:
    """A route's model with inputs of bytes in place of float levels, to be calibrated next.

    The standard deviation moves into the first filters, and what the mean is off a whole level into the
    bias; filters of a repeated thermal image are summed. It is the same function but for that part of a level
    in what pads the image. Inputs that do not go straight to a convolution stay as they are.

    Args:
        model: levels in, as :func:`csk_ros.inference.openvino_graph.trace_openvino` makes it; not changed.
    """
    return _with_inputs(model, _read_bytes)


def lay_on_levels(model: Any) -> None:
    """Give the first quantisers the 256 levels of a byte as their steps: they take a byte as it is.

    Args:
        model: what :func:`read_bytes` gave, calibrated; it is changed.
    """
    for given in model.get_parameters():
        if path := _quantised_path(given):
            _, _, shift, quantiser, _ = path
            for index, bound in enumerate((_added(shift), _added(shift) + LEVELS) * 2, start=1):
                quantiser.input(index).replace_source_output(_constant(bound).output(0))


def pack_pixels(model: Any) -> Any:
    """Pixels beside each other, as many as the first convolution's stride, become channels of one.

    The bytes stay where they are, the filters are laid out otherwise, and the sums are the same. A filter
    of one channel uses a quarter of an instruction that multiplies by fours; benchmarks/packing.py.

    Args:
        model: of one size, calibrated; not changed. Inputs that :func:`lay_on_levels` has not prepared, or
            whose width the stride does not divide, stay as they are.
    """
    return _with_inputs(model, _pack)


def pack_filters(
    filters: NDArray[np.int8], stride: int, begin: int
) -> tuple[NDArray[np.int8], tuple[int, int]]:
    """The filters of :func:`pack_pixels`.

    Args:
        filters: (O, C, h, w).
        stride: across, in pixels.
        begin: how many pixels left of the image they begin.

    Returns:
        Filters (O, stride * C, h, n), and by how many of the wider pixels the image is padded left and right.
    """
    outputs, channels, height, width = filters.shape
    first, last = (-begin // stride, (width - 1 - begin) // stride)
    packed = np.zeros((outputs, stride, channels, height, last - first + 1), filters.dtype)
    for tap in range(width):
        place, lane = divmod(tap - begin, stride)
        packed[:, lane, :, :, place - first] = filters[..., tap]
    return packed.reshape(outputs, stride * channels, height, -1), (-first, last)


def as_input(levels: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Levels that can be stored as ``dtype``, a model's input: bytes are whole levels."""
    return np.rint(levels) if dtype == np.uint8 != levels.dtype else levels


def _read_bytes(given: Any) -> Any:
    path = _path(given)
    names = [each.get_type_name() for each in path]
    if names not in (
        ["Transpose", shift, "Divide", *repeated, "Convolution"]
        for shift in _SHIFTS
        for repeated in ([], ["Broadcast"])
    ):
        return None
    transpose, shift, divide, conv = path[0], path[1], path[2], path[-1]
    filters = _value(conv, 1)
    if "Broadcast" in names:
        filters = filters.sum(axis=1, keepdims=True)
    filters = filters / _value(divide, 1)
    added = _added(shift)
    whole = np.rint(added)
    image = _parameter(given, list(given.get_output_shape(0)))
    planes = openvino_ops().transpose(openvino_ops().convert(image, "f32"), transpose.input_value(1))
    read = _convolution(conv, openvino_ops().add(planes, _constant(whole)), _constant(filters))
    bias = (filters * (added - whole)).sum(axis=(1, 2, 3)).reshape(1, -1, 1, 1)
    _replace_with_bias(conv, read, bias)
    return image


def _replace_with_bias(conv: Any, other: Any, bias: NDArray[np.float32]) -> None:
    """NNCF knows one addition after a convolution as its bias."""
    (add, *more) = _readers(conv)
    if (
        add.get_type_name() == "Add"
        and not more
        and add.input_value(1).get_node().get_type_name() == "Constant"
    ):
        bias = bias + _value(add, 1)
        conv = add
    conv.output(0).replace(openvino_ops().add(other, _constant(bias)).output(0))


def _pack(given: Any) -> Any:
    path = _quantised_path(given)
    if not path:
        return None
    _, transpose, shift, quantiser, conv = path
    _, height, width, channels = given.get_output_shape(0)
    stride = conv.get_attributes()["strides"][1]
    integers = _integers(conv)
    if integers is None or stride == 1 or width % stride:
        return None
    filters, pads = pack_filters(integers, stride, conv.get_attributes()["pads_begin"][1])
    image = _parameter(given, [1, height, width // stride, stride * channels])
    planes = openvino_ops().transpose(openvino_ops().convert(image, "f32"), transpose.input_value(1))
    each = (1, stride, 1, 1)
    shifted = openvino_ops().add(planes, _constant(np.tile(_added(shift), each)))
    bounds = [_constant(np.tile(_value(quantiser, index), each)) for index in range(1, 5)]
    levels = openvino_ops().fake_quantize(shifted, *bounds, LEVELS + 1)
    scale = conv.input_value(1).get_node().input_value(1)
    scaled = openvino_ops().multiply(openvino_ops().convert(openvino_ops().constant(filters), "f32"), scale)
    conv.output(0).replace(_convolution(conv, levels, scaled, across=pads).output(0))
    return image


def _integers(conv: Any) -> NDArray[np.int8] | None:
    """A convolution's filters as a saved model holds them: of 8 bits, made floats and scaled."""
    chain = [conv.input_value(1).get_node()]
    while chain[-1].inputs():
        chain.append(chain[-1].input_value(0).get_node())
    saved = [each.get_type_name() for each in chain] == ["Multiply", "Convert", "Constant"]
    return chain[-1].get_data() if saved else None


def _with_inputs(model: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of a model whose parameters are those that ``change`` gives in their place, or themselves."""
    model = model.clone()
    parameters = [change(given) or given for given in model.get_parameters()]
    return import_openvino().Model(model.get_results(), parameters)


def _path(given: Any) -> list[Any]:
    """What an input goes through, one after the other and nowhere else, up to the first convolution."""
    path: list[Any] = []
    node = given
    while node.get_type_name() != "Convolution":
        readers = _readers(node)
        if len(readers) != 1:
            return []
        node = readers[0]
        path.append(node)
    return path


def _quantised_path(given: Any) -> list[Any]:
    """The path of bytes that were calibrated, if it is one."""
    path = _path(given)
    names = [each.get_type_name() for each in path]
    wanted = (["Convert", "Transpose", shift, "FakeQuantize", "Convolution"] for shift in _SHIFTS)
    return path if names in wanted else []


def _convolution(like: Any, data: Any, filters: Any, across: tuple[int, int] | None = None) -> Any:
    """A convolution with the strides and pads of another; or step for step across, with pads of its own."""
    known = like.get_attributes()
    strides, begin, end = (list(known[name]) for name in ("strides", "pads_begin", "pads_end"))
    if across:
        strides[1], begin[1], end[1] = 1, *across
    return openvino_ops().convolution(data, filters, strides, begin, end, known["dilations"])


def _parameter(like: Any, shape: list[int]) -> Any:
    return openvino_ops().parameter(shape, np.uint8, like.get_friendly_name())


def _readers(node: Any) -> list[Any]:
    return [port.get_node() for port in node.output(0).get_target_inputs()]


def _added(shift: Any) -> NDArray[np.float32]:
    """What a shift adds."""
    return _value(shift, 1) if shift.get_type_name() == "Add" else -_value(shift, 1)


def _value(node: Any, index: int) -> NDArray[Any]:
    value: NDArray[Any] = node.input_value(index).get_node().get_data()
    return value


def _constant(value: NDArray[Any]) -> Any:
    return openvino_ops().constant(np.asarray(value, np.float32))
