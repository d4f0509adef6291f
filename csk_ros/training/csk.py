"""The recipe of CSK-Net: three heads, an EO teacher, contrast across the modalities (arXiv 2312.02240)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from csk_ros.modality import Modality, Route
from csk_ros.network import load_checkpoint
from csk_ros.training.contrast import PixelContrast, Pixels, at_resolution
from csk_ros.training.distillation import channel_distillation, pixel_distillation
from csk_ros.training.supervised import SupervisedModule

if TYPE_CHECKING:
    from csk_ros.labels import LabelSet
    from csk_ros.network import Network, Normalisation
    from csk_ros.network.base import ModalityFeatures, NetworkOutput
    from csk_ros.training.samples import Batch
    from csk_ros.training.settings import TrainSettings

_ALONE = {Modality.EO: Route.EO_ONLY, Modality.IR: Route.IR_ONLY}


def teacher_settings(settings: TrainSettings, output: str) -> TrainSettings:
    """The run that makes the teacher: EO alone, supervised, otherwise as ``settings`` say."""
    arguments = {
        key: value
        for key, value in settings.network.arguments.items()
        if key != "gate" and not key.startswith("exchange_")
    }
    network = replace(settings.network, name="single", arguments={"modality": "eo", **arguments})
    data = replace(settings.data, test={})
    epochs = settings.teacher.epochs or settings.loop.epochs
    loop = replace(settings.loop, epochs=epochs, validate_every=min(epochs, settings.loop.validate_every))
    return replace(
        settings,
        recipe="supervised",
        output=output,
        network=network,
        data=data,
        loop=loop,
        teacher=replace(settings.teacher, start=False),
    )


def load_teacher(path: str, label_set: LabelSet, eo: Normalisation) -> Network:
    """The frozen teacher in ``path``.

    Args:
        path: a checkpoint of a network that runs on EO alone.
        label_set: the classes that it must know.
        eo: the normalisation of EO that the student trains with.

    Raises:
        ValueError: if it does not run on EO alone, or was trained on other classes or inputs.
        FileNotFoundError: no such file.
    """
    checkpoint = load_checkpoint(path)
    if Route.EO_ONLY not in checkpoint.network.routes:
        raise ValueError(f"teacher.checkpoint {path} does not run on EO alone: give a network that does")
    if checkpoint.label_set.names != label_set.names:
        raise ValueError(
            f"teacher.checkpoint {path} knows {', '.join(checkpoint.label_set.names)}, but the data has "
            f"{', '.join(label_set.names)}: train a teacher on the same classes"
        )
    if checkpoint.normalisation[Modality.EO] != eo:
        raise ValueError(
            f"teacher.checkpoint {path} was trained with another network.eo_mean or eo_std: use the same"
        )
    network: Network = checkpoint.network
    return network.requires_grad_(requires_grad=False).eval()


class CskModule(SupervisedModule):
    """Adds to the heads' losses distillation from an EO teacher and pixel contrast.

    ``sum of CE(head) + pixel * L_pix + feature * L_feat + weight * L_con`` (a reconstruction; every factor is
    a setting, and 0 switches its part off), and if wanted what AnySeg adds for single modalities. The
    teacher and the projection head serve training only and are in no deployed checkpoint.

    Args:
        network: a CSK-Net, in training mode.
        settings: the run's settings.
        teacher: the frozen EO network; None if nothing is distilled.
        options: as :class:`SupervisedModule` takes them.
    """

    def __init__(
        self, network: Network, settings: TrainSettings, *, teacher: Network | None, **options: Any
    ) -> None:
        super().__init__(network, settings, **options)
        self._teacher = [] if teacher is None else [teacher]  # in a list: no part of the resume file
        self.contrast: PixelContrast | None = None
        contrast = settings.contrast
        if contrast.weight > 0:
            self.contrast = PixelContrast(
                _channels(network, contrast.layer),
                contrast.dimensions,
                contrast.temperature,
                contrast.anchors,
            )

    def on_fit_start(self) -> None:
        """Take the teacher to the student's device."""
        for teacher in self._teacher:
            teacher.to(self.device)

    def extra_losses(self, output: NetworkOutput, batch: Batch) -> dict[str, torch.Tensor]:
        """The weighted parts beside the heads' cross entropy, by name."""
        losses = self._distillation(output, batch) if self._teacher else {}
        if self.settings.distillation.fused > 0:
            losses["fused"] = self.settings.distillation.fused * self._from_fused(output)
        if self.contrast is not None:
            # While it warms up too: processes that train together want a gradient for every parameter.
            factor = self.settings.contrast.weight if self._contrast_is_on() else 0.0
            losses["contrast"] = factor * self._contrast(self.contrast, output, batch["labels"])
        return losses

    def _distillation(self, output: NetworkOutput, batch: Batch) -> dict[str, torch.Tensor]:
        settings = self.settings.distillation
        with torch.no_grad():
            taught = self._teacher[0].forward_heads(**self.inputs(batch, (Modality.EO,)))
        losses = {}
        if settings.pixel > 0:
            losses["pixel"] = settings.pixel * pixel_distillation(
                output.logits[Route.EO_ONLY], taught.logits[Route.EO_ONLY], settings.temperature
            )
        if settings.feature > 0:
            losses["feature"] = settings.feature * self._feature_distillation(
                output.features[Modality.EO], taught.features[Modality.EO]
            )
        return losses

    def _from_fused(self, output: NetworkOutput) -> torch.Tensor:
        """What the fusion head teaches the others (AnySeg's modality-agnostic semantic distillation)."""
        temperature = self.settings.distillation.temperature
        teacher = output.logits[Route.FUSED]
        parts = [pixel_distillation(output.logits[alone], teacher, temperature) for alone in _ALONE.values()]
        return torch.stack(parts).mean()

    def _feature_distillation(self, own: ModalityFeatures, taught: ModalityFeatures) -> torch.Tensor:
        settings = self.settings.distillation
        parts = []
        for layer in settings.layers:
            student, teacher = features_of(own, layer), features_of(taught, layer)
            if student.shape != teacher.shape:
                raise ValueError(
                    f"the teacher's {layer} is {tuple(teacher.shape)}, the student's {tuple(student.shape)}: "
                    "use the same backbone, decoder and decoder_width, or set distillation.feature to 0"
                )
            foreign = own.foreign.get(layer)
            parts.append(channel_distillation(student, teacher, settings.feature_temperature, foreign))
        return torch.stack(parts).mean()

    def _contrast_is_on(self) -> bool:
        total = int(self.trainer.estimated_stepping_batches)
        return self.trainer.global_step >= self.settings.contrast.warmup * total

    def _contrast(self, contrast: PixelContrast, output: NetworkOutput, labels: torch.Tensor) -> torch.Tensor:
        pixels = []
        for modality, own in output.features.items():
            features = features_of(own, self.settings.contrast.layer)
            small, wrong = at_resolution(labels, output.logits[_ALONE[modality]], features.shape[-2:])
            pixels.append(Pixels(features, small, wrong))
        loss: torch.Tensor = contrast(pixels)
        return loss


def features_of(features: ModalityFeatures, layer: str) -> torch.Tensor:
    """The features named ``layer``: a stage of the encoder, ``aspp`` or ``decoded``."""
    if layer in features.stages:
        return features.stages[layer]
    chosen: torch.Tensor = getattr(features, layer)
    return chosen


def _channels(network: Network, layer: str) -> int:
    """Channels of the features named ``layer``, from a small image that runs through EO."""
    was_training = network.training
    network.eval()
    with torch.no_grad():
        output = network.forward_heads(eo=torch.zeros(1, 3, 64, 64))
    network.train(was_training)
    return features_of(output.features[Modality.EO], layer).shape[1]
