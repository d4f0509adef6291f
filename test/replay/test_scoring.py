from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from squares_samples import TWO

from csk_ros.modality import Route
from csk_ros.replay.scoring import AgreementMeter, ConsistencyMeter, LabelScorer


def blob(x, height=96, width=128):
    mask = np.zeros((height, width), np.uint8)
    mask[30:60, x : x + 30] = 1
    return mask


def picture(x):
    texture = np.random.default_rng(1).integers(0, 60, (96, 128)).astype(np.uint8)
    return texture + 150 * blob(x)


@given(order=st.permutations([(kind, i) for i in range(4) for kind in ("mask", "labels")]))
def test_masks_and_labels_meet_in_any_order(order):
    scorer = LabelScorer(TWO)
    for kind, i in order:
        if kind == "mask":
            scorer.mask(i, 100 + i, Route.FUSED, blob(10 + i))
        else:
            scorer.labels(100 + i, blob(10))
    assert set(scorer.miou) == set(range(4))
    assert scorer.miou[0] == 1
    assert scorer.miou[0] > scorer.miou[1] > scorer.miou[3]
    assert scorer.scores.scores(Route.FUSED).frames == 4


def test_masks_without_labels_are_forgotten():
    scorer = LabelScorer(TWO)
    for i in range(1000):
        scorer.mask(i, i, Route.FUSED, blob(10))
    assert len(scorer._masks) <= 128
    scorer.labels(0, blob(10))
    assert not scorer.miou


def test_agreement_is_of_pixels_and_classes():
    meter = AgreementMeter(TWO)
    assert meter.result() is None
    meter.add(blob(10), blob(10))
    meter.add(blob(10), blob(40))
    result = meter.result()
    assert result.frames == 2
    assert result.pixels == pytest.approx(1 - 1800 / (2 * 96 * 128))


def test_masks_that_move_with_the_image_are_steady_and_those_that_do_not_are_not():
    def consistency(masks):
        meter = ConsistencyMeter(TWO, every=1)
        for i, mask in enumerate(masks):
            meter.add(Route.IR_ONLY, picture(10 + 4 * i), mask)
        return meter.result()[Route.IR_ONLY]

    moving = consistency([blob(10 + 4 * i) for i in range(8)])
    jumping = consistency([blob(10 + 4 * i + 12 * (i % 2)) for i in range(8)])
    assert moving.pairs == jumping.pairs == 7
    assert moving.miou > 0.9 > jumping.miou + 0.2


def test_only_neighbours_of_one_route_are_compared():
    meter = ConsistencyMeter(TWO, every=3)
    routes = [Route.FUSED, Route.IR_ONLY, Route.FUSED, Route.FUSED, Route.FUSED, Route.FUSED]
    for route in routes:
        meter.add(route, picture(10), blob(10))
    assert {route: found.pairs for route, found in meter.result().items()} == {Route.FUSED: 1}
