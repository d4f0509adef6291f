"""A data set of four small pictures in the MFNet layout, and settings to learn it by heart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch

from csk_ros.network.exchange import PAPER_STAGES
from csk_ros.training.settings import (
    DataSettings,
    LoopSettings,
    NetworkSettings,
    OptimizerSettings,
    TrainSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEIGHT, WIDTH = 64, 96


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def squares(tmp_path_factory) -> Path:
    """A bright, warm car and a dim, warm person on noise, at four places; some pixels unlabelled."""
    root = tmp_path_factory.mktemp("squares")
    (root / "images").mkdir()
    (root / "labels").mkdir()
    rng = np.random.default_rng(0)
    names = [f"{i:05d}D" for i in range(4)]
    for i, name in enumerate(names):
        image = rng.integers(40, 60, (HEIGHT, WIDTH, 4), dtype=np.uint8)
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        image[20:52, 8 * i : 8 * i + 32] = (30, 60, 220, 160)
        labels[20:52, 8 * i : 8 * i + 32] = 1
        image[12:60, 90 - 8 * i - 16 : 90 - 8 * i] = (90, 90, 60, 250)
        labels[12:60, 90 - 8 * i - 16 : 90 - 8 * i] = 2
        labels[:4] = 255
        cv2.imwrite(str(root / "images" / f"{name}.png"), image)
        cv2.imwrite(str(root / "labels" / f"{name}.png"), labels)
    (root / "train.txt").write_text("\n".join(names))
    (root / "val.txt").write_text("\n".join(names))
    return root


@pytest.fixture(scope="session")
def make_settings(squares, tmp_path_factory) -> Callable[..., TrainSettings]:
    """Settings of a run in a folder of its own."""

    def make(epochs: int, checkpoint: str | None = None) -> TrainSettings:
        return TrainSettings(
            output=str(tmp_path_factory.mktemp("runs") / "run"),
            data=DataSettings(
                train=["mfnet:{root}"],
                val=["mfnet:{root}"],
                test={"all": "mfnet:{root}"},
                root=str(squares),
                train_split="train",
                val_split="val",
                crop=(HEIGHT, WIDTH),
                augmentation=None,
                batch=2,
                workers=0,
                cache="ram",
            ),
            network=NetworkSettings(
                arguments={
                    "decoder_width": 16,
                    "output_stride": 32,
                    "exchange_stages": list(PAPER_STAGES),
                    "exchange_direction": "ir_to_eo",
                },
                checkpoint=checkpoint,
            ),
            optimizer=OptimizerSettings(lr=5e-3, warmup_steps=2),
            loop=LoopSettings(epochs=epochs, validate_every=epochs, accelerator="cpu"),
            seed=1,
            notice="made up",
        )

    return make
