from __future__ import annotations

import numpy as np
import pytest
from echo_node import PIXEL, EchoNode
from squares_samples import Squares

from csk_ros.messages import read_ir, stamp_to_ns
from csk_ros.modality import Modality, Route
from csk_ros.replay.bag import BagReader
from csk_ros.replay.live import LiveError, LiveSession
from csk_ros.replay.recording import count_dropped
from csk_ros.replay.samples import START_NS, write_samples

RATE_HZ = 20.0
CUTS = ((0.5, 1.1),)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    squares = Squares(frames=36, rate_hz=RATE_HZ)
    write_samples(folder / "drive", squares, progress=False)
    with EchoNode(round(1e9 / RATE_HZ), drop_every=9), LiveSession() as session:
        return session.play_and_record(folder / "drive", folder / "masks", cuts=CUTS, progress=False)


def test_every_thermal_image_is_answered_or_counted(played):
    assert played.sent_ir == 36
    assert played.account == {"ir_received": 36, "answered": 32, "dropped_superseded": 4}
    assert len(played.masks) + count_dropped(played.account) == played.sent_ir


def test_routes_follow_the_cut(played):
    assert [span.route for span in played.spans] == [Route.FUSED, Route.IR_ONLY, Route.FUSED]
    lost = played.spans[1]
    assert CUTS[0][0] - 0.001 <= lost.start_s <= CUTS[0][0] + 2 / RATE_HZ
    assert lost.end_s <= CUTS[0][1] + 1 / RATE_HZ
    (loss_ms,) = played.eo_loss_to_ir_only_ms()
    (return_ms,) = played.eo_return_to_fused_ms()
    assert loss_ms > 0
    assert return_ms > 0


def test_each_mask_gets_the_route_it_was_made_on(played):
    with BagReader(played.masks_bag) as bag:
        masks = [record.message for record in bag.records(["/segment/mask"])]
    assert len(masks) == len(played.masks)
    for mask in masks:
        (pixel,) = np.unique(read_ir(mask))
        assert pixel == PIXEL[played.route_of[stamp_to_ns(mask.header.stamp)]]


def test_no_optical_image_is_sent_inside_the_cut(played):
    eo = [played.seconds(frame.stamp_ns) for frame in played.sent if frame.modality is Modality.EO]
    assert not [second for second in eo if CUTS[0][0] - 1e-9 <= second < CUTS[0][1] - 1e-9]
    assert len(eo) == 36 - 12


def test_stamps_are_the_drives_shifted_to_now_and_kept_by_the_masks(played):
    with BagReader(played.masks_bag) as bag:
        assert bag.label_set == Squares().label_set
        assert bag.custom_data["csk_ros.drive_offset_ns"] == str(played.offset_ns)
    drive = {START_NS + round(i * 1e9 / RATE_HZ) for i in range(36)}
    assert {mask.stamp_ns - played.offset_ns for mask in played.masks} < drive
    for frame in played.sent:
        assert frame.sent_ns >= frame.stamp_ns - 2_000_000  # the two clocks may be slewed against each other
        assert frame.late_ns >= 0
    assert min(played.latencies_ms) > 0


def test_without_a_node_nothing_is_played(tmp_path, squares):
    write_samples(tmp_path / "drive", squares, progress=False)
    with LiveSession("nobody") as session:
        with pytest.raises(LiveError, match="nobody does not subscribe to /eo/image and /ir/image"):
            session.play_and_record(tmp_path / "drive", tmp_path / "masks", match_s=0.1, progress=False)
        with pytest.raises(LiveError, match="nobody was not active after 0 s \\(not seen\\)"):
            session.wait_until_active(lambda: True, timeout_s=0.1)
        with pytest.raises(LiveError, match="nobody ended before it was active"):
            session.wait_until_active(lambda: False, timeout_s=5)
    assert not (tmp_path / "masks").exists()
