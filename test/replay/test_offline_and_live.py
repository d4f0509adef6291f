from __future__ import annotations

import pytest

from csk_ros.data.synthetic import SceneDrive
from csk_ros.messages import read_ir, stamp_to_ns
from csk_ros.modality import Modality
from csk_ros.replay.bag import BagReader
from csk_ros.replay.injection import Injection
from csk_ros.replay.live_run import run_live
from csk_ros.replay.live_settings import LiveSettings
from csk_ros.replay.mask_bag import MASK
from csk_ros.replay.offline import run_offline
from csk_ros.replay.offline_settings import OfflineSettings
from csk_ros.replay.samples import write_samples

CUT = (Injection.parse("drop", Modality.EO, "3:6"),)


def masks(result):
    """Masks by the stamp of their thermal image in the bag, and the route.

    Where a machine stands still for a moment, EO stands in for thermal, and its mask has the same stamp.
    """
    of_eo = {row.mask_stamp_ns for row in result.answered if row.anchor is Modality.EO}
    rows = {row.mask_stamp_ns: row for row in result.answered if row.mask_stamp_ns not in of_eo}
    with BagReader(result.masks) as bag:
        read = {stamp_to_ns(record.message.header.stamp): record.message for record in bag.records([MASK])}
    return {(row.stamp_ns, row.route): read_ir(read[stamp]) for stamp, row in rows.items()}


@pytest.mark.slow
@pytest.mark.parametrize("compress", ["none", "jpeg"])
def test_masks_of_a_bag_are_those_of_the_node_that_hears_it(tmp_path, compress):
    scenes = SceneDrive(5, frames=50, height=240, width=320, rate_hz=5.0, light="night-to-day")
    write_samples(tmp_path / "drive", scenes, compress=compress, progress=False)
    offline = run_offline(
        OfflineSettings(str(tmp_path / "drive"), str(tmp_path / "offline"), injections=CUT), progress=False
    )
    live = run_live(
        LiveSettings(
            bag=tmp_path / "drive", masks=tmp_path / "live" / "masks", injections=CUT, progress=False
        )
    )
    one, other = masks(offline), masks(live)
    both = one.keys() & other.keys()
    assert len(both) >= 35
    assert {route for _, route in both} == {row.route for row in offline.rows}
    same = sum(int((one[frame] == other[frame]).sum()) for frame in both)
    assert same / sum(one[frame].size for frame in both) > 0.999
