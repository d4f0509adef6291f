from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from csk_ros.data import Sample
from csk_ros.evaluation.routes import score_routes
from csk_ros.labels import LabelSet
from csk_ros.modality import Route
from csk_ros.network import DEFAULT_NORMALISATION, Checkpoint, build_network

LABELS = LabelSet(("a", "b"), ((0, 0, 0), (1, 1, 1)))


def checkpoint(name, **arguments):
    torch.manual_seed(0)
    network = build_network(name, num_classes=2, decoder_width=8, output_stride=32, **arguments)
    return Checkpoint(network.eval(), LABELS, DEFAULT_NORMALISATION, {})


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    return [
        Sample(
            eo=rng.integers(0, 256, (64, 64, 3), dtype=np.uint8),
            ir=rng.integers(0, 256, (64, 64), dtype=np.uint8),
            labels=rng.choice(np.array([0, 1, 255], np.uint8), (64, 64)),
            name=f"noise {i}",
            stamp_ns=i,
        )
        for i in range(2)
    ]


def test_every_route_is_scored_as_the_network_answers(samples):
    model = checkpoint("csk")
    scores = score_routes(model, samples, device="cpu")
    assert list(scores) == list(Route)
    confusion = np.zeros((2, 2), np.int64)
    for sample in samples:
        ir = torch.from_numpy(sample.ir)[None, None] / 255.0 * 2 - 1
        answer = model.network(ir=ir)[0].argmax(0).numpy()
        known = sample.labels != 255
        np.add.at(confusion, (sample.labels[known], answer[known]), 1)
    difference = np.abs(scores[Route.IR_ONLY].confusion - confusion).sum()
    assert difference <= 4  # batch norms are folded in the Segmenter
    assert scores[Route.FUSED].frames == 2


def test_a_network_of_one_modality_has_one_score(samples):
    assert list(score_routes(checkpoint("single", modality="ir"), samples)) == [Route.IR_ONLY]


def test_samples_without_labels_are_refused(samples):
    with pytest.raises(ValueError, match="noise 0 has no labels"):
        score_routes(checkpoint("single", modality="ir"), [replace(samples[0], labels=None)])
