"""A network of full width in a slim one: the channels that others can stand in for are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from csk_ros.network.csknet import encoder_input
from csk_ros.network.mobilenet import MobileNetV2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csk_ros.modality import Modality
    from csk_ros.network.modality_layers import ModalityBatchNorm2d, ModalitySequential

    Maps = dict[Modality, Tensor]

_MOST_PIXELS = 20_000
"""Of each modality, for a block's statistics."""
_RIDGE = 1e-3
"""Added to every channel's variance, as a share of their mean."""


class _Block(NamedTuple):
    """An inverted residual block, with what makes its hidden channels: for the first, the stem too."""

    makers: list[ModalitySequential]
    project: nn.Conv2d
    norm: ModalityBatchNorm2d
    shortcut: bool

    def hidden(self, x: Tensor, modality: Modality) -> Tensor:
        for layer in self.makers:
            x = layer(x, modality)
        return x

    def output(self, x: Tensor, hidden: Tensor, modality: Modality) -> Tensor:
        y = self.norm(self.project(hidden), modality)
        return x + y if self.shortcut else y


@torch.no_grad()
def narrow_network(wide: nn.Module, slim: nn.Module, images: Mapping[Modality, Tensor]) -> None:
    """Start a network with a slim or shallow encoder from one of the same kind whose encoder has more.

    Block by block: of the hidden channels those are taken out, one by one, that the rest can best stand in
    for (Optimal Brain Surgeon, Hassibi and Stork, 1993, for whole channels), and the convolution that reads
    the rest is fitted to what the full encoder gives there (He et al., ICCV 2017), so that it also makes up
    for what was lost before. A reconstruction's choice.
    What is not encoder is taken over if all of its shapes are the same, and else stays as it is.

    Args:
        wide: a CSK-Net or a network of one modality; afterwards in evaluation mode.
        slim: the same with a slim backbone; filled in place, afterwards in evaluation mode.
        images: a few normalised inputs (N, C, H, W) of each of its modalities, like those that it will see.
    """
    wide.eval()
    slim.eval()
    (_, full), (name, encoder) = _encoder(wide), _encoder(slim)
    seen = {m: encoder_input(m, image) for m, image in images.items()}
    wanted = seen
    for block, full_block in zip(_blocks(encoder), _blocks(full), strict=True):
        if block and full_block:
            seen, wanted = _narrow_block(block, full_block, seen, wanted)
        elif full_block:  # left out: the next one makes up for it
            wanted = {m: full_block.output(x, full_block.hidden(x, m), m) for m, x in wanted.items()}
    own, rest = (
        {key: value for key, value in network.state_dict().items() if not key.startswith(f"{name}.")}
        for network in (slim, wide)
    )
    if all(rest[key].shape == value.shape for key, value in own.items()):
        slim.load_state_dict({**slim.state_dict(), **rest})


def _encoder(network: nn.Module) -> tuple[str, MobileNetV2]:
    return next((name, m) for name, m in network.named_modules() if isinstance(m, MobileNetV2))


def _blocks(encoder: MobileNetV2) -> list[_Block | None]:
    """Of each place the block, None where it is left out."""
    stem, *blocks = list[Any](encoder.features)
    found: list[_Block | None] = []
    for block in blocks:
        if isinstance(block, nn.Identity):
            found.append(None)
            continue
        *makers, project, norm = block.conv
        found.append(_Block([*([] if found else [stem]), *makers], project, norm, block.shortcut))
    return found


def _narrow_block(block: _Block, full: _Block, seen: Maps, wanted: Maps) -> tuple[Maps, Maps]:
    """Fill a block, given what comes into it and into the full one; returns what comes out of either."""
    hidden = {m: full.hidden(x, m) for m, x in wanted.items()}
    kept = _kept_channels(full, hidden, block.project.in_channels)
    for own, other in zip(block.makers, full.makers, strict=True):
        _copy_channels(own, other, kept)
    read = {m: block.hidden(x, m) for m, x in seen.items()}
    goals = {m: full.output(x, hidden[m], m) for m, x in wanted.items()}
    _fit_projection(block, full, read, {m: y - seen[m] if block.shortcut else y for m, y in goals.items()})
    return {m: block.output(x, read[m], m) for m, x in seen.items()}, goals


def _kept_channels(full: _Block, hidden: Maps, count: int) -> Tensor:
    """Which hidden channels remain, by backward elimination; int64 (count,), in order."""
    scales = [_scale(full.norm, m) for m in hidden]
    strength = torch.stack(scales).square().mean(0).sqrt().double()
    weights = full.project.weight.flatten(1).double() * strength[:, None]
    covariance = torch.stack([_covariance(_centred(x)[0]) for x in hidden.values()]).sum(0)
    inverse = torch.linalg.inv(_ridged(covariance))
    remaining = torch.ones(len(inverse), dtype=torch.bool)
    for _ in range(len(inverse) - count):
        cost = weights.square().sum(0) / inverse.diagonal()
        worst = int(torch.where(remaining, cost, torch.inf).argmin())
        row = inverse[worst] / inverse[worst, worst]
        weights.addr_(weights[:, worst].clone(), row, alpha=-1)
        inverse.addr_(inverse[:, worst].clone(), row, alpha=-1)
        # exactly none is left of it, so that rounding cannot divide by it
        inverse[worst], inverse[:, worst] = 0, 0
        inverse[worst, worst] = 1
        remaining[worst] = False
    return remaining.nonzero()[:, 0]


def _copy_channels(own: ModalitySequential, other: ModalitySequential, kept: Tensor) -> None:
    """The chosen output channels of a convolution and its batch norms."""
    state = {key: value[kept] if value.ndim else value for key, value in other.state_dict().items()}
    own.load_state_dict(state)


def _measure(norm: ModalityBatchNorm2d, modality: Modality, x: Tensor) -> None:
    own = cast("nn.BatchNorm2d", norm[modality.value])
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    own.load_state_dict({**own.state_dict(), "running_mean": mean, "running_var": variance})


def _fit_projection(block: _Block, full: _Block, read: Maps, goals: Maps) -> None:
    """Least squares for the shared weights; the batch norms keep the scale of each modality."""
    inputs = {m: _centred(x) for m, x in read.items()}
    outputs = {m: _centred(y) for m, y in goals.items()}
    scales = {m: _scale(full.norm, m) for m in read}
    covariances = {m: _covariance(x) for m, (x, _) in inputs.items()}
    crossed = {m: outputs[m][0].T @ x / len(x) for m, (x, _) in inputs.items()}
    for channel in range(len(block.project.weight)):
        factors = {m: scale[channel].double() for m, scale in scales.items()}
        left = torch.stack([factors[m].square() * covariances[m] for m in read]).sum(0)
        right = torch.stack([factors[m] * crossed[m][channel] for m in read]).sum(0)
        solved = torch.linalg.solve(_ridged(left), right)
        block.project.weight[channel] = solved[:, None, None].float()
    for m, x in read.items():
        _measure(block.norm, m, block.project(x))
        own = cast("nn.BatchNorm2d", block.norm[m.value])
        own.weight.copy_(scales[m] * _deviation(own))
        own.bias.copy_(outputs[m][1])


def _scale(norm: ModalityBatchNorm2d, modality: Modality) -> Tensor:
    """What a batch norm multiplies each channel by."""
    own = cast("nn.BatchNorm2d", norm[modality.value])
    return own.weight / _deviation(own)


def _deviation(norm: nn.BatchNorm2d) -> Tensor:
    return (norm.get_buffer("running_var") + norm.eps).sqrt()


def _covariance(pixels: Tensor) -> Tensor:
    return pixels.T @ pixels / len(pixels)


def _ridged(covariance: Tensor) -> Tensor:
    ridge = _RIDGE * covariance.diagonal().mean() + torch.finfo(torch.float32).tiny
    return covariance + ridge * torch.eye(len(covariance), dtype=covariance.dtype)


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels less their mean, float64 (pixels, C), the same ones of all maps of a shape; the mean (C,)."""
    pixels = x.permute(0, 2, 3, 1).flatten(0, 2)
    chosen = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))[:_MOST_PIXELS]
    mean = pixels.mean(0)
    return (pixels[chosen] - mean).double(), mean
