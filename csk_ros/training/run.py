"""One training run from settings to a deployable checkpoint."""

from __future__ import annotations

import hashlib
import logging
import platform
import warnings
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tqdm.auto import tqdm

from csk_ros import __version__
from csk_ros.data.statistics import class_frequencies
from csk_ros.evaluation.routes import score_routes
from csk_ros.modality import Modality
from csk_ros.network import (
    CSKNet,
    Normalisation,
    SingleNet,
    build_network,
    load_backbone,
    load_checkpoint,
    save_checkpoint,
)
from csk_ros.training.callbacks import SaveBestAndLast, SeedSteps, ShowProgress, StopOnInterrupt
from csk_ros.training.card import write_card
from csk_ros.training.csk import CskModule, load_teacher, teacher_settings
from csk_ros.training.distributed import is_main_process, launched_processes
from csk_ros.training.losses import enet_weights
from csk_ros.training.pictures import DrawSamples
from csk_ros.training.samples import JoinedSamples, SampleModule
from csk_ros.training.settings import complete_specs
from csk_ros.training.supervised import SupervisedModule

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch import Callback

    from csk_ros.labels import LabelSet
    from csk_ros.network import Network
    from csk_ros.training.settings import NetworkSettings, TrainSettings

_MOST_COUNTED = 400


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        checkpoint: the deployable file with the best score, or the last one if nothing was scored.
        scores: per route the last validation's ``miou`` and ``iou`` by class.
        interrupted: whether Ctrl-C ended it.
    """

    checkpoint: Path
    scores: dict[str, dict[str, Any]]
    interrupted: bool


def train(settings: TrainSettings, *, resume: bool = False) -> TrainResult:
    """Run what ``settings`` say.

    The run folder ``settings.output`` gets ``config.yaml``, ``metrics.csv`` and TensorBoard's files under
    ``logs``, pictures of validation frames under ``samples``, ``best`` and ``last`` as ``.ckpt`` to resume
    from and as ``.safetensors`` to deploy, and at the end the card of the best, ``best.yaml``. Of several
    processes the first writes.

    Args:
        settings: the run.
        resume: go on from ``last.ckpt`` of the run folder.

    Raises:
        FileExistsError: the run folder exists and the run is not resumed.
        FileNotFoundError: nothing to resume from, or a file that the settings name is missing.
        ValueError: settings that do not fit together, or data that cannot be trained on.
    """
    folder = Path(settings.output)
    last = _claim(folder, resume=resume)
    seed_everything(settings.seed, verbose=False)
    samples = SampleModule(settings.data, settings.seed)
    normalisation = _normalisation(settings.network)
    network = make_network(settings.network, samples.label_set)
    teacher = None
    if settings.recipe == "csk" and settings.distillation.wanted:
        made = _teacher(settings, folder)
        if made.interrupted:
            return made
        teacher = load_teacher(str(made.checkpoint), samples.label_set, normalisation[Modality.EO])
    samples.prepare()
    options: dict[str, Any] = {
        "label_set": samples.label_set,
        "normalisation": normalisation,
        "class_weights": _class_weights(settings, samples),
    }
    module = (
        CskModule(network, settings, teacher=teacher, **options)
        if settings.recipe == "csk"
        else SupervisedModule(network, settings, **options)
    )
    if is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        _write_config(folder / "config.yaml", settings)

    def export(path: Path) -> None:
        save_checkpoint(
            path,
            module.network,
            label_set=samples.label_set,
            normalisation=normalisation,
            training=_provenance(settings, module),
        )

    stop = StopOnInterrupt()
    with warnings.catch_warnings():
        _hush_lightning()
        draw = DrawSamples(folder / "samples", samples.val_samples, settings.loop.overlays)
        trainer = _trainer(settings, folder, [draw, *_callbacks(settings, folder, export, stop)])
        trainer.fit(module, samples, ckpt_path=last, weights_only=True)
    best = folder / "best.safetensors"
    file = best if best.exists() else folder / "last.safetensors"
    if not stop.interrupted and is_main_process():
        _test(file, settings)
    return TrainResult(checkpoint=file, scores=module.scores, interrupted=stop.interrupted)


def _teacher(settings: TrainSettings, folder: Path) -> TrainResult:
    """The EO teacher: the one that the settings name, or one that is trained in the run folder and kept."""
    if settings.teacher.checkpoint is not None:
        return TrainResult(Path(settings.teacher.checkpoint), {}, interrupted=False)
    own = folder / "teacher"
    best = own / "best.safetensors"
    if best.with_suffix(".yaml").is_file():  # the card is written last
        return TrainResult(best, {}, interrupted=False)
    folder.mkdir(parents=True, exist_ok=True)
    _write_config(folder / "config.yaml", settings)
    return train(teacher_settings(settings, str(own)), resume=(own / "last.ckpt").is_file())


def _test(file: Path, settings: TrainSettings) -> None:
    """Score the deployable on the test data, and write its card beside it."""
    data = settings.data
    checkpoint = load_checkpoint(file)
    tests = {}
    for name, spec in data.test.items():
        samples = JoinedSamples.open(complete_specs([spec], data.root), data.test_split, data.size)
        progress = tqdm(samples, desc=f"test: {name}", unit="pair", leave=False)
        tests[name] = score_routes(checkpoint, progress, device=settings.loop.accelerator)
    write_card(file.with_suffix(".yaml"), checkpoint, file, tests)


def make_network(settings: NetworkSettings, label_set: LabelSet) -> Network:
    """The network that ``settings`` name, with the weights that they name.

    Raises:
        ValueError: unknown names or arguments, or a checkpoint of another architecture or other classes.
            The switches of feature exchange may differ, and a network of one modality may start from the
            branch of a CSK-Net.
        FileNotFoundError: a weights file is missing.
    """
    network = build_network(settings.name, num_classes=len(label_set), **settings.arguments)
    if settings.backbone_weights is not None:
        load_backbone(network, settings.backbone_weights)
    if settings.checkpoint is not None:
        start = load_checkpoint(settings.checkpoint)
        first: Network = start.network
        if isinstance(network, SingleNet) and isinstance(first, CSKNet):
            first = SingleNet.from_csk(first, network.modality)
        wanted, found = ({**n.architecture["arguments"], "name": n.name} for n in (network, first))
        differing = [
            key for key in wanted if wanted[key] != found.get(key) and not key.startswith("exchange_")
        ]
        if differing or start.label_set.names != label_set.names:
            raise ValueError(
                f"network.checkpoint {settings.checkpoint} is {start.network.architecture} over "
                f"{', '.join(start.label_set.names)}: use the same network.name, arguments and classes"
            )
        network.load_state_dict(first.state_dict())
    return network.train()


def _claim(folder: Path, *, resume: bool) -> Path | None:
    last = folder / "last.ckpt"
    if resume:
        if not last.is_file() and (folder / "teacher").is_dir():
            return None  # stopped while its teacher was trained
        if not last.is_file():
            raise FileNotFoundError(f"{last} does not exist: there is nothing to resume; leave out --resume")
        return last
    if is_main_process() and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"the run folder {folder} exists: go on with --resume, or choose another with --output"
        )
    return None


def _normalisation(settings: NetworkSettings) -> dict[Modality, Normalisation]:
    return {
        Modality.EO: Normalisation(mean=settings.eo_mean, std=settings.eo_std),
        Modality.IR: Normalisation(mean=(settings.ir_mean,), std=(settings.ir_std,)),
    }


def _class_weights(settings: TrainSettings, samples: SampleModule) -> torch.Tensor | None:
    if settings.loss.class_weights == "none":
        return None
    train = samples.train_samples
    chosen = np.linspace(0, len(train) - 1, min(len(train), _MOST_COUNTED)).astype(int)
    labels = (train[int(i)].labels for i in chosen)
    frequencies = class_frequencies((label for label in labels if label is not None), len(train.label_set))
    return torch.from_numpy(enet_weights(frequencies, settings.loss.enet_offset))


def _callbacks(
    settings: TrainSettings, folder: Path, export: Callable[[Path], None], stop: StopOnInterrupt
) -> list[Callback]:
    loop = settings.loop
    save = SaveBestAndLast(folder, export, stop, save_every=loop.save_every, patience=loop.patience)
    return [stop, SeedSteps(settings.seed), save, ShowProgress()]


def _trainer(settings: TrainSettings, folder: Path, callbacks: list[Callback]) -> Trainer:
    loop = settings.loop
    if loop.sync_batchnorm and not torch.cuda.is_available():
        raise ValueError("loop.sync_batchnorm is True: it needs CUDA, which this machine lacks")
    devices, nodes = launched_processes() or (loop.devices, loop.nodes)
    table = CSVLogger(folder, name="logs")
    return Trainer(
        accelerator=loop.accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=loop.strategy,
        sync_batchnorm=loop.sync_batchnorm,
        use_distributed_sampler=False,
        max_epochs=loop.epochs,
        accumulate_grad_batches=loop.accumulate,
        check_val_every_n_epoch=loop.validate_every,
        precision=loop.precision,
        gradient_clip_val=settings.optimizer.clip or None,
        callbacks=callbacks,
        logger=[table, TensorBoardLogger(folder, name="logs", version=table.version)],
        log_every_n_steps=20,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _hush_lightning() -> None:
    """Leave out Lightning's advertisements and advice, which say nothing about the run."""
    warnings.filterwarnings("ignore", module="lightning.*")
    # depthwise convolutions have two equal channels_last layouts, and DDP asks for the other one
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _write_config(path: Path, settings: TrainSettings) -> None:
    with path.open("w", encoding="utf-8") as file:
        yaml.safe_dump(_plain(settings.to_dict()), file, sort_keys=False)


def _plain(value: Any) -> Any:
    """``value`` with lists for tuples, as YAML and JSON know them."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def _provenance(settings: TrainSettings, module: SupervisedModule) -> dict[str, Any]:
    """What went into the weights, as JSON; of files their names and contents, not where they lay."""
    document = _plain(settings.to_dict())
    del document["output"]
    notice = document.pop("notice")
    network, data = document["network"], document["data"]
    if settings.recipe != "csk":
        for part in ("teacher", "distillation", "contrast"):
            del document[part]
    elif document["teacher"]["checkpoint"] is not None:
        document["teacher"]["checkpoint"] = Path(document["teacher"]["checkpoint"]).name
    data["root"] = data["root"] and Path(data["root"]).name
    started_from = {}
    for key in ("backbone_weights", "checkpoint"):
        if network[key] is not None:
            path = Path(network[key])
            network[key] = path.name
            started_from = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return {
        "recipe": document.pop("recipe"),
        "notice": notice,
        "settings": document,
        "started_from": started_from,
        "seed": settings.seed,
        "epochs": module.trainer.current_epoch + 1,
        "steps": module.trainer.global_step,
        "scores": module.scores,
        "versions": {
            "csk_ros": __version__,
            "torch": torch.__version__,
            "lightning": version("lightning"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
