"""OpenVINO's graphs: traced from torch, put together, for another size, written."""

from __future__ import annotations

import importlib
import warnings
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from csk_ros.inference.openvino_library import import_openvino, openvino_ops

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL_FILE = "model.xml"


def trace_openvino(module: torch.nn.Module, examples: tuple[torch.Tensor, ...]) -> Any:
    """A torch module as an OpenVINO model for inputs of just these shapes; takes seconds.

    What depends on the shapes alone is computed here: NNCF leaves a convolution as it is whose filters are
    no constant.
    """
    with warnings.catch_warnings(), torch.no_grad(), _one_torch_thread():
        # A trace holds for this one shape, as it should; torch.export takes far longer.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]  # it is public
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(module, examples, check_trace=False)  # type: ignore[no-untyped-call]  # torch's
        shapes = [list(example.shape) for example in examples]
        model = import_openvino().convert_model(traced, example_input=examples, input=shapes)
    passes = importlib.import_module("openvino.passes")
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)
    return model


def chain_openvino(*models: Any) -> Any:
    """One model of several, each fed with what the one before gives or its bytes; they are not changed."""
    parts = [model.clone() for model in models]
    for before, after in pairwise(parts):
        for parameter, result in zip(after.get_parameters(), before.get_results(), strict=True):
            parameter.output(0).replace(_fitted(result.input_value(0), parameter))
    return import_openvino().Model(parts[-1].get_results(), parts[0].get_parameters())


def _fitted(given: Any, parameter: Any) -> Any:
    """What one model gives, as another's input."""
    wanted = parameter.get_element_type()
    if given.get_element_type() == wanted:
        return given
    ops = openvino_ops()
    return ops.convert(ops.round(given, "half_to_even"), wanted.to_dtype()).output(0)


def reshape_openvino(model: Any, size: tuple[int, int]) -> Any:
    """A route's model for images of another height and width; what it was is not changed.

    Sizes inside follow by themselves but for :class:`csk_ros.network.same_padding.PadFreeSameConv2d`: on an
    odd side its filter, of which the first row is zero, begins a pixel earlier.

    Args:
        model: bytes or levels in, logits out, made for multiples of :data:`csk_ros.inference.graph.MULTIPLE`.
        size: height and width.
    """
    model = model.clone()
    model.reshape({given: [1, *size, int(given.shape[3])] for given in model.inputs})
    # all of one stage before the next, whose sizes depend on it
    while stage := _first_stage_off(model):
        for conv, begin in stage:
            conv.set_attribute("pads_begin", begin)
        model.validate_nodes_and_infer_types()
    return model


def _first_stage_off(model: Any) -> list[tuple[Any, list[int]]]:
    """The largest strided convolutions that do not begin where they should, and where that is."""
    off: dict[int, list[tuple[Any, list[int]]]] = {}
    for conv in model.get_ordered_ops():
        if "Convolution" not in conv.get_type_name() or list(conv.input(1).get_shape())[-2:] != [4, 4]:
            continue
        sides = [int(side) for side in conv.input(0).get_shape()[2:]]
        begin = [1 + side % 2 for side in sides]
        if list(conv.get_attributes()["pads_begin"]) != begin:
            off.setdefault(max(sides), []).append((conv, begin))
    return off[max(off)] if off else []


def save_openvino(model: Any, folder: Path) -> None:
    """Write a model's two files into a folder, with its weights as they are."""
    import_openvino().save_model(model, folder / MODEL_FILE, compress_to_fp16=False)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Torch's threads wait for each other: where other processes hold the cores, two are slower than one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
