"""Batch norms folded into the convolutions before them, for inference."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from csk_ros.network.modality_layers import ModalityBatchNorm2d, PerModality
from csk_ros.network.same_padding import PadFreeSameConv2d, SameConv2d

Module = TypeVar("Module", bound=nn.Module)


def fold_batch_norms(network: Module) -> Module:
    """A copy of a network in evaluation mode whose batch norms are folded into its convolutions.

    A shared convolution becomes one convolution per modality, in the place of the batch norms; the
    function that the network computes stays the same up to rounding. Relies on every module of this package
    registering a batch norm right after the convolution that feeds it.
    """
    folded = copy.deepcopy(network).eval()
    for module in list(folded.modules()):
        for (before, conv), (after, norm) in pairwise(list(module.named_children())):
            if not isinstance(conv, nn.Conv2d):
                continue
            if isinstance(norm, ModalityBatchNorm2d) and norm.foldable:
                convs = {key: _fuse(conv, own) for key, own in norm.items()}  # type: ignore[arg-type]  # each is a BatchNorm2d
                setattr(module, before, nn.Identity())
                setattr(module, after, PerModality(convs))
            elif isinstance(norm, nn.BatchNorm2d):
                setattr(module, before, _fuse(conv, norm))
                setattr(module, after, nn.Identity())
    return folded


def _fuse(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Module:
    fused = fuse_conv_bn_eval(conv, norm)
    if isinstance(fused, SameConv2d) and PadFreeSameConv2d.fits(fused):
        return PadFreeSameConv2d(fused)
    return fused
