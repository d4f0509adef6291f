"""Calibrating a network to 8-bit integers with NNCF."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from csk_ros.inference.errors import SegmenterError
from csk_ros.inference.openvino_bytes import as_input, lay_on_levels, read_bytes
from csk_ros.inference.openvino_library import import_without_reports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_EXACT = ["Subtract", "Divide"]
"""Operations, as OpenVINO names them, that only normalise: never of 8 bits."""


class QuantizeError(SegmenterError):
    """A network cannot be calibrated; says what to do."""


def quantize(model: Any, images: Sequence[Sequence[NDArray[Any]]]) -> Any:
    """An OpenVINO model that reads bytes and computes in 8-bit integers, calibrated on images; takes minutes.

    Post-training quantisation with NNCF's preset ``mixed``: weights symmetric, activations as they come.

    Args:
        model: what to calibrate, levels in; it is not changed.
        images: the model's inputs in their order, frame by frame: levels of uint8 or float32.

    Returns:
        A model that takes bytes as far as :func:`csk_ros.inference.openvino_bytes.read_bytes` can.

    Raises:
        QuantizeError: if nncf is missing or cannot do it.
    """
    try:
        nncf = import_without_reports("nncf")
    except ImportError as error:
        raise QuantizeError(f"int8 needs nncf ({error}): pip install 'csk_ros[export]'") from error
    nncf.set_log_level(logging.ERROR)
    model = read_bytes(model)
    dtypes = [given.get_element_type().to_dtype() for given in model.inputs]
    frames = [
        [as_input(levels, dtype).astype(dtype) for levels, dtype in zip(frame, dtypes, strict=True)]
        for frame in images
    ]
    try:
        quantized = nncf.quantize(
            model,
            nncf.Dataset(frames),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            # measured on the shipped weights: the fast one costs thermal alone 1 to 1.6 points of mIoU
            fast_bias_correction=False,
            ignored_scope=nncf.IgnoredScope(types=_EXACT, validate=False),
        )
    except Exception as error:  # its errors have no common class
        raise QuantizeError(
            f"nncf {nncf.__version__} cannot calibrate this: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    lay_on_levels(quantized)
    return quantized
