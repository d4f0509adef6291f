from __future__ import annotations

from itertools import count

import pytest

from csk_ros.perception import ContentHealth, ContentSettings, Fault, Look

SETTINGS = ContentSettings(frozen_frames=4, dark=16, bright=245, flat=8, bad_frames=3, good_frames=2)
LEVELS = {Fault.DARK: (0, 16), Fault.BRIGHT: (245, 255), Fault.FLAT: (100, 108)}
GOOD = (20, 200)
fresh = count(1)


def content(settings=SETTINGS, *, good=5):
    health = ContentHealth(settings)
    show(health, GOOD, good)
    return health


def show(health, levels, frames, *, same=False):
    """Shows frames of these levels; returns the verdict after each."""
    verdicts = []
    signature = next(fresh)
    for _ in range(frames):
        low, high = levels or (None, None)
        health.see(Look(signature if same else next(fresh), low, high))
        verdicts.append(health.fault)
    return verdicts


@pytest.mark.parametrize("fault", LEVELS)
def test_bad_levels_are_found_by_the_last_of_the_bad_frames_and_left_by_the_last_good_one(fault):
    health = content()
    assert show(health, LEVELS[fault], 4) == [None, None, fault, fault]
    assert show(health, GOOD, 3) == [fault, None, None]
    assert health.bad == {fault: 4}


@pytest.mark.parametrize("levels", [(17, 250), (1, 17), (244, 255), (100, 109)])
def test_levels_just_inside_the_limits_are_good(levels):
    assert show(content(), levels, 20) == [None] * 20


def test_a_frozen_image_is_found_after_the_repetitions_asked_for():
    health = content()
    assert show(health, GOOD, 6, same=True) == [None, None, None, None, Fault.FROZEN, Fault.FROZEN]
    assert show(health, GOOD, 3) == [Fault.FROZEN, None, None]


def test_messages_that_cannot_be_read_count_as_bad_frames():
    health = content()
    for expected in (None, None, Fault.CORRUPT):
        health.refuse()
        assert health.fault is expected
    assert show(health, GOOD, 2) == [Fault.CORRUPT, None]


def test_bad_frames_of_several_kinds_add_up_and_the_latest_names_the_fault():
    health = content()
    show(health, LEVELS[Fault.DARK], 1)
    health.refuse()
    assert show(health, LEVELS[Fault.FLAT], 1) == [Fault.FLAT]
    assert show(health, LEVELS[Fault.BRIGHT], 1) == [Fault.BRIGHT]


def test_a_driver_that_publishes_each_frame_several_times_is_not_frozen():
    health = content()
    for _ in range(20):
        assert show(health, GOOD, 4, same=True) == [None] * 4


def test_an_image_that_moves_once_in_a_while_stays_frozen():
    health = content()
    show(health, GOOD, 10, same=True)
    for _ in range(10):
        assert show(health, GOOD, 5, same=True) == [Fault.FROZEN] * 5


def test_every_second_bad_frame_is_borne():
    health = content()
    for _ in range(20):
        assert show(health, LEVELS[Fault.DARK], 2) + show(health, GOOD, 1) == [None] * 3


def test_frames_that_were_not_looked_into_count_only_as_long_as_the_last_look_was_good():
    health = content()
    show(health, LEVELS[Fault.DARK], 2)
    assert show(health, None, 9) == [None] * 9
    assert show(health, LEVELS[Fault.DARK], 1) == [Fault.DARK]
    assert show(health, None, 9) == [Fault.DARK] * 9
    assert show(health, GOOD, 1) + show(health, None, 1) == [Fault.DARK, None]


def test_frames_that_were_not_looked_into_show_that_they_are_frozen():
    assert show(content(), None, 5, same=True)[-1] is Fault.FROZEN


def test_zero_switches_each_check_off():
    off = ContentSettings(frozen_frames=0, bad_frames=1)
    for fault, levels in LEVELS.items():
        assert show(content(off), levels, 9, same=True) == [None] * 9, fault
    no_levels = ContentSettings(dark=16, bright=245, flat=8, bad_frames=0)
    for levels in LEVELS.values():
        assert show(content(no_levels), levels, 9) == [None] * 9
    health = content(no_levels)
    for _ in range(9):
        health.refuse()
    assert (health.fault, health.bad) == (None, {})


def test_a_standing_scene_is_good_where_the_frozen_check_is_off():
    health = content(ContentSettings(frozen_frames=0, dark=16, bad_frames=1, good_frames=2))
    show(health, LEVELS[Fault.DARK], 3, same=True)
    assert show(health, GOOD, 2, same=True) == [Fault.DARK, None]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frozen_frames", -1),
        ("dark", -1),
        ("bright", -2),
        ("flat", -1),
        ("bad_frames", -1),
        ("good_frames", 0),
    ],
)
def test_settings_out_of_range_name_the_field(field, value):
    with pytest.raises(ValueError, match=f"^{field} is {value}"):
        ContentSettings(**{field: value})
