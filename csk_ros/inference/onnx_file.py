"""Torch modules as ONNX."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from csk_ros.inference.errors import SegmenterError

if TYPE_CHECKING:
    from collections.abc import Sequence

OPSET = 20


class OnnxError(SegmenterError):
    """A network cannot be written as ONNX; says why."""


def write_onnx(
    module: torch.nn.Module,
    examples: Sequence[torch.Tensor],
    outputs: Sequence[str],
    *,
    inputs: Sequence[str] | None = None,
    dynamic_shapes: Any = None,
) -> bytes:
    """A module as the content of an ``.onnx`` file, its weights included; takes seconds.

    Args:
        module: in evaluation mode.
        examples: its inputs, of the shapes that the file is to have.
        outputs: names of its outputs.
        inputs: names of its inputs.
        dynamic_shapes: as ``torch.export`` takes them; None for the shapes of the examples alone.

    Raises:
        OnnxError: if a library is missing or torch cannot do it.
    """
    for library in ("onnx", "onnxscript"):  # torch needs both, and says so less clearly
        if find_spec(library) is None:
            raise OnnxError(f"writing ONNX needs {library}: pip install 'csk_ros[onnx]'")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet_torch():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                module.eval(),
                tuple(examples),
                input_names=inputs,
                output_names=list(outputs),
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=dynamic_shapes,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = " ".join(str(error.__cause__ or error).split())[:300]
            raise OnnxError(f"torch {torch.__version__} cannot write this as ONNX: {reason}") from error
    if program is None:
        raise OnnxError(f"torch {torch.__version__} gave no ONNX program")
    content: bytes = program.model_proto.SerializeToString()
    return content


@contextlib.contextmanager
def _quiet_torch() -> Any:
    """Without its warnings of packages that nobody needs here."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
