from __future__ import annotations

import numpy as np
import pytest

from csk_ros.evaluation.metrics import Scores
from csk_ros.evaluation.report import expected_score, modality_table, row_of
from csk_ros.evaluation.tables import NONE, format_speed, percent
from csk_ros.labels import LabelSet

THREE = LabelSet(("ground", "car", "tree"), ((0, 0, 0),) * 3)


def _scores(rows):
    return Scores(THREE, np.array(rows, np.int64), 1)


GOOD = _scores([[4, 0, 0], [0, 4, 0], [0, 0, 0]])
HALF = _scores([[4, 0, 0], [2, 2, 0], [0, 0, 0]])  # IoU 4/6, 1/2; tree is absent
POOR = _scores([[3, 0, 1], [4, 0, 0], [0, 0, 0]])  # IoU 3/8, 0, 0


def test_expected_score_by_hand():
    # p = 0.2: both 0.64, one alone 0.16 each, neither 0.04 (left out)
    assert expected_score(0.6, 0.3, 0.5, 0.2) == pytest.approx((0.64 * 0.6 + 0.16 * 0.8) / 0.96)
    assert expected_score(0.6, 0.3, 0.5, 0) == 0.6
    assert expected_score(0.4, 0.4, 0.4, 0.37) == pytest.approx(0.4)


def test_a_row_by_hand():
    row = row_of(HALF)
    assert row["miou"] == pytest.approx((4 / 6 + 1 / 2) / 3, abs=1e-6)
    assert row["miou_present"] == row["miou_seen"] == pytest.approx((4 / 6 + 1 / 2) / 2, abs=1e-6)
    assert row["miou_foreground"] == 0.25
    assert row["miou_present_foreground"] == 0.5
    assert (row["macc"], row["macc_present"]) == (0.5, 0.75)
    assert row["mf1_present"] == pytest.approx((0.8 + 2 / 3) / 2, abs=1e-6)
    assert row["pixel_accuracy"] == 0.75
    assert row["iou"] == {"ground": round(4 / 6, 6), "car": 0.5, "tree": None}
    assert row["accuracy"] == {"ground": 1, "car": 0.5, "tree": None}


def test_a_class_that_only_masks_hold_counts_as_seen():
    row = row_of(POOR)
    assert row["iou"]["tree"] == 0
    assert (row["miou_seen"], row["miou_present"]) == (0.125, round(3 / 16, 6))


def test_modality_table_by_hand():
    table = modality_table({"eo+ir": GOOD, "eo": POOR, "ir": HALF})
    present = [1, 3 / 16, 7 / 12]
    assert table["mean"]["miou_present"] == pytest.approx(sum(present) / 3, abs=1e-6)
    assert table["mean"]["iou"]["car"] == pytest.approx((1 + 0 + 0.5) / 3, abs=1e-6)
    assert table["mean"]["iou"]["tree"] is None
    assert table["ir"]["gap_miou_present"] == pytest.approx(1 - 7 / 12, abs=1e-6)
    assert table["eo+ir"]["gap_miou"] == 0


def test_missing_rows_are_none_and_so_is_the_mean():
    table = modality_table({"ir": HALF})
    assert (table["eo+ir"], table["eo"], table["mean"]) == (None, None, None)
    assert table["ir"]["gap_miou"] is None


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.1234, False, "12.3"),
        (None, False, NONE),
        (-0.02, True, "-2.0"),
        (0.1, True, "+10.0"),
        (-1e-5, True, "0.0"),
    ],
)
def test_percent(value, signed, text):
    assert percent(value, signed=signed) == text


def test_latency_table():
    document = {
        "engine": "torch",
        "device": "cpu",
        "device_name": "chip",
        "precision": "float32",
        "threads": 2,
        "size": [480, 640],
        "latency": {
            "eo+ir": None,
            "eo": None,
            "ir": {"median_ms": 12.34, "p95_ms": 20.0, "runs": 30},
        },
    }
    assert format_speed(document).splitlines() == [
        "Latency, ms: torch on cpu (chip), float32, 480x640, 2 threads",
        "      median   p95  runs",
        "  IR    12.3  20.0    30",
    ]
