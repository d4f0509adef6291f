"""Batch norms and linear convolutions folded into the convolutions next to them, for inference."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from csk_ros.network.decoders import LightDecoder
from csk_ros.network.mobilenet import MobileNetV2
from csk_ros.network.modality_layers import ModalityBatchNorm2d, PerModality
from csk_ros.network.same_padding import PadFreeSameConv2d, SameConv2d

Module = TypeVar("Module", bound=nn.Module)


def fold_batch_norms(network: Module) -> Module:
    """A copy of a network in evaluation mode whose batch norms are folded into its convolutions.

    A shared convolution becomes one convolution per modality, in the place of the batch norms. Relies on
    every module of this package registering a batch norm right after the convolution that feeds it. Where a
    MobileNetV2's first block ends in a 1x1 convolution and the second begins with one, they become one if
    that takes no more multiplications; so do the last of its convolutions and the first of a light decoder.
    The logits stay the same up to rounding; the features of the last stage do not.
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
    for module in folded.modules():
        if isinstance(encoder := getattr(module, "encoder", None), MobileNetV2):
            _merge_first_blocks(encoder)
            _merge_into_decoders(encoder, module)
    return folded


def _merge_first_blocks(encoder: MobileNetV2) -> None:
    layers: Any = encoder.features
    projects, expands = layers[1].conv, layers[2].conv[0]
    for key, first in projects[-1].items():
        if _pays(first, expands[1][key]):
            expands[1][key] = _merge(first, expands[1][key])
            projects[-1][key] = nn.Identity()


def _merge_into_decoders(encoder: MobileNetV2, network: Any) -> None:
    exchange = getattr(network, "exchange", None)
    if exchange and exchange.stages[-1] != "none":  # it is done between the two
        return
    layers: Any = encoder.features
    projects = layers[-1].conv[-1]
    decoders = network.decoders.values() if hasattr(network, "decoders") else [network.decoder]
    for (key, first), decoder in zip(list(projects.items()), decoders, strict=True):
        if isinstance(decoder, LightDecoder) and _pays(first, decoder.aspp.reduce[0]):
            for convs, place in ((decoder.aspp.reduce, 0), (decoder.aspp.pooled, 1)):
                convs[place] = _merge(first, convs[place])
            projects[key] = nn.Identity()


def _pays(first: Any, second: Any) -> bool:
    """Whether one 1x1 convolution in place of two takes no more multiplications."""
    inputs, middle, outputs = first.in_channels, first.out_channels, second.out_channels
    return bool(inputs * outputs <= inputs * middle + middle * outputs)


def _merge(first: Any, second: Any) -> nn.Conv2d:
    """One 1x1 convolution in place of two."""
    merged = nn.Conv2d(first.in_channels, second.out_channels, 1).to(second.weight)
    filters = second.weight.flatten(1)
    weight = (filters @ first.weight.flatten(1))[..., None, None]
    merged.load_state_dict({"weight": weight, "bias": filters @ first.bias + second.bias})
    return merged


def _fuse(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Module:
    fused = fuse_conv_bn_eval(conv, norm)
    if isinstance(fused, SameConv2d) and PadFreeSameConv2d.fits(fused):
        return PadFreeSameConv2d(fused)
    return fused
