"""What happens beside the steps of a run: saving, showing progress, ending early."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Callback
from tqdm.auto import tqdm

from csk_ros.training.distributed import is_main_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from lightning.pytorch import LightningModule, Trainer

MONITOR = "miou"
"""The logged score that decides which weights are best: the mean of all routes' mIoU."""


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ONCE_S = 1.0  # a terminal and torchrun both pass one Ctrl-C on


class StopOnInterrupt(Callback):
    """Listens for Ctrl-C and SIGTERM; a second one, a second later or more, stops at once.

    It only takes note: :class:`SaveBestAndLast` asks :meth:`wanted` where a run can be left and saved, so it
    does not matter when the signal comes.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._since_s = 0.0
        self._previous: dict[signal.Signals, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Remember who listened."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.getsignal(number) for number in _SIGNALS}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (likewise)
        """Listen, in place of Lightning, which began to since and would stop without saving."""

        def stop(_signal: int, _frame: FrameType | None) -> None:
            now_s = time.monotonic()
            if not self.interrupted:
                self.interrupted, self._since_s = True, now_s
                if is_main_process():
                    tqdm.write(
                        "stopping after this step, or this validation; Ctrl-C again stops at once, "
                        "without saving",
                        file=sys.stderr,
                    )
            elif now_s - self._since_s > _ONCE_S:
                raise KeyboardInterrupt

        for number in self._previous:
            signal.signal(number, stop)

    def wanted(self, trainer: Trainer) -> bool:
        """Whether any process was told to stop; every process has to ask."""
        told = trainer.strategy.reduce_boolean_decision(self.interrupted, all=False)
        self.interrupted |= told  # never back to False: a signal may just have come
        return told

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002 (likewise)
        """Give the signals back."""
        self._give_back()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002 (likewise)
        """Give the signals back."""
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


class SeedSteps(Callback):
    """Seeds torch for each step from seed, epoch, batch and process: dropout, feature exchange.

    So a resumed run draws what an uninterrupted one draws, and no state of a generator has to be kept.

    Args:
        seed: the run's.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002 (Lightning's signature)
        batch: Any,  # noqa: ARG002 (likewise)
        batch_idx: int,
    ) -> None:
        """Seed torch on all devices."""
        parts = (self._seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(parts).generate_state(1)[0]))


class SaveBestAndLast(Callback):
    """Writes ``last.ckpt`` after every epoch and ``best.ckpt`` at every best score, each with its deployable.

    Within an epoch it saves on a signal and every ``save_every`` steps. A run that did not get better for
    ``patience`` validations ends.

    Args:
        folder: where they go.
        export: called with the path of the deployable file to write.
        stop: tells when to save in the middle of an epoch and end.
        save_every: optimiser steps between savings of ``last.ckpt`` within an epoch; 0 is never.
        patience: validations; 0 never ends a run early.
    """

    def __init__(
        self,
        folder: Path,
        export: Callable[[Path], None],
        stop: StopOnInterrupt,
        *,
        save_every: int = 0,
        patience: int = 0,
    ) -> None:
        self._folder = folder
        self._export = export
        self._stop = stop
        self._save_every = save_every
        self._patience = patience
        self._cut_short = False
        self.best: float | None = None
        self.worse = 0

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to know."""
        return {"best": self.best, "worse": self.worse}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self.best, self.worse = state_dict["best"], state_dict["worse"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """A run that had lost its patience has still lost it."""
        if self._impatient:
            trainer.should_stop = True

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002 (Lightning's signature)
        outputs: Any,  # noqa: ARG002 (likewise)
        batch: Any,  # noqa: ARG002 (likewise)
        batch_idx: int,
    ) -> None:
        """Save if it is time, unless gradients are being gathered or the epoch's end saves anyway."""
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        if self._stop.wanted(trainer):
            self._cut_short = True
            self.save(trainer, "last")
            trainer.limit_val_batches = 0
            trainer.should_stop = True
        elif self._save_every and trainer.global_step % self._save_every == 0:
            self._save_state(trainer, "last")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Save what this epoch made, unless it was cut short."""
        if self._cut_short:
            return
        score = trainer.callback_metrics.get(MONITOR)
        validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        if validated and score is not None:
            self._judge(trainer, float(score))
        self.save(trainer, "last")
        if self._stop.wanted(trainer) or self._impatient:
            trainer.should_stop = True

    @property
    def _impatient(self) -> bool:
        return 0 < self._patience <= self.worse

    def _judge(self, trainer: Trainer, score: float) -> None:
        if not score > (-math.inf if self.best is None else self.best):  # nor is NaN any better
            self.worse += 1
            return
        self.best, self.worse = score, 0
        self.save(trainer, "best")

    def save(self, trainer: Trainer, name: str) -> None:
        """Write ``name``.ckpt and ``name``.safetensors; a kill while writing leaves the old ones whole."""
        self._save_state(trainer, name)
        if trainer.is_global_zero:
            self._export(self._folder / f"{name}.safetensors")

    def _save_state(self, trainer: Trainer, name: str) -> None:
        partial = self._folder / f".{name}.ckpt.partial"
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            os.replace(partial, self._folder / f"{name}.ckpt")  # noqa: PTH105 (says that it overwrites)


class ShowProgress(Callback):
    """One bar over the whole run: time left, losses by head, mIoU by route."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Open the bar."""
        if trainer.is_global_zero:
            total = int(trainer.estimated_stepping_batches)
            interval = 0.5 if sys.stderr.isatty() else 15.0
            self._bar = tqdm(
                total=total, initial=trainer.global_step, desc="training", unit="step", mininterval=interval
            )

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ARG002 (Lightning's signature)
        """Move the bar; the figures are read at most as often as it is drawn."""
        bar = self._bar
        if bar is None:
            return
        done = trainer.global_step - bar.n
        if done and bar.n + done - bar.last_print_n >= bar.miniters:
            bar.set_postfix(_figures(trainer), refresh=False)
        bar.update(done)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Write the epoch's scores above the bar."""
        if self._bar is not None:
            scores = "  ".join(f"{k} {v:.3f}" for k, v in trainer.callback_metrics.items() if "miou" in k)
            self._bar.write(f"epoch {trainer.current_epoch + 1}: {scores}", file=sys.stderr)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002 (Lightning's signature)
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _figures(trainer: Trainer) -> dict[str, str]:
    shown = {name: value for name, value in trainer.callback_metrics.items() if "/" in name}
    return {name: f"{float(value):.3f}" for name, value in shown.items()}
