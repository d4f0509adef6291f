"""Public backbone weights (torchvision's key names) into the encoders of a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from csk_ros.modality import Modality
from csk_ros.network.encoder import Encoder
from csk_ros.network.tensorfile import check_tensors, read_tensors

if TYPE_CHECKING:
    from torch import nn

_OWN = {modality.value for modality in Modality}


def public_key(key: str) -> str:
    """An encoder's key as torchvision names it: without the modality of a batch norm."""
    return ".".join(part for part in key.split(".") if part not in _OWN)


def load_backbone(network: nn.Module, path: str | Path) -> None:
    """Fill every encoder of a network from a safetensors file with torchvision's key names.

    A batch norm's state goes to all modalities. Weights that serve the classifier only are ignored; every
    other key must be there, and no more. An encoder whose stem reads more than three channels
    (early fusion) gets the mean of the three filters for each further one.

    Args:
        network: what to fill, in place.
        path: the file.

    Raises:
        CheckpointError: if the file cannot be read or does not fit the backbone.
        ValueError: if the network has no encoder, or a slim one.
    """
    path = Path(path)
    encoders = [module for module in network.modules() if isinstance(module, Encoder)]
    if not encoders:
        raise ValueError(f"{type(network).__name__} has no encoder to fill from {path}")
    if not all(encoder.has_public_weights for encoder in encoders):
        raise ValueError(
            f"{path} is not for a slim backbone: train mobilenet_v2 from it, and name the result in "
            "network.checkpoint, which a slim one is cut out of"
        )
    tensors, _ = read_tensors(path)
    for encoder in encoders:
        _fill(encoder, path, tensors)


def _fill(encoder: Encoder, path: Path, tensors: dict[str, torch.Tensor]) -> None:
    state = encoder.state_dict()
    stem = next(key for key, value in encoder.named_parameters() if value is encoder.stem_conv.weight)
    expected = {public_key(key): value.shape for key, value in state.items()}
    channels = expected[stem][1]
    expected[stem] = torch.Size((expected[stem][0], 3, *expected[stem][2:]))
    # old public files lack the counter, which a fixed momentum does not use
    counters = {
        key: torch.zeros((), dtype=torch.int64) for key in expected if key.endswith("num_batches_tracked")
    }
    tensors = {**counters, **tensors}
    check_tensors(path, tensors, expected, extra=encoder.classifier_prefixes)
    filters = tensors[stem]
    further = filters.mean(dim=1, keepdim=True).expand(-1, channels - 3, -1, -1)
    tensors[stem] = torch.cat([filters, further], dim=1)
    encoder.load_state_dict({key: tensors[public_key(key)] for key in state})
