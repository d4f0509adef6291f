from __future__ import annotations

import pytest
from squares_samples import TWO

from csk_ros.modality import Modality, Route
from csk_ros.replay.live_rows import LOST, NO_MASK, UNKNOWN, make_rows
from csk_ros.replay.played import Announced, Mask, NodeReports, Played, Sent, Standing

EO, IR = Modality.EO, Modality.IR
MS = 1_000_000
OFFSET_NS = 7_000 * MS
F, T, E = Route.FUSED, Route.IR_ONLY, Route.EO_ONLY


def sent(modality, ms):
    """An image of that moment of the bag, on time."""
    live_ns = ms * MS + OFFSET_NS
    return Sent(modality, 0, ms / 1000, ms * MS, live_ns, live_ns, live_ns, 0)


def played(images, answers, **reports):
    """A run; ``answers`` are (ms of the image, route), each mask 30 ms after its stamp."""
    masks = [
        Mask(ms * MS + OFFSET_NS, (ms + 29) * MS + OFFSET_NS, (ms + 30) * MS + OFFSET_NS) for ms, _ in answers
    ]
    routes = [Announced((ms + 28) * MS + OFFSET_NS, route) for ms, route in answers]
    return Played(
        start_ns=OFFSET_NS,
        start_s=0,
        rate=1,
        length_s=1,
        complete=True,
        sent=tuple(images),
        masks=tuple(masks),
        routes=tuple(routes),
        reports=NodeReports(**reports),
        label_set=TWO,
    )


def both(*times):
    return [sent(modality, ms) for ms in times for modality in (EO, IR)]


def summary(rows):
    return [(row.anchor, row.stamp_ns // MS, row.route, row.cause) for row in rows.rows]


def test_of_images_with_one_stamp_the_route_tells_which_was_answered():
    rows = make_rows(played(both(0, 100), [(0, F), (100, E)]))
    assert [(row.anchor, row.route) for row in rows.rows] == [(IR, F), (EO, E)]
    assert [row.eo_stamp_ns for row in rows.rows] == [0, 100 * MS]
    assert [row.latency_ms for row in rows.rows] == [30, 30]


def test_where_eo_paces_the_masks_its_images_are_the_rows():
    images = both(0, 100, 200, 300)
    rows = make_rows(played(images, [(0, E), (200, E), (300, T)]))
    assert [(row.anchor, row.stamp_ns // MS) for row in rows.rows] == [
        (EO, 0),
        (EO, 100),
        (EO, 200),
        (IR, 300),
    ]


def test_without_thermal_images_every_optical_one_is_a_row():
    rows = make_rows(played([sent(EO, 0), sent(EO, 100)], []))
    assert summary(rows) == [(EO, 0, None, NO_MASK), (EO, 100, None, NO_MASK)]


@pytest.mark.parametrize(
    ("account", "cause"),
    [
        ({"ir_received": 3, "answered": 1, "dropped_superseded": 2}, "SUPERSEDED"),
        ({"ir_received": 1, "answered": 1}, LOST),
        ({"ir_received": 3, "answered": 3}, LOST),
        ({"ir_received": 2, "answered": 1, "dropped_superseded": 1}, NO_MASK),
        ({"ir_received": 3, "answered": 1, "dropped_superseded": 1}, NO_MASK),
        ({}, NO_MASK),
    ],
)
def test_a_cause_is_told_only_where_it_explains_every_missing_mask(account, cause):
    rows = make_rows(played(both(0, 100, 200), [(0, F)], account=account))
    assert [row.cause for row in rows.rows] == ["PAIRED", cause, cause]


def test_the_reason_of_a_route_is_how_the_other_stream_stood():
    standings = {
        EO: (
            Standing(50 * MS + OFFSET_NS, "ALIVE", 10, ""),
            Standing(150 * MS + OFFSET_NS, "STALE", 0, ""),
            Standing(250 * MS + OFFSET_NS, "ALIVE", 10, ""),
        )
    }
    images = [sent(IR, ms) for ms in (0, 100, 200, 300, 400)]
    run = played(images, [(image.stamp_ns // MS, T) for image in images], streams=standings)
    assert [row.cause for row in make_rows(run).rows] == [UNKNOWN, "EO_STALE", "EO_STALE", UNKNOWN, UNKNOWN]


def test_masks_of_no_image_and_masks_without_a_route_are_counted():
    run = played(both(0, 100), [(0, F), (0, F), (550, F)])
    early = Mask(OFFSET_NS, OFFSET_NS, OFFSET_NS + MS)
    rows = make_rows(Played(**{**vars(run), "masks": (early, *run.masks)}))
    assert (rows.unmatched, rows.unrouted) == (2, 1)
    assert [row.route for row in rows.rows] == [F, None]


def test_losses_of_eo_are_found_without_being_told_of_them():
    optical = [*range(0, 400, 50), *range(800, 1100, 50)]
    images = sorted(
        [sent(EO, ms) for ms in optical] + [sent(IR, ms) for ms in range(0, 1500, 50)],
        key=lambda i: i.seconds,
    )
    answers = [(ms, F if ms < 400 or 900 <= ms < 1100 else T) for ms in range(0, 1500, 50)]
    rows = make_rows(played(images, answers))
    # last EO at 350, first IR_ONLY of 400; the second loss has no return
    assert rows.lost_ms == (80, 80)
    assert rows.returned_ms == (130,)


def test_a_turn_with_equal_stamps_answers_them_in_order():
    images = [sent(IR, 0), sent(IR, 0)]
    rows = make_rows(played(images, [(0, T), (0, T)]))
    assert [row.route for row in rows.rows] == [T, T]
    assert rows.unmatched == 0
