from __future__ import annotations

import numpy as np
import pytest
from squares_samples import Squares

from csk_ros.messages import read_eo, read_ir, stamp_to_ns
from csk_ros.modality import Modality
from csk_ros.replay.bag import BagReader
from csk_ros.replay.injection import Injection
from csk_ros.replay.samples import START_NS, write_samples
from csk_ros.replay.source import Source
from csk_ros.replay.topics import find_topics

EO, IR = Modality.EO, Modality.IR
PERIOD_NS = 100_000_000


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "drive"
    write_samples(path, Squares(frames=30), progress=False)
    return path


def arrivals(drive, *injections, **stretch):
    parsed = [Injection.parse(kind, modality, text) for kind, modality, text in injections]
    with BagReader(drive) as bag:
        source = Source(bag, find_topics(bag), parsed, **stretch)
        found = [
            (a.modality, round(a.seconds, 3), (a.stamp_ns - START_NS) / 1e9, a.message())
            for a in source.arrivals()
        ]
    assert all(
        stamp_to_ns(message.header.stamp) - START_NS == round(stamp * 1e9) for *_, stamp, message in found
    )
    return found


def of(found, modality):
    return [arrival for arrival in found if arrival[0] is modality]


def test_everything_comes_in_order_of_receipt(drive):
    found = arrivals(drive)
    assert [modality for modality, *_ in found] == [EO, IR, None] * 30
    assert [seconds for _, seconds, *_ in found] == sorted(seconds for _, seconds, *_ in found)
    for _, _, stamp, message in of(found, EO):
        np.testing.assert_array_equal(read_eo(message), Squares(frames=30)[round(stamp * 10)].eo)


def test_a_part_of_the_bag(drive):
    found = arrivals(drive, start_s=1.0, end_s=2.0)
    assert [stamp for _, _, stamp, _ in of(found, IR)] == pytest.approx([1 + i / 10 for i in range(10)])


def test_dropped_images_do_not_come(drive):
    stamps = [stamp for _, _, stamp, _ in of(arrivals(drive, ("drop", EO, "1:2")), EO)]
    assert stamps == pytest.approx([i / 10 for i in range(30) if not 10 <= i < 20])


def test_delayed_images_come_later_with_their_stamps_and_all_stays_in_order(drive):
    found = arrivals(drive, ("delay", EO, "250ms"))
    assert [seconds for _, seconds, *_ in found] == sorted(seconds for _, seconds, *_ in found)
    assert all(seconds - stamp == pytest.approx(0.25) for _, seconds, stamp, _ in of(found, EO))
    assert all(seconds == pytest.approx(stamp, abs=1e-3) for _, seconds, stamp, _ in of(found, IR))
    assert len(found) == 90


def test_frozen_images_repeat_the_last_one_before(drive):
    for _, _, stamp, message in of(arrivals(drive, ("freeze", EO, "1:2")), EO):
        shown = 9 if 1 <= stamp < 2 else round(stamp * 10)
        np.testing.assert_array_equal(read_eo(message), Squares(frames=30)[shown].eo)


def test_dark_images_keep_a_64th(drive):
    for _, _, stamp, message in of(arrivals(drive, ("dark", IR, "1:2")), IR):
        true = Squares(frames=30)[round(stamp * 10)].ir
        np.testing.assert_array_equal(read_ir(message), true // 64 if 1 <= stamp < 2 else true)


def test_shifted_pixels_move_right_and_down(drive):
    for _, _, stamp, message in of(arrivals(drive, ("shift", EO, "3px,-2px")), EO):
        true, moved = Squares(frames=30)[round(stamp * 10)].eo, read_eo(message)
        np.testing.assert_array_equal(moved[:-2, 3:], true[2:, :-3])
        assert not moved[:, :3].any()
        assert not moved[-2:].any()


def test_shifted_stamps_arrive_as_before(drive):
    found = of(arrivals(drive, ("shift", EO, "-40ms")), EO)
    assert all(seconds - stamp == pytest.approx(0.04) for _, seconds, stamp, _ in found)


def test_labels_go_with_the_stamps_of_the_thermal_images_they_lie_in(drive):
    found = arrivals(drive, ("shift", IR, "7ms@1:2"), ("drop", IR, "2:3"))
    shifted = [stamp for _, _, stamp, _ in of(found, IR)]
    labels = [stamp for _, _, stamp, _ in of(found, None)]
    assert labels[:20] == pytest.approx(shifted)
    assert labels[10] == pytest.approx(1.007)
    assert len(labels) == 30


def test_injections_add_up_and_leave_the_other_stream_alone(drive):
    found = arrivals(drive, ("drop", EO, "0:1"), ("delay", EO, "50ms"), ("shift", EO, "10ms"))
    assert len(of(found, EO)) == 20
    assert all(seconds - stamp == pytest.approx(0.04) for _, seconds, stamp, _ in of(found, EO))
    assert len(of(found, IR)) == 30


def test_bytes_are_the_bags_own_where_no_pixel_changes(drive):
    with BagReader(drive) as bag:
        raw = [record.data for record in bag.raw_records(["/eo/image"])]
        source = Source(bag, find_topics(bag), [Injection.parse("delay", EO, "10ms")])
        assert [a.data()[1] for a in source.arrivals() if a.modality is EO] == raw
