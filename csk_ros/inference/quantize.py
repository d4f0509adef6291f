"""Calibrating a network to 8-bit integers with NNCF."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from csk_ros.inference.errors import SegmenterError
from csk_ros.inference.openvino_library import import_without_reports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_EXACT = ["Subtract", "Divide"]
"""Operations, as OpenVINO names them, that only normalise: never of 8 bits."""


class QuantizeError(SegmenterError):
    """A network cannot be calibrated; says what to do."""


def quantize(model: Any, images: Sequence[Sequence[NDArray[Any]]]) -> Any:
    """An OpenVINO model whose convolutions compute in 8-bit integers, calibrated on images; takes minutes.

    Post-training quantisation with NNCF's preset ``mixed``: weights symmetric, activations as they come.

    Args:
        model: what to calibrate; it is not changed.
        images: the model's inputs in their order, frame by frame.

    Raises:
        QuantizeError: if nncf is missing or cannot do it.
    """
    try:
        nncf = import_without_reports("nncf")
    except ImportError as error:
        raise QuantizeError(f"int8 needs nncf ({error}): pip install 'csk_ros[export]'") from error
    nncf.set_log_level(logging.ERROR)
    try:
        return nncf.quantize(
            model.clone(),
            nncf.Dataset([list(frame) for frame in images]),
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
