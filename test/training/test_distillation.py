from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csk_ros.training.distillation import channel_distillation, pixel_distillation

_seeds = st.integers(0, 10_000)
_temperatures = st.sampled_from([1.0, 2.0, 4.0])


def _softmax(values: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in values]
    return [power / sum(powers) for power in powers]


def _kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def _maps(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 2, 4, generator=generator), torch.randn(2, 3, 2, 4, generator=generator)


@settings(max_examples=25)
@given(_seeds, _temperatures)
def test_pixel_distillation_is_the_mean_divergence_of_the_class_distributions(seed, temperature):
    student, teacher = _maps(seed)
    divergences = [
        _kl(
            _softmax(teacher[n, :, y, x].tolist(), temperature),
            _softmax(student[n, :, y, x].tolist(), temperature),
        )
        for n in range(2)
        for y in range(2)
        for x in range(4)
    ]
    expected = temperature**2 * sum(divergences) / len(divergences)
    assert float(pixel_distillation(student, teacher, temperature)) == pytest.approx(expected, rel=1e-4)


@settings(max_examples=25)
@given(_seeds, _temperatures, st.booleans())
def test_channel_distillation_compares_where_own_features_look(seed, temperature, exchanged):
    student, teacher = _maps(seed)
    foreign = torch.zeros(1, 3, 1, 4, dtype=torch.bool)
    if exchanged:
        foreign[:, 0] = True  # a whole channel
        foreign[..., ::2] = True  # every second column
    divergences = []
    for n in range(2):
        for c in range(3):
            own = [(y, x) for y in range(2) for x in range(4) if not foreign[0, c, 0, x]]
            if own:
                t = _softmax([float(teacher[n, c, y, x]) for y, x in own], temperature)
                s = _softmax([float(student[n, c, y, x]) for y, x in own], temperature)
                divergences.append(_kl(t, s))
    expected = temperature**2 * sum(divergences) / len(divergences)
    given_mask = foreign if exchanged else None
    assert float(channel_distillation(student, teacher, temperature, given_mask)) == pytest.approx(
        expected, rel=1e-4, abs=1e-6
    )


@pytest.mark.parametrize("loss", [pixel_distillation, channel_distillation])
def test_gradients_reach_the_student_only_and_vanish_where_it_agrees(loss):
    student, teacher = (x.requires_grad_() for x in _maps(0))
    loss(student, teacher, 2.0).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0
    same = teacher.detach().clone().requires_grad_()
    value = loss(same, teacher, 2.0)
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(same.grad, torch.zeros_like(same), atol=1e-6, rtol=0)


def test_no_gradient_reaches_what_came_from_the_other_modality():
    student, teacher = _maps(1)
    student.requires_grad_()
    foreign = torch.zeros(1, 3, 1, 4, dtype=torch.bool)
    foreign[:, 1] = True
    foreign[..., 2] = True
    channel_distillation(student, teacher, 4.0, foreign).backward()
    hidden = foreign.expand_as(student)
    assert student.grad[hidden].abs().max() == 0
    assert student.grad[~hidden].abs().min() > 0
    everything = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    assert float(channel_distillation(student, teacher, 4.0, everything).detach()) == 0
