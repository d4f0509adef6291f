"""What a training run is told: one dataclass per section of the YAML files in ``config/train``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from csk_ros.data.augmentation import Augmentation


def complete_specs(specs: list[str], root: str | None) -> list[str]:
    """Data specs with ``{root}`` filled in.

    Raises:
        ValueError: if a spec needs a root that is not set.
    """
    for spec in specs:
        if "{root}" in spec and root is None:
            raise ValueError(f"data.root is not set and {spec!r} needs it: give the folder of the data set")
    return [spec.replace("{root}", root or "") for spec in specs]


def _require(condition: bool, field_name: str, value: Any, wanted: str) -> None:  # noqa: FBT001 (an assertion)
    if not condition:
        raise ValueError(f"{field_name} is {value!r}: {wanted}")


@dataclass(frozen=True)
class DataSettings:
    """Where samples come from and how they reach the network.

    Attributes:
        train: data specs as :func:`csk_ros.data.open_samples` takes them; ``{root}`` stands for ``root``.
        val: the same for the samples that scores are computed on.
        test: data specs by name; the best weights are scored on each at the end, for the model card.
        root: folder of the data set.
        train_split: split of the training specs, where the data set has splits.
        val_split: split of the validation specs.
        test_split: split of the test specs.
        size: height and width that every sample is resized to when it is loaded; null keeps its own.
        crop: height and width in pixels that the network is trained on; validation takes whole images.
        focus: chance that a crop is laid around a pixel of a random class that is not class 0.
        augmentation: how much training samples are changed; at ``scale`` 1 the whole image fills the crop.
            Without it, an image's middle is cropped.
        batch: samples per step.
        workers: loading processes.
        cache: ``ram`` keeps the decoded samples in memory, for data that is slow to make.
    """

    train: list[str]
    val: list[str]
    test: dict[str, str] = field(default_factory=dict)
    root: str | None = None
    train_split: str | None = None
    val_split: str | None = None
    test_split: str | None = None
    size: tuple[int, int] | None = None
    crop: tuple[int, int] = (240, 320)
    focus: float = 0.5
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    batch: int = 8
    workers: int = 1
    cache: Literal["ram", "none"] = "none"

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        _require(bool(self.train), "data.train", self.train, "name at least one data spec")
        _require(bool(self.val), "data.val", self.val, "name at least one data spec")
        _require(min(self.crop) >= 32, "data.crop", self.crop, "use at least 32 x 32 pixels")
        _require(0 <= self.focus <= 1, "data.focus", self.focus, "use 0 to 1")
        _require(self.batch >= 1, "data.batch", self.batch, "use 1 or more")
        _require(self.workers >= 0, "data.workers", self.workers, "use 0 or more")


@dataclass(frozen=True)
class NetworkSettings:
    """Which network, and what it starts from.

    Attributes:
        name: one of :data:`csk_ros.network.ARCHITECTURES`.
        arguments: its arguments (without the number of classes, which the data decides).
        backbone_weights: a safetensors file with torchvision's key names for the backbone.
        checkpoint: a csk_ros checkpoint of the same architecture to go on from.
        eo_mean: mean of the red, green and blue values on a scale of 0 to 1.
        eo_std: their standard deviation.
        ir_mean: the thermal image's mean, scaled likewise.
        ir_std: its standard deviation.
    """

    name: str = "csk"
    arguments: dict[str, Any] = field(default_factory=dict)
    backbone_weights: str | None = None
    checkpoint: str | None = None
    eo_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    eo_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    ir_mean: float = 0.5
    ir_std: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        both = self.backbone_weights is not None and self.checkpoint is not None
        _require(
            not both,
            "network.checkpoint",
            self.checkpoint,
            "network.backbone_weights is set too; give one of the two",
        )


@dataclass(frozen=True)
class LossSettings:
    """The supervised loss: cross entropy summed over the heads.

    Attributes:
        class_weights: ``enet`` weighs class c by 1 / ln(enet_offset + frequency of c) (Paszke et al. 2016,
            section 5.1, with an offset of 1.02); ``none`` weighs all alike.
        enet_offset: above 1; the greater, the more alike the weights.
        eo: factor of the EO head's loss.
        fusion: factor of the fusion head's loss.
        ir: factor of the IR head's loss.
    """

    class_weights: Literal["enet", "none"] = "enet"
    enet_offset: float = 1.02
    eo: float = 1.0
    fusion: float = 1.0
    ir: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        _require(self.enet_offset > 1, "loss.enet_offset", self.enet_offset, "use more than 1")


_LAYERS = ("layer1", "layer2", "layer3", "layer4", "aspp", "decoded")


@dataclass(frozen=True)
class TeacherSettings:
    """The EO teacher of the recipe ``csk``.

    Attributes:
        checkpoint: of a network that runs on EO alone; null trains one first, with the same data, backbone
            and schedule, in the folder ``teacher`` of the run, and takes it from there when it is present.
        epochs: of that training; null takes the run's own.
        start: the network starts from the teacher's weights: the shared convolutions, and the batch norms,
            decoder and head of either modality alone. A reconstruction's choice.
    """

    checkpoint: str | None = None
    epochs: int | None = None
    start: bool = False


@dataclass(frozen=True)
class DistillationSettings:
    """What the EO stream learns from the teacher (recipe ``csk``); every value is a reconstruction's choice.

    Attributes:
        pixel: factor of the loss on the EO head's logits; 0 switches it off.
        temperature: of that loss.
        feature: factor of the loss on features, the mean over ``layers``; 0 switches it off.
        feature_temperature: of that loss.
        layers: ``layer1`` to ``layer4`` (the encoder's stages), ``aspp``, ``decoded``.
        fused: factor of the loss by which the fusion head teaches the heads of EO and IR alone, at the same
            temperature; 0 switches it off. It is not part of CSK-Net, but of AnySeg (arXiv 2411.17141).
    """

    pixel: float = 2.0
    temperature: float = 2.0
    feature: float = 0.1
    feature_temperature: float = 4.0
    layers: tuple[str, ...] = ("layer1", "layer2", "aspp")
    fused: float = 0.0

    @property
    def wants_teacher(self) -> bool:
        """Whether an EO teacher is needed at all."""
        return self.pixel > 0 or self.feature > 0

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        for name in ("pixel", "feature", "fused"):
            _require(getattr(self, name) >= 0, f"distillation.{name}", getattr(self, name), "use 0 or more")
        for name in ("temperature", "feature_temperature"):
            value = getattr(self, name)
            _require(value > 0, f"distillation.{name}", value, "use a positive number")
        known = bool(self.layers) and set(self.layers) <= set(_LAYERS)
        _require(known, "distillation.layers", self.layers, f"use some of {', '.join(_LAYERS)}")


@dataclass(frozen=True)
class ContrastSettings:
    """Pixel-to-pixel contrast across the modalities (recipe ``csk``), as a reconstruction.

    Attributes:
        weight: factor of the loss; 0 switches it off.
        layer: which features are projected, as in :class:`DistillationSettings`.
        temperature: tau.
        dimensions: of the projections.
        anchors: greatest number of pixels per class, modality and step; half of them are hard.
        warmup: share of the steps before the loss is switched on.
    """

    weight: float = 0.1
    layer: str = "layer3"
    temperature: float = 0.1
    dimensions: int = 256
    anchors: int = 64
    warmup: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        _require(self.weight >= 0, "contrast.weight", self.weight, "use 0 or more")
        _require(self.layer in _LAYERS, "contrast.layer", self.layer, f"use one of {', '.join(_LAYERS)}")
        _require(self.temperature > 0, "contrast.temperature", self.temperature, "use a positive number")
        _require(self.anchors >= 2, "contrast.anchors", self.anchors, "use 2 or more")
        _require(self.dimensions >= 1, "contrast.dimensions", self.dimensions, "use 1 or more")
        _require(0 <= self.warmup <= 1, "contrast.warmup", self.warmup, "use 0 to 1")


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW with a linear warm-up and polynomial decay to zero.

    Attributes:
        lr: greatest learning rate.
        backbone_lr_factor: the backbone learns at this multiple of ``lr``.
        weight_decay: decoupled weight decay (not on biases and batch norms).
        warmup_steps: optimiser steps of the linear warm-up.
        power: exponent of the decay.
        clip: greatest gradient norm; 0 switches clipping off.
    """

    lr: float = 1e-3
    backbone_lr_factor: float = 1.0
    weight_decay: float = 0.01
    warmup_steps: int = 100
    power: float = 0.9
    clip: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        _require(self.lr > 0, "optimizer.lr", self.lr, "use a positive number")
        _require(self.warmup_steps >= 0, "optimizer.warmup_steps", self.warmup_steps, "use 0 or more")


@dataclass(frozen=True)
class LoopSettings:
    """How long, how often and on what.

    Attributes:
        epochs: passes over the training samples.
        accumulate: batches per optimiser step; their mean losses are averaged.
        validate_every: epochs between two validations.
        patience: validations without a better score after which the run ends; 0 never ends it early.
        save_every: optimiser steps between two savings within an epoch; 0 saves after epochs alone.
        overlays: validation frames that are drawn, with every route's answer, at each validation.
        precision: ``bf16-mixed`` and ``16-mixed`` are worth it on devices made for them.
        freeze_bn_stats: ``backbone`` keeps the running statistics of the backbone's batch norms as loaded,
            which small or one-sided batches need, ``all`` those of every batch norm; their weights are
            trained either way.
        sync_batchnorm: batch norms take their statistics over the batches of all processes; CUDA only.
        accelerator: ``auto``, ``cpu`` or ``cuda``.
        devices: processes per machine, each with ``data.batch`` samples per step; ``torchrun`` decides it
            where it starts them.
        nodes: machines; likewise.
        strategy: how processes train together: ``auto`` is ``ddp`` for more than one;
            ``ddp_find_unused_parameters_true`` also lets steps leave parameters out.
    """

    epochs: int = 50
    accumulate: int = 1
    validate_every: int = 1
    patience: int = 0
    save_every: int = 0
    overlays: int = 3
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    freeze_bn_stats: Literal["backbone", "all", "none"] = "none"
    sync_batchnorm: bool = False
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = "auto"

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        for name in ("epochs", "accumulate", "validate_every", "devices", "nodes"):
            _require(getattr(self, name) >= 1, f"loop.{name}", getattr(self, name), "use 1 or more")
        for name in ("patience", "save_every", "overlays"):
            _require(getattr(self, name) >= 0, f"loop.{name}", getattr(self, name), "use 0 or more")
        on_cpu = self.sync_batchnorm and self.accelerator == "cpu"
        _require(not on_cpu, "loop.sync_batchnorm", self.sync_batchnorm, "it needs loop.accelerator cuda")


@dataclass(frozen=True)
class TrainSettings:
    """A whole run of :func:`csk_ros.training.train`.

    Attributes:
        output: the run's own folder; it must not exist yet, unless the run is resumed.
        recipe: ``supervised`` (cross entropy on every head of any network) or ``csk`` (CSK-Net, with an EO
            teacher and contrast).
        data: see :class:`DataSettings`.
        network: see :class:`NetworkSettings`.
        loss: see :class:`LossSettings`.
        teacher: see :class:`TeacherSettings`.
        distillation: see :class:`DistillationSettings`.
        contrast: see :class:`ContrastSettings`.
        optimizer: see :class:`OptimizerSettings`.
        loop: see :class:`LoopSettings`.
        seed: of every random choice.
        notice: origin and licence of what went in, for the checkpoint and its card.
    """

    output: str
    data: DataSettings
    recipe: Literal["supervised", "csk"] = "supervised"
    network: NetworkSettings = field(default_factory=NetworkSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)
    seed: int = 0
    notice: str = ""

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        _require(
            self.recipe != "csk" or self.network.name == "csk",
            "recipe",
            self.recipe,
            f"it trains network.name csk, not {self.network.name}; use supervised",
        )
        if self.recipe == "csk" and self.teacher.start and self.network.checkpoint is not None:
            raise ValueError(
                "teacher.start and network.checkpoint both say what the network starts from: "
                "use teacher.start false or network.checkpoint null"
            )

    @property
    def wants_teacher(self) -> bool:
        """Whether the run needs an EO teacher."""
        return self.recipe == "csk" and (self.teacher.start or self.distillation.wants_teacher)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return asdict(self)
