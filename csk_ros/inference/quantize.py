"""Calibrating a network to 8-bit integers with NNCF."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from csk_ros.inference.engines.openvino_engine import import_without_reports
from csk_ros.inference.errors import SegmenterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_EXACT = ["Maximum", "Greater", "Select", "Exp", "Subtract", "Divide", "Round", "Max", "Where", "Sub", "Div"]
"""Operations, as OpenVINO and ONNX name them, that only normalise and take the arg-max: never of 8 bits."""


class QuantizeError(SegmenterError):
    """A network cannot be calibrated; says what to do."""


def quantize(model: Any, images: Sequence[Iterable[NDArray[Any]]], names: Sequence[str | int]) -> Any:
    """A model whose convolutions compute in 8-bit integers, calibrated on images; takes a minute.

    Post-training quantisation with NNCF's preset ``mixed``: weights symmetric, activations as they come.

    Args:
        model: an OpenVINO model or an ONNX ``ModelProto``; it is not changed.
        images: the model's inputs, frame by frame.
        names: of the inputs, in their order.

    Raises:
        QuantizeError: if nncf is missing or cannot do it.
    """
    try:
        nncf = import_without_reports("nncf")
    except ImportError as error:
        raise QuantizeError(f"int8 needs nncf ({error}): pip install 'csk_ros[export]'") from error
    nncf.set_log_level(logging.ERROR)
    frames = [dict(zip(names, frame, strict=True)) for frame in images]
    try:
        return nncf.quantize(
            model.clone() if hasattr(model, "clone") else model,
            nncf.Dataset(frames),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(frames),
            # measured on the shipped weights: the fast one costs thermal alone 1 to 1.6 points of mIoU
            fast_bias_correction=False,
            # ONNX Runtime refuses convolutions with a zero point for each channel
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_quantization_params=nncf.quantization.advanced_parameters.QuantizationParameters(
                    per_channel=False
                )
            ),
            ignored_scope=nncf.IgnoredScope(types=_EXACT, validate=False),
        )
    except Exception as error:  # its errors have no common class
        raise QuantizeError(
            f"nncf {nncf.__version__} cannot calibrate this: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
