"""The checkpoint format: one safetensors file whose header says how to build and feed the network.

The header's metadata holds, under the key ``csk_ros``, one JSON document: ``format`` (a number),
``architecture``, ``label_set``, ``normalisation``, ``training`` and ``package_version``. The file is never
a pickle: loading one runs no code. A network is built only after its weights turned out to be in the file, so
that a header alone makes nobody allocate anything.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save

import csk_ros
from csk_ros.labels import LabelSet
from csk_ros.modality import Modality
from csk_ros.network.base import CHANNELS
from csk_ros.network.registry import build_network
from csk_ros.network.tensorfile import (
    CheckpointError,
    check_shapes,
    check_tensors,
    read_header,
    read_tensors,
)

if TYPE_CHECKING:
    from csk_ros.network.registry import Network

KEY = "csk_ros"
FORMAT = 1
_MAX_WEIGHTS = 500_000_000


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from an image scaled to 0..1, and what it is then divided by.

    Attributes:
        mean: one value per channel.
        std: one value per channel, positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be applied."""
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"give one mean and one std per channel, not {self.mean} and {self.std}")
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise ValueError(f"means must be finite and stds positive, not {self.mean} and {self.std}")


DEFAULT_NORMALISATION = {
    Modality.EO: Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    Modality.IR: Normalisation((0.5,), (0.5,)),
}
"""To -1..1, as MobileNetV2 was trained at Google."""


@dataclass(frozen=True)
class Checkpoint:
    """A network and everything that is needed to feed it and to read its answer.

    Attributes:
        network: in evaluation mode, on the CPU.
        label_set: its classes.
        normalisation: of each modality.
        training: where the weights come from; free JSON.
        package_version: of the csk_ros that wrote it.
        path: the file, or ``None`` if it never was one.
    """

    network: Network
    label_set: LabelSet
    normalisation: dict[Modality, Normalisation]
    training: dict[str, Any]
    package_version: str = csk_ros.__version__
    path: Path | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        if len(self.label_set) != self.network.num_classes:
            raise ValueError(
                f"the network has {self.network.num_classes} classes, the label set {len(self.label_set)}"
            )
        for modality, channels in CHANNELS.items():
            given = self.normalisation.get(modality)
            if given is None or len(given.mean) != channels:
                raise ValueError(
                    f"normalisation of {modality.value} needs {channels} channel(s), not {given}"
                )


def save_checkpoint(
    path: str | Path,
    network: Network,
    *,
    label_set: LabelSet,
    normalisation: dict[Modality, Normalisation],
    training: dict[str, Any],
) -> None:
    """Write a checkpoint; the file appears whole or not at all.

    Args:
        path: where to, ``*.safetensors``; its folder is made. An old file is replaced.
        network: the weights and architecture.
        label_set: one class per output channel.
        normalisation: of EO and IR.
        training: provenance, any JSON: data, recipe, seed, scores.

    Raises:
        ValueError: if the parts do not belong together, a weight is not finite, ``training`` is no JSON, or
            the name does not end in ``.safetensors``.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: a checkpoint's name ends in .safetensors")
    Checkpoint(network, label_set, normalisation, training)
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    check_tensors(path, state, {key: value.shape for key, value in state.items()})
    document = {
        "format": FORMAT,
        "architecture": network.architecture,
        "label_set": label_set.to_dict(),
        "normalisation": {
            modality.value: {"mean": list(given.mean), "std": list(given.std)}
            for modality, given in normalisation.items()
        },
        "training": training,
        "package_version": csk_ros.__version__,
    }
    try:
        text = json.dumps(document, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: training provenance must be JSON: {error}") from error
    _write_atomically(path, save(state, {KEY: text}))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and build its network, in evaluation mode on the CPU.

    Raises:
        CheckpointError: if the file is missing, cut short, not a checkpoint of this package, or its parts do
            not fit together; names the file and the reason.
    """
    path = Path(path)
    shapes, metadata = read_header(path)
    if KEY not in metadata:
        raise CheckpointError(
            f"{path}: a safetensors file, but not a csk_ros checkpoint (no {KEY!r} in its header); "
            f"backbone weights go into a network with load_backbone"
        )
    try:
        with torch.device("meta"):
            checkpoint = _from_document(json.loads(metadata[KEY]), path)
    # RuntimeError is what torch makes of absurd sizes, and json of a document nested without end.
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{path}: its {KEY!r} header cannot be used: {_short(reason)}") from error
    state = checkpoint.network.state_dict()
    expected = {key: value.shape for key, value in state.items()}
    check_shapes(path, shapes, expected)
    weights = sum(shape.numel() for shape in shapes.values())
    if weights > _MAX_WEIGHTS:
        raise CheckpointError(f"{path}: has {weights} weights, and at most {_MAX_WEIGHTS} are read")
    tensors, _ = read_tensors(path)
    check_tensors(path, tensors, expected)
    _check_dtypes(path, tensors, state)
    # assigned: to make room for what is on the meta device torch imports sympy, which takes seconds;
    # and copies: what is read is the mapped file, which somebody may write over
    own = {key: tensor.to(state[key].dtype, copy=True) for key, tensor in tensors.items()}
    checkpoint.network.load_state_dict(own, assign=True)
    return checkpoint


def _short(reason: str) -> str:
    """One line of a text that may quote a stranger's file at length."""
    line = " ".join(reason.split())
    return line if len(line) <= 400 else f"{line[:200]} ... {line[-200:]}"


def _from_document(document: dict[str, Any], path: Path) -> Checkpoint:
    if document["format"] != FORMAT:
        raise ValueError(
            f"format {document['format']}, but this csk_ros ({csk_ros.__version__}) reads {FORMAT}"
        )
    architecture = document["architecture"]
    normalisation = {
        Modality(name): Normalisation(tuple(map(float, part["mean"])), tuple(map(float, part["std"])))
        for name, part in document["normalisation"].items()
    }
    network = build_network(architecture["name"], **architecture["arguments"])
    return Checkpoint(
        network.eval(),
        LabelSet.from_dict(document["label_set"]),
        normalisation,
        dict(document["training"]),
        str(document["package_version"]),
        path,
    )


def _check_dtypes(path: Path, found: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> None:
    for key, value in state.items():
        if found[key].is_floating_point() != value.is_floating_point():
            raise CheckpointError(f"{path}: {key} is {found[key].dtype} instead of {value.dtype}")


def _write_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
