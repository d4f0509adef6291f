"""One training run from settings to a deployable checkpoint."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tqdm.auto import tqdm

from csk_ros.evaluation.routes import score_routes
from csk_ros.modality import Modality
from csk_ros.network import load_checkpoint, save_checkpoint
from csk_ros.training.callbacks import SaveBestAndLast, SeedSteps, ShowProgress, StopOnInterrupt
from csk_ros.training.card import write_card
from csk_ros.training.csk import CskModule, load_teacher, teacher_settings
from csk_ros.training.distributed import is_main_process, launched_processes
from csk_ros.training.pictures import DrawSamples
from csk_ros.training.provenance import provenance, write_config
from csk_ros.training.samples import JoinedSamples, SampleModule
from csk_ros.training.settings import complete_specs
from csk_ros.training.start import class_weights, make_network, normalisation_of, start_from_teacher
from csk_ros.training.supervised import SupervisedModule

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch import Callback

    from csk_ros.training.settings import TrainSettings


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
        ValueError: settings that do not fit together, data that cannot be trained on, or a file to resume
            from that holds code.
    """
    folder = Path(settings.output)
    last = _claim(folder, resume=resume)
    seed_everything(settings.seed, verbose=False)
    samples = SampleModule(settings.data, settings.seed)
    normalisation = normalisation_of(settings.network)
    network = make_network(settings.network, samples.label_set, samples.examples)
    teacher = None
    if settings.wants_teacher:
        made = _teacher(settings, folder)
        if made.interrupted:
            return made
        teacher = load_teacher(str(made.checkpoint), samples.label_set, normalisation[Modality.EO])
        if settings.teacher.start:
            start_from_teacher(network, teacher)
    samples.prepare()
    options: dict[str, Any] = {
        "label_set": samples.label_set,
        "normalisation": normalisation,
        "class_weights": class_weights(settings, samples),
    }
    module = (
        CskModule(network, settings, teacher=teacher, **options)
        if settings.recipe == "csk"
        else SupervisedModule(network, settings, **options)
    )
    interrupted = _fit(module, samples, settings, folder, last)
    best = folder / "best.safetensors"
    file = best if best.exists() else folder / "last.safetensors"
    if not interrupted and is_main_process():
        _test(file, settings)
    return TrainResult(checkpoint=file, scores=module.scores, interrupted=interrupted)


def _fit(
    module: CskModule | SupervisedModule,
    samples: SampleModule,
    settings: TrainSettings,
    folder: Path,
    last: Path | None,
) -> bool:
    """Train and write the run folder; returns whether it was interrupted."""

    def export(path: Path) -> None:
        save_checkpoint(
            path,
            module.network,
            label_set=samples.label_set,
            normalisation=normalisation_of(settings.network),
            training=provenance(settings, module),
        )

    if is_main_process():
        _write_settings(folder, settings)
    stop = StopOnInterrupt()
    with warnings.catch_warnings():
        _hush_lightning()
        draw = DrawSamples(folder / "samples", samples.val_samples, settings.loop.overlays)
        trainer = _trainer(settings, folder, [draw, *_callbacks(settings, folder, export, stop)])
        try:
            trainer.fit(module, samples, ckpt_path=last, weights_only=True)
        except UnpicklingError as error:
            raise ValueError(f"{last} is no file to resume from: it holds more than weights") from error
    return stop.interrupted


def _write_settings(folder: Path, settings: TrainSettings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder / "config.yaml", settings)


def _teacher(settings: TrainSettings, folder: Path) -> TrainResult:
    """The EO teacher: the one that the settings name, or one that is trained in the run folder and kept."""
    if settings.teacher.checkpoint is not None:
        return TrainResult(Path(settings.teacher.checkpoint), {}, interrupted=False)
    own = folder / "teacher"
    best = own / "best.safetensors"
    if best.with_suffix(".yaml").is_file():  # the card is written last
        return TrainResult(best, {}, interrupted=False)
    if is_main_process():
        _write_settings(folder, settings)
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
