"""A tiny data set: a warm square that wanders over a gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from csk_ros.data.sample import Sample
from csk_ros.labels import LabelSet

TWO = LabelSet(("ground", "square"), ((20, 20, 20), (250, 80, 10)))


@dataclass
class Squares:
    """``frames`` samples of a moving square; labels mark it as class 1."""

    frames: int = 6
    height: int = 24
    width: int = 32
    rate_hz: float = 10.0
    ir_dtype: type = np.uint8
    with_labels: bool = True
    label_set: LabelSet = TWO

    def __len__(self) -> int:
        return self.frames

    def __iter__(self):
        return (self[i] for i in range(self.frames))

    def __getitem__(self, index: int) -> Sample:
        labels = np.zeros((self.height, self.width), np.uint8)
        labels[8:16, (4 + index) % (self.width - 8) :][:, :8] = 1
        ir = (np.arange(self.width) * 2 + labels * 150).astype(self.ir_dtype) * (
            257 if self.ir_dtype is np.uint16 else 1
        )
        eo = np.stack([labels * 200, np.full_like(labels, index), 255 - labels * 100], axis=-1)
        stamp_ns = round(index * 1e9 / self.rate_hz)
        return Sample(eo, ir, labels if self.with_labels else None, f"square-{index}", stamp_ns)
