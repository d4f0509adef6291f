"""The table against results that are made up and figures that are worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csk_ros.labels import LabelSet
from csk_ros.modality import Route
from csk_ros.training.comparison_spec import Claim, Comparison, Run
from csk_ros.training.comparison_state import complete_settings
from csk_ros.training.comparison_table import Results, check, differences, summarise, write_table
from csk_ros.training.files import write_json

LABELS = LabelSet(("ground", "thing", "never"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
BUDGET = {"steps": 6, "batch": 2, "samples_seen": 12, "epochs": 3, "crop": [64, 96], "parameters": 1_500_000}


def confusion(right: int) -> list[list[int]]:
    """Of 100 pixels of ground and 100 things so many of each are right, the rest are taken for each other."""
    return [[right, 100 - right, 0], [100 - right, right, 0], [0, 0, 0]]


def points(right: float) -> float:
    return 100 * right / (200 - right)


def result(run, tests):
    made = {
        name: {"sizes": [[48, 64]], "routes": {r: {"confusion": confusion(n)} for r, n in routes.items()}}
        for name, routes in tests.items()
    }
    write = {
        "label_set": LABELS.to_dict(),
        "tests": made,
        "budget": {**BUDGET, "device": "cpu", "threads": 1},
        "seconds": {"train": {"wall": 10.0 + run.seed, "cpu": 8.0}, "score": {"wall": 1.0, "cpu": 1.0}},
        "settings": complete_settings(run),
    }
    run.folder.mkdir(parents=True)
    write_json(run.folder / "result.json", write)


@pytest.fixture
def comparison(tmp_path) -> Comparison:
    """Two variants on two folds with two seeds; of ``ours`` one run is missing."""
    document = {"data": {"train": ["x"], "val": ["x"], "test": {"t": "x"}}}
    runs = [
        Run(variant, fold, seed, document, (), Path(tmp_path))
        for seed in (0, 1)
        for fold in ("day", "night")
        for variant in ("ir", "ours")
    ]
    shares = {
        ("ir", "day", 0): 60,
        ("ir", "day", 1): 64,
        ("ir", "night", 0): 80,
        ("ir", "night", 1): 82,
        ("ours", "day", 0): 70,
        ("ours", "day", 1): 66,
        ("ours", "night", 0): 85,
    }
    for run in runs:
        share = shares.get((run.variant, run.fold, run.seed))
        if share is not None:
            routes = {"IR_ONLY": share} | ({"FUSED": share + 10} if run.variant == "ours" else {})
            result(run, {"t": routes})
    claims = (
        Claim("ours", Route.IR_ONLY, "ir", by=2.0),
        Claim("ours", Route.FUSED, ["ir"], by=50.0),
        Claim("ours", Route.FUSED, "ours", Route.IR_ONLY, by=-5.0),
    )
    return Comparison(
        tmp_path, tuple(runs), ("ir", "ours"), ("day", "night"), (0, 1), {Route.IR_ONLY: "ir"}, claims
    )


def test_means_spreads_and_paired_differences(comparison):
    results = Results(comparison)
    ir = summarise(results.points("ir", Route.IR_ONLY))
    day, night = (points(60) + points(64)) / 2, (points(80) + points(82)) / 2
    assert ir.mean == pytest.approx((day + night) / 2)
    by_seed = [(points(60) + points(80)) / 2, (points(64) + points(82)) / 2]
    assert ir.spread == pytest.approx(stdev(by_seed))
    assert ir.runs == 4
    ours = summarise(results.points("ours", Route.IR_ONLY))
    assert ours.mean == pytest.approx(((points(70) + points(66)) / 2 + points(85)) / 2)
    assert ours.spread is None  # only one seed has both folds
    difference = results.against_baseline("ours", Route.IR_ONLY)
    paired = [points(70) - points(60), points(66) - points(64)]
    assert difference.mean == pytest.approx((fmean(paired) + points(85) - points(80)) / 2)
    assert difference.runs == 3
    assert results.against_baseline("ir", Route.IR_ONLY) is None
    assert results.against_baseline("ours", Route.FUSED) is None


def test_claims(comparison):
    results = Results(comparison)
    first, second, third = (one for claim in comparison.claims for one in check(results, claim))
    assert first.holds
    assert first.text().startswith("pass: ours IR_ONLY - ir IR_ONLY = +")
    assert first.text().endswith("wanted ≥ +2.0, 1 of 4 pairs not finished")
    assert second.holds is False  # against ir's only route
    assert second.text().startswith("FAIL: ours FUSED - ir IR_ONLY = +")
    assert third.holds
    assert third.than == "ours IR_ONLY"
    (unknown,) = check(results, Claim("ir", Route.FUSED, "ours"))
    assert unknown.holds is None
    assert unknown.text().startswith("open: ir FUSED - ours FUSED = no common runs yet")


def test_the_markdown_table_and_its_json(comparison):
    text = write_table(comparison)
    assert (comparison.output / "table.md").read_text() == text
    lines = text.splitlines()
    assert lines[0] == "| variant | runs | FUSED | IR_ONLY | - ir |"
    assert lines[2] == "| ir | 4/4 |  | 56.5 ± 2.5 |  |"
    assert lines[3] == "| ours | 3/4 | 77.2 | 62.7 | +6.9 |"
    assert "| IR_ONLY by fold | day | night |" in lines
    assert "| ir | 45.0 ± 3.0 | 68.1 ± 2.0 |" in lines
    assert (
        "6 steps of 2 samples (3 epochs, 12 samples seen), crops of 64 x 96, tested at 48 x 64; cpu" in text
    )
    assert "ir 1.50 M parameters, 10 s of training (8 s CPU)" in text
    assert "none are chosen by validation" in text
    table = json.loads((comparison.output / "table.json").read_text())
    ir = table["variants"]["ir"]["routes"]["IR_ONLY"]
    assert ir["runs"]["night/seed1"] == pytest.approx(points(82))
    assert ir["folds"]["day"]["mean"] == pytest.approx((points(60) + points(64)) / 2)
    assert [claim["holds"] for claim in table["claims"]] == [True, False, True]


def test_tests_of_a_run_are_scored_as_one(comparison):
    run = comparison.runs[-1]  # the missing one
    assert run.name == "ours/night/seed1"
    result(run, {"t": {"IR_ONLY": 40, "FUSED": 40}, "more": {"IR_ONLY": 80, "FUSED": 80}})
    results = Results(comparison)
    assert results.points("ours", Route.IR_ONLY)["night", 1] == pytest.approx(points(60))
    assert results.points("ours", Route.IR_ONLY, "more") == {("night", 1): pytest.approx(points(80))}
    assert "| IR_ONLY by test | t | more |" in write_table(comparison)


def test_a_table_of_nothing(comparison, tmp_path):
    empty = Comparison(tmp_path / "empty", (), ("ir",), ("day",), (0,), {}, ())
    assert "No run has finished yet" in write_table(empty)
    assert summarise({}) is None


VALUES = st.floats(0, 100)


@given(st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=2, max_size=4), VALUES)
def test_a_shift_of_all_runs_is_the_difference_and_leaves_the_spread(grid, shift):
    first = {(f"fold{f}", s): value for f, row in enumerate(grid) for s, value in enumerate(row)}
    second = {key: value - shift for key, value in first.items()}
    whole, moved = summarise(first), summarise(second)
    assert whole.mean == pytest.approx(fmean(first.values()))
    assert whole.spread == pytest.approx(moved.spread, abs=1e-6)
    assert summarise(differences(first, second)).mean == pytest.approx(shift, abs=1e-6)
