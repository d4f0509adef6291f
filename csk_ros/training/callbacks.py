"""What happens beside the steps of a run: saving, showing progress, ending on Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback
from tqdm.auto import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from lightning.pytorch import LightningModule, Trainer

MONITOR = "miou"
"""The logged score that decides which weights are best: the mean of all routes' mIoU."""


class SaveBestAndLast(Callback):
    """Writes ``last.ckpt`` after every epoch and ``best.ckpt`` at every best score, each with its deployable.

    Args:
        folder: where they go.
        export: called with the path of the deployable file to write.
    """

    def __init__(self, folder: Path, export: Callable[[Path], None]) -> None:
        self._folder = folder
        self._export = export
        self.best: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to know."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self.best = state_dict["best"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Save what this epoch made."""
        score = trainer.callback_metrics.get(MONITOR)
        validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        if validated and score is not None and (self.best is None or float(score) > self.best):
            self.best = float(score)
            self.save(trainer, "best")
        self.save(trainer, "last")

    def save(self, trainer: Trainer, name: str) -> None:
        """Write ``name``.ckpt and ``name``.safetensors; a kill while writing leaves the old ones whole."""
        partial = self._folder / f".{name}.ckpt.partial"
        trainer.save_checkpoint(partial)
        os.replace(partial, self._folder / f"{name}.ckpt")  # noqa: PTH105 (says that it overwrites)
        self._export(self._folder / f"{name}.safetensors")


class StopOnInterrupt(Callback):
    """On the first Ctrl-C the run ends after the step in progress and saves; on the second, at once."""

    def __init__(self) -> None:
        self.interrupted = False
        self._previous: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 (Lightning's signature)
        """Listen."""
        if threading.current_thread() is not threading.main_thread():
            return

        def stop(_signal: int, _frame: FrameType | None) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True
            trainer.should_stop = True
            trainer.limit_val_batches = 0
            tqdm.write(
                "stopping after this step; Ctrl-C again stops at once, without saving", file=sys.stderr
            )

        self._previous = signal.signal(signal.SIGINT, stop)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002 (Lightning's signature)
        """Give Ctrl-C back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)


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
