from __future__ import annotations

import numpy as np
import pytest
from squares_samples import TWO, Squares

from csk_ros.modality import Modality, Route
from csk_ros.replay.bag import IMAGE, BagReader, BagWriter
from csk_ros.replay.live_rows import Rows
from csk_ros.replay.live_scores import score_masks
from csk_ros.replay.live_settings import LiveSettings
from csk_ros.replay.result import FrameRow
from csk_ros.replay.samples import LABELS_TOPIC, START_NS, header, image_message, write_samples

FRAMES = 200  # more than the scorer keeps
OFFSET_NS = 10**12


@pytest.mark.parametrize("turns", [1, 2])
def test_labels_are_read_no_further_than_the_masks(tmp_path, turns):
    samples = Squares(frames=FRAMES)
    write_samples(tmp_path / "drive", samples, progress=False)
    rows = []
    with BagWriter(tmp_path / "masks") as bag:
        bag.add_topic("/segment/mask", IMAGE)
        for number in range(turns * FRAMES):
            stamp_ns = START_NS + samples[number % FRAMES].stamp_ns
            live_ns = START_NS + OFFSET_NS + number
            right = np.roll(samples[number % FRAMES].labels, number % 2, axis=1)
            bag.write("/segment/mask", live_ns, image_message(right, "mono8", header(live_ns, "ir")))
            rows.append(
                FrameRow(number / 10, stamp_ns, live_ns, Modality.IR, None, Route.IR_ONLY, "EO_STALE")
            )
    given = Rows(tuple(rows), tuple(n // FRAMES for n in range(turns * FRAMES)), 0, 0, (), ())
    settings = LiveSettings(bag=tmp_path / "drive", masks=tmp_path / "masks")
    with BagReader(tmp_path / "drive") as bag:
        scorer = score_masks(settings, bag, LABELS_TOPIC, given, TWO)
    assert set(scorer.miou) == set(range(turns * FRAMES))
    assert all((miou == 1) == (number % 2 == 0) for number, miou in scorer.miou.items())
    assert scorer.scores.scores(Route.IR_ONLY).frames == turns * FRAMES
