"""Thermal counts as 8-bit images."""

from __future__ import annotations

import numpy as np

from csk_ros.data.thermal import thermal_to_uint8


def test_16_bit_thermal_is_scaled_by_its_percentiles_and_8_bit_left_alone():
    ir = np.arange(1000, dtype=np.uint16).reshape(20, 50) * 13 + 7000
    scaled = thermal_to_uint8(ir)
    low, high = np.percentile(ir, (1, 99))
    expected = np.clip((ir - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(scaled, expected, atol=0.51)
    assert thermal_to_uint8(np.full((2, 2), 9000, np.uint16)).dtype == np.uint8
    np.testing.assert_array_equal(thermal_to_uint8(scaled), scaled)
