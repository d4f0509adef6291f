"""What the network makes of a few validation frames, drawn as the run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from csk_ros.inference.overlay import draw_overlay
from csk_ros.training.samples import to_tensors
from csk_ros.training.supervised import SupervisedModule

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.pytorch import LightningModule, Trainer
    from numpy.typing import NDArray

    from csk_ros.data import Sample
    from csk_ros.labels import LabelSet
    from csk_ros.training.samples import JoinedSamples

_WIDTH = 320  # of one panel, pixels
_TITLE = 26  # height of a line of text, pixels
_OPACITY = 0.65
_ENTRY = 160  # of a class in the legend, pixels
_FONT = cv2.FONT_HERSHEY_DUPLEX


class DrawSamples(Callback):
    """After each validation: EO, IR, labels and every route's answer for frames spread over the samples.

    One PNG per validation, named after the epoch, and the same picture for TensorBoard; drawn by the main
    process alone.

    Args:
        folder: where the PNGs go; made when it is needed.
        samples: of the validation.
        count: how many frames, at most; 0 draws nothing.
    """

    def __init__(self, folder: Path, samples: JoinedSamples, count: int) -> None:
        self._folder = folder
        self._samples = samples
        self._chosen = np.unique(np.linspace(0, len(samples) - 1, count).astype(int)).tolist()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw."""
        if not (self._chosen and trainer.is_global_zero and isinstance(pl_module, SupervisedModule)):
            return
        picture = self._draw(pl_module)
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"epoch_{trainer.current_epoch + 1:04d}.png"
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("samples", picture, trainer.global_step, dataformats="HWC")

    def _draw(self, module: SupervisedModule) -> NDArray[np.uint8]:
        rows = [_row(self._samples[index], module) for index in self._chosen]
        titles = ["EO", "IR", "labels", *(route.value for route in module.routes)]
        return np.vstack([_line(titles, _WIDTH), *rows, _legend(module.label_set, rows[0].shape[1])])


def _row(sample: Sample, module: SupervisedModule) -> NDArray[np.uint8]:
    """The panels of one frame side by side, uint8 RGB."""
    batch = {name: value[None].to(module.device) for name, value in to_tensors(sample).items()}
    masks = [sample.labels, *(answer[0] for answer in module.answers(batch).values())]
    images: list[Any] = [sample.eo, cv2.cvtColor(sample.ir, cv2.COLOR_GRAY2RGB)]
    overlays = [
        draw_overlay(mask, module.label_set, ir=sample.ir, opacity=_OPACITY)
        for mask in masks
        if mask is not None
    ]
    return np.hstack([_panel(image) for image in [*images, *overlays]])


def _panel(image: NDArray[Any]) -> NDArray[np.uint8]:
    """The image in the panel's width and 3:4 shape, in its own proportions, on black."""
    height = _WIDTH * 3 // 4
    scale = min(_WIDTH / image.shape[1], height / image.shape[0])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    panel = np.zeros((height, _WIDTH, 3), np.uint8)
    panel[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return panel


def _line(texts: list[str], step: int) -> NDArray[np.uint8]:
    """Texts in white on black, one every ``step`` pixels."""
    line = np.zeros((_TITLE, step * len(texts), 3), np.uint8)
    for index, text in enumerate(texts):
        cv2.putText(line, text, (step * index + 6, 18), _FONT, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return line


def _legend(label_set: LabelSet, width: int) -> NDArray[np.uint8]:
    """The classes' names, each beside its colour, in as many lines as they need."""
    columns = width // _ENTRY
    legend = np.zeros((-(-len(label_set) // columns) * _TITLE, width, 3), np.uint8)
    for index, (name, color) in enumerate(zip(label_set.names, label_set.colors, strict=True)):
        row, column = divmod(index, columns)
        left, top = column * _ENTRY, row * _TITLE
        cv2.rectangle(legend, (left + 4, top + 5), (left + 22, top + _TITLE - 5), color, cv2.FILLED)
        cv2.putText(legend, name, (left + 28, top + 18), _FONT, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return legend
