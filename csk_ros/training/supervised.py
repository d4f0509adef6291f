"""The supervised recipe: cross entropy on every head of a network, as a Lightning module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from csk_ros.evaluation.metrics import RouteScores
from csk_ros.labels import UNLABELLED
from csk_ros.modality import Modality, Route
from csk_ros.network.encoder import Encoder
from csk_ros.training.card import scores_to_dict
from csk_ros.training.distributed import joint_scores
from csk_ros.training.losses import head_losses

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
    from numpy.typing import NDArray

    from csk_ros.labels import LabelSet
    from csk_ros.network import Network, NetworkOutput, Normalisation
    from csk_ros.training.samples import Batch
    from csk_ros.training.settings import OptimizerSettings, TrainSettings


class SupervisedModule(LightningModule):
    """Trains all heads of ``network`` in every step and scores every route as it is deployed.

    Args:
        network: one of :data:`csk_ros.network.ARCHITECTURES`, in training mode.
        settings: the run's settings.
        label_set: the classes.
        normalisation: what the network's inputs are normalised by, on a scale of 0 to 1.
        class_weights: float32 (C,), or None for equal ones.
    """

    _class_weights: torch.Tensor | None

    def __init__(
        self,
        network: Network,
        settings: TrainSettings,
        *,
        label_set: LabelSet,
        normalisation: Mapping[Modality, Normalisation],
        class_weights: torch.Tensor | None,
    ) -> None:
        super().__init__()
        self.network: Network = network
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.settings = settings
        self.label_set = label_set
        self.scores: dict[str, dict[str, Any]] = {}
        self.routes = sorted(network.routes, key=list(Route).index)
        loss = settings.loss
        self._factors = {Route.FUSED: loss.fusion, Route.IR_ONLY: loss.ir, Route.EO_ONLY: loss.eo}
        self.register_buffer("_class_weights", class_weights, persistent=False)
        for modality, values in normalisation.items():
            for name in ("mean", "std"):
                value = torch.tensor(getattr(values, name), dtype=torch.float32).view(1, -1, 1, 1)
                self.register_buffer(f"_{modality.value}_{name}", value, persistent=False)
        self._counts = RouteScores(label_set)
        self.train()

    def train(self, mode: bool = True) -> SupervisedModule:  # noqa: FBT001, FBT002 (torch's signature)
        """Set training mode; batch norms whose statistics are frozen stay in evaluation mode."""
        super().train(mode)
        frozen = {"none": [], "backbone": _backbone_modules(self.network), "all": self.network.modules()}
        for module in frozen[self.settings.loop.freeze_bn_stats]:
            if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                module.eval()
        return self

    def inputs(self, batch: Batch, modalities: tuple[Modality, ...]) -> dict[str, torch.Tensor]:
        """The normalised images of ``modalities``, as keyword arguments of the network."""
        images = {}
        for modality in modalities:
            mean, std = (getattr(self, f"_{modality.value}_{name}") for name in ("mean", "std"))
            image = (batch[modality.value].to(mean.dtype) / 255.0 - mean) / std
            images[modality.value] = image.contiguous(memory_format=torch.channels_last)
        return images

    def training_step(self, batch: Batch, _index: int) -> torch.Tensor:
        """The sum of the heads' losses."""
        modalities = tuple(m for m in Modality if any(m in route.modalities for route in self.routes))
        output = self.network.forward_heads(**self.inputs(batch, modalities))
        losses = head_losses(output.logits, batch["labels"], self._class_weights)
        extra = self.extra_losses(output, batch)
        parts = {f"loss/{route.value}": loss.detach() for route, loss in losses.items()}
        parts |= {f"loss/{name}": loss.detach() for name, loss in extra.items()}
        self.log_dict(parts, sync_dist=True)
        weighted = [self._factors[route] * loss for route, loss in losses.items()]
        total = torch.stack([*weighted, *extra.values()]).sum()
        self.log("loss", total.detach(), sync_dist=True)
        return total

    def extra_losses(self, output: NetworkOutput, batch: Batch) -> dict[str, torch.Tensor]:  # noqa: ARG002 (a recipe's)
        """The weighted losses that a recipe adds to the heads', by name."""
        return {}

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation's counts."""
        self._counts = RouteScores(self.label_set)

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Count each route's answers; frames without any label count nothing."""
        labels = batch["labels"].to(torch.uint8).cpu().numpy()
        if (labels == UNLABELLED).all():
            return
        for route, masks in self.answers(batch).items():
            for mask, truth in zip(masks, labels, strict=True):
                self._counts.update(route, mask, truth)

    def answers(self, batch: Batch) -> dict[Route, NDArray[np.uint8]]:
        """The class ids of each route, (N, H, W), from exactly the inputs that it has when deployed."""
        logits = {route: self.network(**self.inputs(batch, route.modalities)) for route in self.routes}
        return {route: one.argmax(1).to(torch.uint8).cpu().numpy() for route, one in logits.items()}

    def on_validation_epoch_end(self) -> None:
        """Turn the counts of all processes into scores; ``miou`` is the mean of all routes'."""
        joint = joint_scores(self._counts, self.routes, self.label_set, self.device)
        self.scores = {route.value: scores_to_dict(one) for route, one in joint.items()}
        for route, scores in self.scores.items():
            self.log(f"miou/{route}", scores["miou"])
        self.log("miou", sum(scores["miou"] for scores in self.scores.values()) / len(self.scores))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the last validation's scores."""
        checkpoint["scores"] = self.scores

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them over."""
        self.scores = checkpoint["scores"]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW over four groups: backbone or not, decayed or not."""
        settings = self.settings.optimizer
        backbone = {
            id(parameter) for module in _backbone_modules(self.network) for parameter in module.parameters()
        }
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for parameter in self.parameters():
            if parameter.requires_grad:
                groups.setdefault((id(parameter) in backbone, parameter.ndim > 1), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": settings.lr * (settings.backbone_lr_factor if in_backbone else 1.0),
                    "weight_decay": settings.weight_decay if decayed else 0.0,
                }
                for (in_backbone, decayed), parameters in groups.items()
            ]
        )
        total = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimizer, lambda step: poly_with_warmup(step, total, settings))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _backbone_modules(network: nn.Module) -> list[nn.Module]:
    encoders = [module for module in network.modules() if isinstance(module, Encoder)]
    return [module for encoder in encoders for module in encoder.modules()]


def poly_with_warmup(step: int, total: int, settings: OptimizerSettings) -> float:
    """The factor of the learning rate at ``step`` of ``total``: linear rise, then (1 - progress)^power."""
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    progress = (step - settings.warmup_steps) / max(1, total - settings.warmup_steps)
    return max(0.0, 1.0 - progress) ** settings.power
