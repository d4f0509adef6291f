from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from csk_ros.evaluation.metrics import RouteScores
from csk_ros.labels import LabelSet
from csk_ros.modality import Route

FOUR = LabelSet(("a", "b", "c", "d"), ((0, 0, 0),) * 4)
_SHAPE = (5, 7)
_masks = arrays(np.uint8, _SHAPE, elements=st.integers(0, 3))
_labels = arrays(np.uint8, _SHAPE, elements=st.sampled_from([0, 1, 2, 3, 255]))


def _scores(*pairs):
    scores = RouteScores(FOUR)
    for predicted, labels in pairs:
        scores.update(Route.FUSED, np.asarray(predicted, np.uint8), np.asarray(labels, np.uint8))
    return scores.scores(Route.FUSED)


def _iou_by_sets(predicted, labels, class_id):
    labelled = labels != 255
    mine, true = (predicted == class_id) & labelled, labels == class_id
    union = (mine | true).sum()
    return (mine & true).sum() / union if union else np.nan


@settings(max_examples=60)
@given(st.lists(st.tuples(_masks, _labels), min_size=1, max_size=3))
def test_scores_agree_with_counting_sets_of_pixels(pairs):
    scores = _scores(*pairs)
    predicted, labels = (np.concatenate(maps) for maps in zip(*pairs, strict=True))
    expected = np.array([_iou_by_sets(predicted, labels, c) for c in range(4)])
    np.testing.assert_allclose(scores.iou, expected)
    present = expected[~np.isnan(expected)]
    assert scores.miou() == pytest.approx(present.mean() if present.size else np.nan, nan_ok=True)
    assert scores.miou(absent="zero") == pytest.approx(np.nan_to_num(expected).mean())
    labelled = labels != 255
    right = (predicted == labels)[labelled]
    assert scores.pixel_accuracy == pytest.approx(right.mean() if right.size else np.nan, nan_ok=True)
    assert scores.frames == len(pairs)
    assert scores.confusion.sum() == labelled.sum()


@settings(max_examples=60)
@given(_masks, _labels)
def test_accuracy_and_f1_agree_with_counting_pixels(predicted, labels):
    scores = _scores((predicted, labels))
    for c in range(4):
        mine, true = (predicted == c) & (labels != 255), labels == c
        hits, misses, false = (mine & true).sum(), (true & ~mine).sum(), (mine & ~true).sum()
        found = hits / (hits + misses) if true.any() else np.nan
        assert scores.accuracy[c] == pytest.approx(found, nan_ok=True)
        f1 = hits / (hits + (misses + false) / 2) if (true | mine).any() else np.nan
        assert scores.f1[c] == pytest.approx(f1, nan_ok=True)


def test_means_by_hand():
    scores = _scores(([[0, 0, 1, 2, 2]], [[0, 0, 1, 1, 255]]))  # recall 1, 1/2; F1 1, 2/3, 0
    assert scores.mean("accuracy") == pytest.approx(0.75)
    assert scores.mean("accuracy", over="all") == pytest.approx(1.5 / 4)
    assert scores.mean("accuracy", background=False) == pytest.approx(0.5)
    assert scores.mean("f1") == pytest.approx((1 + 2 / 3) / 2)
    assert scores.mean("f1", over="seen") == pytest.approx((1 + 2 / 3) / 3)
    assert scores.mean("f1", over="all", background=False) == pytest.approx(2 / 9)


def test_rows_are_truth_and_columns_are_predictions():
    scores = _scores(([[1, 1, 0]], [[0, 0, 0]]))
    assert scores.confusion[0].tolist() == [1, 2, 0, 0]


def test_both_conventions_for_absent_classes_with_and_without_background():
    scores = _scores(([[0, 0, 1, 2]], [[0, 0, 1, 1]]))  # IoU 1, 1/2, 0; class d is absent
    assert scores.miou() == pytest.approx(1.5 / 3)
    assert scores.miou(absent="zero") == pytest.approx(1.5 / 4)
    assert scores.miou(background=False) == pytest.approx(0.5 / 2)
    assert scores.miou(absent="zero", background=False) == pytest.approx(0.5 / 3)


def test_routes_do_not_mix():
    scores = RouteScores(FOUR)
    good, bad = np.zeros(_SHAPE, np.uint8), np.ones(_SHAPE, np.uint8)
    scores.update(Route.FUSED, good, good)
    scores.update(Route.IR_ONLY, bad, good)
    assert set(scores.routes) == {Route.FUSED, Route.IR_ONLY}
    assert scores.scores(Route.FUSED).pixel_accuracy == 1
    assert scores.scores(Route.IR_ONLY).pixel_accuracy == 0
    with pytest.raises(KeyError):
        scores.scores(Route.EO_ONLY)


def test_all_unlabelled_scores_nothing():
    scores = _scores((np.zeros(_SHAPE), np.full(_SHAPE, 255)))
    assert np.isnan(scores.pixel_accuracy)
    assert np.isnan(scores.miou())


@pytest.mark.parametrize(
    ("predicted", "labels", "reason"),
    [
        (np.full(_SHAPE, 4), np.zeros(_SHAPE), "the mask holds class 4, but there are 4 classes"),
        (np.full(_SHAPE, 255), np.zeros(_SHAPE), "the mask holds class 255"),
        (np.zeros(_SHAPE), np.full(_SHAPE, 9), "the label map holds class 9"),
        (np.zeros((2, 2)), np.zeros(_SHAPE), "cannot be scored on labels of"),
    ],
)
def test_what_cannot_be_scored_is_refused(predicted, labels, reason):
    with pytest.raises(ValueError, match=reason):
        _scores((predicted, labels))


def test_a_class_that_only_masks_hold_does_not_count_as_present():
    scores = _scores(([[0, 1, 2]], [[0, 1, 0]]))
    assert scores.present.tolist() == [True, True, False, False]
    assert scores.miou_present() == pytest.approx((0.5 + 1) / 2)
    assert scores.miou_present(background=False) == pytest.approx(1)
    assert scores.miou() == pytest.approx((0.5 + 1 + 0) / 3)
