"""Evaluations of a tiny network, against the Segmenter called by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from csk_ros.evaluation import EvaluationSettings, degradations, evaluate, score_routes
from csk_ros.evaluation.report import metrics, speed
from csk_ros.inference import Segmenter
from csk_ros.labels import LabelSet
from csk_ros.modality import Route

HERE = {"engine": "torch", "device": "cpu", "threads": None}
SCORED = frozenset({"modalities", "degradations", "missing", "noise"})


@pytest.fixture(scope="module")
def model(make_model):
    return make_model()


@pytest.fixture(scope="module")
def samples(make_samples):
    return make_samples()


@pytest.fixture(scope="module")
def evaluation(model, samples):
    return evaluate(model, samples, EvaluationSettings(parts=SCORED, gaussian=True, **HERE))


@pytest.fixture(scope="module")
def document(evaluation, model):
    return metrics(evaluation, model, data="made", split="val")


def _settings(*parts, **others):
    return EvaluationSettings(parts=frozenset(parts), **HERE, **others)


def _slow(model, pairs):
    """The confusion of the fused route on (eo, ir, labels), pixel by pixel."""
    segmenter = Segmenter.from_network(model, engine="torch", device="cpu", confidence=False)
    confusion = np.zeros((9, 9), np.int64)
    for eo, ir, labels in pairs:
        for true, guess in zip(labels.flat, segmenter.segment(eo=eo, ir=ir).labels.flat, strict=True):
            if true != 255:
                confusion[true, guess] += 1
    return confusion


def _tally(evaluation, kind, strength, hit="eo"):
    found = [
        (condition, tally)
        for condition, tally in evaluation.tallies.items()
        if (condition.kind, condition.strength) == (kind, strength)
        and "+".join(m.value for m in condition.hit) == hit
    ]
    assert len(found) == 1
    return found[0][1]


def test_clean_scores_are_those_of_the_routes(evaluation, model, samples):
    for route, scores in score_routes(model, samples, device="cpu").items():
        assert np.array_equal(evaluation.scores(route).confusion, scores.confusion)
    assert evaluation.clean[Route.FUSED].shape == (4, 9, 9)
    assert len({evaluation.scores(route).miou() for route in Route}) == 3


@pytest.mark.parametrize(
    ("kind", "strength", "change"),
    [
        ("zero", 1, lambda eo: 0 * eo),
        ("darkness", 0.1, lambda eo: degradations.darken(eo, 0.1)),
        ("fog", 0, lambda eo: np.full_like(eo, 200)),
        ("shift", 8, lambda eo: degradations.shift(eo, 8)),
    ],
)
def test_a_changed_eo_image_reaches_the_fused_route(evaluation, model, samples, kind, strength, change):
    expected = _slow(model, [(change(s.eo), s.ir, s.labels) for s in samples])
    assert np.array_equal(_tally(evaluation, kind, strength).confusions[Route.FUSED], expected)
    assert not np.array_equal(expected, evaluation.scores(Route.FUSED).confusion)


def test_a_black_thermal_image_reaches_the_fused_route(evaluation, model, samples):
    expected = _slow(model, [(s.eo, 0 * s.ir, s.labels) for s in samples])
    assert np.array_equal(_tally(evaluation, "zero", 1, "ir").confusions[Route.FUSED], expected)


def test_black_images_stand_in_the_row_of_what_is_left(evaluation, document):
    for lost, left in (("eo", "ir"), ("ir", "eo")):
        confusion = _tally(evaluation, "zero", 1, lost).confusions[Route.FUSED]
        row = document["zero_filled"][left]
        assert row["pixel_accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum(), abs=1e-6)
    table = document["zero_filled"]
    assert table["ir"]["pixel_accuracy"] != table["eo"]["pixel_accuracy"]


def test_a_late_eo_image_is_that_of_the_frame_before(evaluation, model, samples):
    tally = _tally(evaluation, "offset", 1)
    assert tally.frames == [1, 2]  # 00007N follows nothing
    expected = _slow(model, [(samples[i - 1].eo, samples[i].ir, samples[i].labels) for i in (1, 2)])
    assert np.array_equal(tally.confusions[Route.FUSED], expected)


def test_a_frozen_camera_repeats_its_image(model, make_samples):
    samples = make_samples([f"{i:05d}D" for i in range(7)])
    tally = _tally(evaluate(model, samples, _settings("degradations")), "frozen", 5)
    assert tally.frames == list(range(7))
    expected = _slow(model, [(samples[5 * (i // 5)].eo, s.ir, s.labels) for i, s in enumerate(samples)])
    assert np.array_equal(tally.confusions[Route.FUSED], expected)


def test_what_needs_a_longer_sequence_is_left_out(document):
    found = {(row["kind"], row["strength"]): row["frames"] for row in document["degradations"]}
    assert found["offset", 2] == 1
    assert ("offset", 5) not in found
    assert ("frozen", 5) not in found


def test_ir_is_scored_on_the_frames_of_the_degradation(document, evaluation):
    row = next(r for r in document["degradations"] if (r["kind"], r["strength"]) == ("offset", 1))
    alone = evaluation.scores(Route.IR_ONLY, [1, 2])
    assert row["ir"]["miou_present"] == pytest.approx(alone.miou_present(), abs=1e-6)
    assert row["margin_to_ir"] == pytest.approx(row["eo+ir"]["miou_present"] - alone.miou_present(), abs=2e-6)
    assert row["below_ir"] == (row["margin_to_ir"] < -0.02)


def test_the_verdict_on_eo_loss_is_the_worst_of_its_kinds(document):
    margins = {
        (row["kind"], row["strength"]): row["margin_to_ir"]
        for row in document["degradations"]
        if row["kind"] in ("darkness", "washout", "fog")
    }
    assert len(margins) == 12
    worst = document["eo_loss"]["worst"]
    assert worst["margin_to_ir"] == min(margins.values()) == margins[worst["kind"], worst["strength"]]
    assert document["eo_loss"]["holds"] == (worst["margin_to_ir"] >= -0.02)


def test_the_same_figures_every_time_and_whatever_else_is_measured(evaluation, document, model, samples):
    again = evaluate(model, samples, EvaluationSettings(parts=SCORED, gaussian=True, **HERE))
    assert json.dumps(metrics(again, model, data="made", split="val")) == json.dumps(document)


def test_the_noise_of_a_frame_hangs_on_nothing_but_its_name(model, samples):
    one, two, second = (
        evaluate(model, type(samples)(chosen), _settings("noise")).tallies
        for chosen in (samples[:1], samples[:2], samples[1:2])
    )
    for a, b, c in zip(one.values(), two.values(), second.values(), strict=True):
        for route in Route:
            assert np.array_equal(b.confusions[route], a.confusions[route] + c.confusions[route])


def test_another_seed_makes_other_noise_and_nothing_else(evaluation, model, samples):
    other = evaluate(model, samples, _settings("noise", seed=1))
    assert np.array_equal(other.clean[Route.FUSED], evaluation.clean[Route.FUSED])
    before = _tally(evaluation, "salt_and_pepper", 0.05, "eo+ir").confusions
    after = _tally(other, "salt_and_pepper", 0.05, "eo+ir").confusions
    assert not np.array_equal(before[Route.FUSED], after[Route.FUSED])


def test_light_splits_the_frames(document, evaluation):
    assert list(document["light"]) == ["day", "night"]
    night = evaluation.scores(Route.FUSED, [3])
    assert document["light"]["night"]["eo+ir"]["frames"] == 1
    assert document["light"]["night"]["eo+ir"]["miou"] == pytest.approx(night.miou(absent="zero"), abs=1e-6)


def test_the_document_is_json_without_nan(document):
    json.dumps(document, allow_nan=False)
    assert document["modalities"]["ir"]["accuracy"]["bump"] is None
    assert document["data"]["unlabelled_pixels"] == 4 * 4 * 80
    assert sum(document["data"]["pixels"].values()) == 4 * 60 * 80


def test_a_network_of_one_modality_has_the_rows_that_it_has(make_model, samples):
    model = make_model(modalities=("ir",))
    document = metrics(evaluate(model, samples, EvaluationSettings(parts=SCORED, **HERE)), model)
    table = document["modalities"]
    assert table["ir"]["miou_present"] > 0
    assert table["ir"]["gap_miou"] is None
    assert (table["eo+ir"], table["eo"], table["mean"]) == (None, None, None)
    assert set(document["zero_filled"].values()) == {None}
    assert document["missing"]["expected"]["drop"] == {"0.2": None, "0.1": None, "0.05": None}
    assert (document["degradations"], document["missing"]["regions"]) == ([], [])
    assert document["eo_loss"]["holds"] is None
    assert document["noise"][0]["eo"] is None


def test_early_fusion_runs_with_black_images_only(make_model, samples):
    model = make_model(fused_only=True)
    document = metrics(evaluate(model, samples, _settings("missing")), model)
    assert document["modalities"]["ir"] is None
    assert document["zero_filled"]["mean"]["miou"] > 0
    assert document["missing"]["expected"]["drop"]["0.1"] is None
    assert document["missing"]["expected"]["zero"]["0.1"]["miou"] > 0


def test_only_speed_scores_nothing(model, samples):
    evaluation = evaluate(model, samples, _settings("speed", limit=1))
    document = metrics(evaluation, model)
    assert "modalities" not in document
    assert document["cost"]["ir"] == {"parameters": 90, "macs": 64 * 80 * 81, "size": [64, 80]}
    assert document["cost"]["eo+ir"]["macs"] == 64 * 80 * (9 * 9 * 4 + 81)
    timed = speed(evaluation)
    assert timed["size"] == [64, 80]
    assert timed["latency"]["ir"]["p95_ms"] >= timed["latency"]["ir"]["median_ms"] > 0
    assert timed["threads"] == 1


def test_the_working_size_is_that_of_the_cost(model, samples):
    evaluation = evaluate(model, samples, _settings("modalities", limit=1, height=96, width=128))
    assert evaluation.size == (96, 128)
    own = evaluate(model, samples, _settings("modalities", limit=1))
    assert evaluation.cost[Route.IR_ONLY].macs == own.cost[Route.IR_ONLY].macs * (96 * 128) / (64 * 80)
    assert not np.array_equal(evaluation.clean[Route.FUSED], own.clean[Route.FUSED])


def test_sixteen_bit_thermal_goes_through(model, samples):
    deep = type(samples)(replace(s, ir=28_000 + 4 * s.ir.astype(np.uint16)) for s in samples)
    document = metrics(evaluate(model, deep, _settings("noise", "missing", limit=2)), model)
    assert document["noise"][0]["ir"]["miou"] is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": None}, "00003D has no labels"),
        ({"labels": np.full((64, 80), 9, np.uint8)}, r"00003D: its labels hold the ids \[9\]"),
        ({"labels": np.zeros((64, 79), np.uint8)}, "00003D: .* must have one size"),
    ],
)
def test_what_cannot_be_scored_is_named_before_anything_runs(model, samples, change, words, monkeypatch):
    broken = type(samples)([*samples[:2], replace(samples[2], **change), samples[3]])
    monkeypatch.setattr(Segmenter, "segment", lambda *_, **__: pytest.fail("ran"))
    with pytest.raises(ValueError, match=words):
        evaluate(model, broken, _settings("modalities"))


def test_other_classes_are_refused(model, samples):
    other = type(samples)(samples)
    other.label_set = LabelSet(("a", "b"), ((0, 0, 0),) * 2)
    with pytest.raises(ValueError, match=r"knows the classes background.*the data has a, b"):
        evaluate(model, other, _settings("modalities"))
    with pytest.raises(ValueError, match="no samples"):
        evaluate(model, type(samples)(), _settings("modalities"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"parts": frozenset({"sped"})}, "sped: use some of modalities, degradations"),
        ({"parts": frozenset()}, "empty: use some of"),
        ({"limit": 0}, "limit is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        EvaluationSettings(**settings)
