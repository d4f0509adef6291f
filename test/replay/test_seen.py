from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from made_result import make_result
from squares_samples import Squares

from csk_ros.modality import Modality, Route
from csk_ros.replay import seen
from csk_ros.replay.bag import BagError, BagReader
from csk_ros.replay.injection import Injection
from csk_ros.replay.samples import LABELS_TOPIC
from csk_ros.replay.seen import seen_frames

CUT = (0.8, 1.4)
DROPPED = (3, 10)


@pytest.fixture(scope="module", params=["offline", "live"])
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return make_result(folder, Squares(frames=24), (CUT,), kind=request.param, dropped=DROPPED)


def test_frames_pair_each_image_with_its_own_mask(made):
    frames = list(seen_frames(made, made.rows))
    assert [frame.row for frame in frames] == list(made.rows)
    for i, (frame, sample) in enumerate(zip(frames, Squares(frames=24), strict=True)):
        is_cut = CUT[0] <= sample.stamp_ns / 1e9 < CUT[1]
        assert np.array_equal(frame.ir, sample.ir)
        assert np.array_equal(frame.labels, sample.labels)
        assert (frame.eo is None) == is_cut
        assert is_cut or np.array_equal(frame.eo, sample.eo)
        if i in DROPPED:
            assert frame.mask is None
        else:
            assert np.array_equal(frame.mask, np.roll(sample.labels, int(is_cut), axis=0))


def test_only_what_is_asked_for_is_decoded(made, monkeypatch):
    decoded = []
    decode = BagReader.decode
    monkeypatch.setattr(BagReader, "decode", lambda bag, raw: decoded.append(raw.topic) or decode(bag, raw))
    chosen = [made.rows[i] for i in (5, 9, 20)]
    assert [frame.row for frame in seen_frames(made, chosen)] == chosen
    assert sorted(decoded) == [
        *["/eo/image"] * 2,
        *["/ir/image"] * 3,
        *[LABELS_TOPIC] * 3,
        *["/segment/mask"] * 3,
    ]
    assert list(seen_frames(made, [])) == []


def test_an_optical_image_may_serve_several_frames_and_be_older(made):
    first = made.rows[0].stamp_ns
    rows = tuple(dataclasses.replace(row, eo_stamp_ns=first) for row in made.rows[:6])
    frames = list(seen_frames(made, rows))
    assert len(frames) == 6
    assert all(np.array_equal(frame.eo, Squares()[0].eo) for frame in frames)


def test_injected_pixels_are_seen(made):
    dark = (Injection.parse("dark", Modality.IR, "all"), *made.injections)
    frames = list(seen_frames(dataclasses.replace(made, injections=dark), made.rows))
    assert max(frame.ir.max() for frame in frames) <= 255 // 64


def test_labels_may_come_from_elsewhere(made):
    known = made.rows[4].stamp_ns
    given = np.ones((24, 32), np.uint8)
    frames = list(seen_frames(made, made.rows, lambda stamp: given if stamp == known else None))
    assert [i for i, frame in enumerate(frames) if frame.labels is not None] == [4]


def test_labels_that_never_come_do_not_hold_the_frames_back(made, monkeypatch):
    monkeypatch.setattr(seen, "_AHEAD", 3)
    arrivals = seen.Source.arrivals
    taken = []

    def without_labels(source):
        for arrival in arrivals(source):
            taken.append(arrival)
            if arrival.modality:
                yield arrival

    monkeypatch.setattr(seen.Source, "arrivals", without_labels)
    frames = seen_frames(made, made.rows)
    assert next(frames).row == made.rows[0]
    assert len(taken) < 15
    assert len(list(frames)) == 23


def test_a_mask_that_is_not_in_the_bag_is_none_and_those_behind_it_are_found(made, monkeypatch):
    monkeypatch.setattr(seen, "_AHEAD", 3)
    rows = [
        dataclasses.replace(row, route=Route.FUSED) if i in DROPPED else row
        for i, row in enumerate(made.rows)
    ]
    frames = list(seen_frames(made, rows))
    assert [i for i, frame in enumerate(frames) if frame.mask is None] == list(DROPPED)


def test_a_missing_mask_is_not_looked_for_through_the_whole_bag(made, monkeypatch):
    monkeypatch.setattr(seen, "_AHEAD", 3)
    read = []
    stamp = seen.read_stamp
    monkeypatch.setattr(seen, "read_stamp", lambda data: read.append(data) or stamp(data))
    rows = [dataclasses.replace(made.rows[3], route=Route.FUSED), *made.rows[4:]]
    frames = seen_frames(made, rows)
    assert next(frames).mask is None
    assert len(read) == 3 + 3, "those before it, and as many as may wait"


def test_of_a_bag_that_was_looped_each_turn_has_its_own_mask(made, tmp_path):
    later = dataclasses.replace(made.rows[0], seconds=9.0, mask_stamp_ns=made.rows[9].mask_stamp_ns)
    first, second = seen_frames(made, [later, made.rows[0]])
    assert {first.row, second.row} == {later, made.rows[0]}
    assert np.array_equal(first.ir, second.ir)
    assert not np.array_equal(first.mask, second.mask)


def test_a_damaged_bag_ends_the_frames(made, monkeypatch):
    def cut_short(source):
        for count, arrival in enumerate(arrivals(source)):
            if count == 30:
                raise BagError("damaged")
            yield arrival

    arrivals = seen.Source.arrivals
    monkeypatch.setattr(seen.Source, "arrivals", cut_short)
    assert 5 < len(list(seen_frames(made, made.rows))) < 24


def test_an_image_that_cannot_be_read_is_none(made, monkeypatch):
    def fail(_):
        raise seen.ImageError("broken")

    monkeypatch.setattr(seen, "read_eo", fail)
    frames = list(seen_frames(made, made.rows))
    assert len(frames) == 24
    assert all(frame.eo is None for frame in frames)


def test_a_bag_without_masks_is_named(made):
    with pytest.raises(BagError, match="has no topic that ends in /mask"):
        list(seen_frames(dataclasses.replace(made, masks=made.bag), made.rows))


def test_optical_frames_are_seen_where_they_are_the_anchor(made):
    rows = [
        dataclasses.replace(row, anchor=Modality.EO, route=Route.EO_ONLY, eo_stamp_ns=row.stamp_ns)
        for row in made.rows[:3]
    ]
    frames = list(seen_frames(made, rows))
    assert len(frames) == 3
    assert all(frame.ir is None and frame.eo is not None and frame.mask is not None for frame in frames)
