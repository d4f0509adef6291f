from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from pixel_net import PixelNet

from csk_ros.data import Sample
from csk_ros.labels import MFNET
from csk_ros.network import DEFAULT_NORMALISATION, Checkpoint


class ListedSamples(list):
    """Samples in memory as a SampleSet."""

    label_set = MFNET
    rate_hz = 10.0


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_model():
    """A checkpoint of a :class:`PixelNet`."""

    def make(**arguments):
        torch.manual_seed(0)
        return Checkpoint(PixelNet(9, **arguments).eval(), MFNET, DEFAULT_NORMALISATION, {})

    return make


@pytest.fixture(scope="session")
def make_samples():
    """Blobs in EO and IR with labels that follow the thermal ones, 64 x 80."""

    def make(names=("00001D", "00002D", "00003D", "00007N")):
        rng = np.random.default_rng(1)
        made = []
        for i, name in enumerate(names):
            smooth = cv2.GaussianBlur(rng.standard_normal((64, 80, 4)).astype(np.float32), (0, 0), 5)
            scaled = np.clip(128 + 900 * smooth, 0, 255).astype(np.uint8)
            labels = (scaled[..., 3] // 64).astype(np.uint8)
            labels[:4] = 255
            made.append(Sample(scaled[..., :3].copy(), scaled[..., 3].copy(), labels, name, i))
        return ListedSamples(made)

    return make
