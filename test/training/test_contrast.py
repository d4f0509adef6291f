from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csk_ros.labels import UNLABELLED
from csk_ros.training.contrast import PixelContrast, Pixels, at_resolution, info_nce, sample_half_hard


def _projections(labels: list[int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(len(labels), 5, generator=generator), dim=1)


def _slow_info_nce(projections: list[list[float]], labels: list[int], tau: float) -> float:
    def dot(i: int, j: int) -> float:
        return sum(a * b for a, b in zip(projections[i], projections[j], strict=True)) / tau

    losses = []
    for i, label in enumerate(labels):
        positives = [j for j, other in enumerate(labels) if other == label and j != i]
        negatives = [j for j, other in enumerate(labels) if other != label]
        if positives and negatives:
            rest = sum(math.exp(dot(i, n)) for n in negatives)
            terms = [-math.log(math.exp(dot(i, p)) / (math.exp(dot(i, p)) + rest)) for p in positives]
            losses.append(sum(terms) / len(terms))
    return sum(losses) / len(losses) if losses else 0.0


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=9),
    st.integers(0, 99),
    st.sampled_from([0.1, 0.5]),
)
def test_info_nce_is_the_sum_over_positives(labels, seed, tau):
    projections = _projections(labels, seed)
    expected = _slow_info_nce(projections.tolist(), labels, tau)
    assert float(info_nce(projections, torch.tensor(labels), tau)) == pytest.approx(
        expected, rel=1e-3, abs=1e-5
    )


def test_info_nce_pulls_a_class_together_across_modalities():
    labels = torch.tensor([0, 1, 0, 1])  # two pixels of either modality
    raw = _projections([0] * 4, seed=3).requires_grad_()
    optimiser = torch.optim.SGD([raw], lr=0.5)
    for _ in range(60):
        optimiser.zero_grad()
        info_nce(torch.nn.functional.normalize(raw, dim=1), labels, 0.1).backward()
        optimiser.step()
    directions = torch.nn.functional.normalize(raw.detach(), dim=1)
    assert directions[0] @ directions[2] > 0.8
    assert directions[0] @ directions[1] < 0.2


@settings(max_examples=50)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(2, 12))
def test_half_of_the_anchors_are_hard_where_there_are_enough(hard, count):
    mask = torch.tensor(hard)
    chosen = sample_half_hard(torch.arange(len(hard)), mask, count)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, len(hard))
    difficult = int(mask[chosen].sum())
    wanted = min(count // 2, sum(hard))
    assert difficult >= wanted
    if len(hard) - sum(hard) >= count - count // 2:
        assert difficult == wanted


def test_unlabelled_pixels_are_never_chosen_and_gradients_reach_both_modalities():
    torch.manual_seed(0)
    contrast = PixelContrast(channels=6, dimensions=8, temperature=0.1, anchors=4)
    labels = torch.tensor([[[0, 1], [UNLABELLED, 1]]])
    features = {name: torch.randn(1, 6, 2, 2, requires_grad=True) for name in ("eo", "ir")}
    hard = torch.zeros_like(labels, dtype=torch.bool)
    contrast([Pixels(x, labels, hard) for x in features.values()]).backward()
    for x in features.values():
        assert x.grad[0, :, 1, 0].abs().max() == 0
        assert x.grad[0, :, 0, 0].abs().sum() > 0
    nothing = torch.full_like(labels, UNLABELLED)
    assert float(contrast([Pixels(x, nothing, hard) for x in features.values()]).detach()) == 0


def test_labels_and_mistakes_at_the_resolution_of_features():
    labels = torch.tensor([[[0, 0, 1, 1]] * 4])
    logits = torch.zeros(1, 2, 4, 4)
    logits[:, 0] = 1.0  # class 0 everywhere
    small, wrong = at_resolution(labels, logits, (2, 2))
    assert small.tolist() == [[[0, 1], [0, 1]]]
    assert wrong.tolist() == [[[False, True], [False, True]]]
