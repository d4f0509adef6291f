from __future__ import annotations

import pytest
from eo_kill import Kill, judge


def kill(answered=90.0, recovered=200.0, thermal_gap=34.0):
    return Kill(period=33.0, lost=48.0, answered=answered, recovered=recovered, thermal_gap=thermal_gap)


def judged(*kills):
    return judge(list(kills), 40.0, eo_hz=30.0, ir_hz=30.0)


def test_the_bounds_are_periods_and_one_inference():
    figures = judged(kill())["figures_ms"]
    assert figures["lost"]["bound"] == pytest.approx(49.5)
    assert figures["answered"]["bound"] == pytest.approx(2.5 * 1000 / 30 + 40)
    assert figures["recovered"]["bound"] == 1000


def test_one_late_kill_fails_and_is_counted():
    assert judged(kill(), kill())["good"]
    report = judged(kill(), kill(recovered=1001.0))
    assert not report["good"]
    assert report["figures_ms"]["recovered"]["over"] == 1


def test_a_silent_thermal_camera_is_told_apart_but_not_excused():
    report = judged(kill(), kill(answered=1100.0, thermal_gap=1030.0))
    assert not report["good"]
    assert report["figures_ms"]["answered"]["worst"] == 1100
    assert report["figures_ms"]["unhindered"]["worst"] == 90
    assert report["figures_ms"]["unhindered"]["of"] == 1


def test_no_kill_unhindered_is_no_figure():
    assert "unhindered" not in judged(kill(thermal_gap=1000.0))["figures_ms"]
