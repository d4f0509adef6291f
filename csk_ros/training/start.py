"""What a run starts from: the network with its first weights, normalisation, class weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from csk_ros.data.statistics import class_frequencies
from csk_ros.modality import Modality
from csk_ros.network import CSKNet, Normalisation, SingleNet, build_network, load_backbone, load_checkpoint
from csk_ros.network.mobilenet import is_part_of
from csk_ros.network.narrowing import narrow_network
from csk_ros.training.losses import enet_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from csk_ros.labels import LabelSet
    from csk_ros.network import Network
    from csk_ros.training.samples import Batch, SampleModule
    from csk_ros.training.settings import NetworkSettings, TrainSettings

_MOST_COUNTED = 400


def make_network(settings: NetworkSettings, label_set: LabelSet, examples: Callable[[], Batch]) -> Network:
    """The network that ``settings`` name, with the weights that they name.

    Args:
        settings: what to build.
        label_set: the classes.
        examples: gives a batch of what it will be trained on, by which a slim network is cut out of one of
            full width.

    Raises:
        ValueError: unknown names or arguments, or a checkpoint of another architecture or other classes.
            The switches of feature exchange may differ. A network of one modality may start from the branch
            of a CSK-Net or from a network of the other modality; a slim one from one of full width, whatever
            its ``decoder_width``.
        FileNotFoundError: a weights file is missing.
    """
    network = build_network(settings.name, num_classes=len(label_set), **settings.arguments)
    if settings.backbone_weights is not None:
        load_backbone(network, settings.backbone_weights)
    if settings.checkpoint is not None:
        _start_from_checkpoint(network, settings, label_set, examples)
    return network.train()


def _start_from_checkpoint(
    network: Network, settings: NetworkSettings, label_set: LabelSet, examples: Callable[[], Batch]
) -> None:
    start = load_checkpoint(str(settings.checkpoint))
    first: Network = start.network
    if isinstance(network, SingleNet) and isinstance(first, CSKNet):
        first = SingleNet.from_csk(first, network.modality)
    elif isinstance(network, SingleNet) and isinstance(first, SingleNet):
        first = first.for_modality(network.modality)
    wanted, found = ({**n.architecture["arguments"], "name": n.name} for n in (network, first))
    slimmer = isinstance(network, CSKNet | SingleNet) and is_part_of(wanted["backbone"], found["backbone"])
    may_differ = ("exchange_", *(("backbone", "decoder_width") if slimmer else ()))
    differing = [key for key in wanted if wanted[key] != found.get(key) and not key.startswith(may_differ)]
    if differing or start.label_set.names != label_set.names:
        raise ValueError(
            f"network.checkpoint {settings.checkpoint} is {start.network.architecture} over "
            f"{', '.join(start.label_set.names)}: use the same network.name, arguments and classes"
        )
    if not slimmer:
        network.load_state_dict(first.state_dict())
        return
    batch, scales = examples(), normalisation_of(settings)
    known = {m for route in network.routes for m in route.modalities}
    narrow_network(first, network, {m: _normalised(batch[m.value], scales[m]) for m in known})


def _normalised(images: torch.Tensor, scale: Normalisation) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (scale.mean, scale.std))
    return (images / 255.0 - mean) / std


def start_from_teacher(network: Network, teacher: Network) -> None:
    """Give both branches of a CSK-Net the weights of its EO teacher.

    Raises:
        ValueError: if the teacher is made of other parts.
    """
    assert isinstance(network, CSKNet)  # noqa: S101 (the settings see to it)
    single = SingleNet.from_csk(teacher, Modality.EO) if isinstance(teacher, CSKNet) else teacher
    wanted = SingleNet.from_csk(network, Modality.EO).architecture
    if not isinstance(single, SingleNet) or single.architecture != wanted:
        raise ValueError(
            f"teacher.start: {network.architecture} cannot start from the teacher {teacher.architecture}: "
            "use the same backbone, decoder and widths, or teacher.start false"
        )
    for modality in Modality:
        single.for_modality(modality).copy_into(network)


def normalisation_of(settings: NetworkSettings) -> dict[Modality, Normalisation]:
    """What the inputs of each modality are normalised by, as ``settings`` say."""
    return {
        Modality.EO: Normalisation(mean=settings.eo_mean, std=settings.eo_std),
        Modality.IR: Normalisation(mean=(settings.ir_mean,), std=(settings.ir_std,)),
    }


def class_weights(settings: TrainSettings, samples: SampleModule) -> torch.Tensor | None:
    """The class weights of the loss, float32 (C,), from the training labels; None where all weigh alike.

    Raises:
        ValueError: labels with ids that are no class, or without any labelled pixel.
    """
    if settings.loss.class_weights == "none":
        return None
    train = samples.train_samples
    chosen = np.linspace(0, len(train) - 1, min(len(train), _MOST_COUNTED)).astype(int)
    labels = (train[int(i)].labels for i in chosen)
    frequencies = class_frequencies((label for label in labels if label is not None), len(train.label_set))
    return torch.from_numpy(enet_weights(frequencies, settings.loss.enet_offset))
