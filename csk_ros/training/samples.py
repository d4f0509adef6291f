"""Samples on their way to the network: opened by spec, cached, augmented, batched."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, default_collate
from tqdm.auto import tqdm

from csk_ros.data import Sample, open_samples
from csk_ros.data.augmentation import augment
from csk_ros.data.thermal import thermal_to_uint8
from csk_ros.labels import UNLABELLED
from csk_ros.training.distributed import is_main_process
from csk_ros.training.samplers import EpochSampler, ShareSampler
from csk_ros.training.settings import complete_specs

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from numpy.typing import NDArray

    from csk_ros.data import SampleSet
    from csk_ros.labels import LabelSet
    from csk_ros.training.samplers import Key
    from csk_ros.training.settings import DataSettings

Batch = dict[str, torch.Tensor]
"""``eo`` uint8 (N, 3, H, W), ``ir`` uint8 (N, 1, H, W), ``labels`` int64 (N, H, W)."""


_EXAMPLES = 16


class JoinedSamples:
    """Several sample sets as one, optionally kept in memory.

    Args:
        parts: sets with one and the same label set.
        specs: what they were opened from, for messages.
        size: height and width that every sample is resized to; None keeps its own.

    Raises:
        ValueError: if their label sets differ.
    """

    def __init__(self, parts: list[SampleSet], specs: list[str], size: tuple[int, int] | None = None) -> None:
        self.label_set: LabelSet = parts[0].label_set
        for part, spec in zip(parts, specs, strict=True):
            if part.label_set != self.label_set:
                raise ValueError(f"the classes of {spec!r} differ from those of {specs[0]!r}")
        self._parts = parts
        self._index = [(part, i) for part in parts for i in range(len(part))]
        self._size = size
        self._cache: list[Sample] | None = None

    @classmethod
    def open(cls, specs: list[str], split: str | None, size: tuple[int, int] | None = None) -> JoinedSamples:
        """The samples of all ``specs``; raises what :func:`open_samples` raises."""
        return cls([open_samples(spec, split) for spec in specs], specs, size)

    def __len__(self) -> int:
        """The number of samples in all parts."""
        return len(self._index)

    def __getitem__(self, index: int) -> Sample:
        """The sample at ``index``, with uint8 thermal.

        Raises:
            ValueError: if it has no labels.
        """
        if self._cache is not None:
            return self._cache[index]
        part, i = self._index[index]
        sample = part[i]
        sample = replace(sample, ir=thermal_to_uint8(sample.ir), labels=_labels(sample))
        return sample if self._size is None else resized(sample, self._size)

    def load(self, workers: int, title: str) -> None:
        """Make and keep every sample, in ``workers`` processes, with progress on the terminal."""
        loader: DataLoader[Sample] = DataLoader(
            _Whole(self), batch_size=None, num_workers=workers, collate_fn=_unchanged
        )
        progress = {"unit": "pair", "total": len(self), "leave": False, "disable": not is_main_process()}
        self._cache = list(tqdm(loader, desc=title, **progress))


class _Whole(Dataset[Sample]):
    def __init__(self, samples: JoinedSamples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]


def _unchanged(sample: Any) -> Any:
    return sample


def resized(sample: Sample, size: tuple[int, int]) -> Sample:
    """``sample`` at another height and width; images by area, labels from the nearest pixel."""
    height, width = size

    def shrink(image: NDArray[Any], method: int) -> Any:
        return cv2.resize(image, (width, height), interpolation=method)

    return replace(
        sample,
        eo=shrink(sample.eo, cv2.INTER_AREA),
        ir=shrink(sample.ir, cv2.INTER_AREA),
        labels=shrink(_labels(sample), cv2.INTER_NEAREST_EXACT),
    )


class TrainingSamples(Dataset[Batch]):
    """Cropped and, if wanted, augmented samples as tensors, by (epoch, index)."""

    def __init__(self, samples: JoinedSamples, settings: DataSettings, seed: int) -> None:
        self._samples = samples
        self._settings = settings
        self._seed = seed

    def __len__(self) -> int:
        """Samples per epoch."""
        return len(self._samples)

    def __getitem__(self, key: Key) -> Batch:
        """The sample as one entry of a :data:`Batch`, without the first dimension."""
        epoch, index = key
        settings = self._settings
        sample = self._samples[index]
        if settings.augmentation is None:
            return to_tensors(_middle(sample, settings.crop))
        rng = np.random.default_rng((self._seed, epoch, index))
        factor = float(np.exp(rng.uniform(*np.log(settings.augmentation.scale))))
        window = _window(sample, settings.crop, max(factor, 1.0), settings.focus, rng)
        rest = replace(settings.augmentation, scale=(min(factor, 1.0),) * 2)
        return to_tensors(augment(window, rng, rest, size=settings.crop))


def _window(
    sample: Sample, size: tuple[int, int], factor: float, focus: float, rng: np.random.Generator
) -> Sample:
    """The part of ``sample`` that fills ``size`` when the whole would fill ``factor`` times as much."""
    have = np.array(sample.ir.shape)
    zoom = factor * float(np.max(np.array(size) / have))
    extent = np.minimum(have, np.ceil(np.array(size) / zoom).astype(np.int64))
    corner = rng.uniform(0, have - extent + 1e-9)
    if rng.random() < focus and (pixel := _some_pixel(_labels(sample), rng)):
        corner = (np.array(pixel) - rng.uniform(0.2, 0.8, 2) * extent).clip(0, have - extent)
    return _cut(sample, corner.astype(np.int64), extent)


def _some_pixel(labels: NDArray[np.uint8], rng: np.random.Generator) -> tuple[int, int] | None:
    """Row and column of a random pixel of a random class but 0; None if there is none."""
    classes = np.flatnonzero(np.bincount(labels.ravel(), minlength=UNLABELLED)[1:UNLABELLED]) + 1
    if not len(classes):
        return None
    pixels = np.flatnonzero(labels == rng.choice(classes))
    row, column = divmod(int(rng.choice(pixels)), labels.shape[1])
    return row, column


def _middle(sample: Sample, size: tuple[int, int]) -> Sample:
    """The part of ``size`` in the middle; raises ValueError if the image is smaller."""
    corner = (np.array(sample.ir.shape) - np.array(size)) // 2
    if corner.min() < 0:
        height, width = sample.ir.shape
        raise ValueError(f"{sample.name} is {width}x{height}, smaller than data.crop: use a smaller crop")
    return _cut(sample, corner, np.array(size))


def _cut(sample: Sample, corner: NDArray[np.int_], extent: NDArray[np.int_]) -> Sample:
    (top, left), (bottom, right) = corner, corner + extent
    part = slice(top, bottom), slice(left, right)
    return replace(sample, eo=sample.eo[part], ir=sample.ir[part], labels=_labels(sample)[part])


class ValidationSamples(Dataset[Batch]):
    """Whole samples as tensors."""

    def __init__(self, samples: JoinedSamples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        """The number of samples."""
        return len(self._samples)

    def __getitem__(self, index: int) -> Batch:
        """One entry of a :data:`Batch`, without the first dimension; that of -1 has no labels."""
        batch = to_tensors(self._samples[max(index, 0)])
        return batch if index >= 0 else batch | {"labels": torch.full_like(batch["labels"], UNLABELLED)}


def to_tensors(sample: Sample) -> Batch:
    """``eo`` uint8 (3, H, W), ``ir`` uint8 (1, H, W), ``labels`` int64 (H, W)."""
    return {
        "eo": torch.from_numpy(np.ascontiguousarray(sample.eo.transpose(2, 0, 1))),
        "ir": torch.from_numpy(np.ascontiguousarray(sample.ir))[None],
        "labels": torch.from_numpy(_labels(sample).astype(np.int64)),
    }


class SampleModule(LightningDataModule):
    """Training and validation loaders of a run.

    Args:
        settings: the run's data section.
        seed: of order and augmentation.
    """

    def __init__(self, settings: DataSettings, seed: int) -> None:
        super().__init__()
        self._settings = settings
        self._seed = seed
        self._start = {"epoch": 0, "used": 0}
        train = complete_specs(settings.train, settings.root)
        val = complete_specs(settings.val, settings.root)
        self.train_samples = JoinedSamples.open(train, settings.train_split, settings.size)
        self.val_samples = JoinedSamples.open(val, settings.val_split, settings.size)
        if self.train_samples.label_set != self.val_samples.label_set:
            raise ValueError("data.train and data.val have different classes")

    @property
    def label_set(self) -> LabelSet:
        """The classes of all samples."""
        return self.train_samples.label_set

    def prepare(self) -> None:
        """Fill the cache, if one is wanted."""
        if self._settings.cache == "ram":
            self.train_samples.load(self._settings.workers, "training samples")
            self.val_samples.load(self._settings.workers, "validation samples")

    def examples(self) -> Batch:
        """A batch of some training samples, as the first epoch has them, without an influence on it."""
        dataset = TrainingSamples(self.train_samples, self._settings, self._seed)
        chosen = np.linspace(0, len(dataset) - 1, min(len(dataset), _EXAMPLES)).astype(int)
        batch: Batch = default_collate([dataset[0, int(index)] for index in chosen])
        return batch

    def state_dict(self) -> dict[str, Any]:
        """How far the run is, for one that is resumed in the middle of an epoch."""
        trainer = self._trainer()
        progress = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return {
            # Lightning declares less than it has
            "epoch": trainer.fit_loop.epoch_progress.current.processed,  # type: ignore[attr-defined]
            "used_batches": progress % int(trainer.num_training_batches),
            "processes": trainer.world_size,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was called.

        Raises:
            ValueError: if another number of processes trained, which no run can go on from exactly.
        """
        before, now = state_dict["processes"], self._trainer().world_size
        if before != now:
            raise ValueError(f"the run was started on {before} processes and cannot go on with {now}")
        self._start = {"epoch": state_dict["epoch"], "used": state_dict["used_batches"]}

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches; a last incomplete one is left out, unless there is no other.

        Raises:
            ValueError: with several processes, if the samples do not make a batch for each.
        """
        dataset = TrainingSamples(self.train_samples, self._settings, self._seed)
        batch, rank, processes = self._settings.batch, *self._place()
        if processes > 1 and len(dataset) < batch * processes:
            raise ValueError(
                f"data.train holds {len(dataset)} samples, too few for data.batch {batch} "
                f"on each of {processes} processes"
            )
        sampler = EpochSampler(
            len(dataset), self._seed, batch=batch, rank=rank, processes=processes, **self._start
        )
        return self._loader(dataset, sampler=sampler, drop_last=len(dataset) >= batch)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Whole images in order, one at a time: their sizes may differ."""
        dataset = ValidationSamples(self.val_samples)
        return self._loader(dataset, batch_size=1, sampler=ShareSampler(len(dataset), *self._place()))

    def _trainer(self) -> Trainer:
        if self.trainer is None:
            raise RuntimeError("a SampleModule has a state only while a trainer uses it")
        return self.trainer

    def _place(self) -> tuple[int, int]:
        """Which process this is, and of how many."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _loader(self, dataset: Dataset[Batch], **options: Any) -> DataLoader[Batch]:
        workers = self._settings.workers
        defaults: dict[str, Any] = {
            "batch_size": self._settings.batch,
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "worker_init_fn": _start_worker if workers else None,
        }
        return DataLoader(dataset, **(defaults | options))


def _labels(sample: Sample) -> NDArray[np.uint8]:
    if sample.labels is None:
        raise ValueError(f"{sample.name} has no labels, which training needs")
    return sample.labels


def _start_worker(_worker: int) -> None:
    """Keep a loading process off the network's cores, and leave Ctrl-C to the main process."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
