"""Scores of the masks of a live run against labels, after it: during the run the node has the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csk_ros.messages import read_ir, stamp_to_ns
from csk_ros.replay.bag import BagReader
from csk_ros.replay.scoring import LabelScorer
from csk_ros.replay.source import Source
from csk_ros.replay.topics import InputTopics

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from csk_ros.labels import LabelSet
    from csk_ros.replay.live_rows import Rows
    from csk_ros.replay.live_settings import LiveSettings


def score_masks(
    settings: LiveSettings, bag: BagReader, labels_topic: str | None, rows: Rows, label_set: LabelSet
) -> LabelScorer:
    """Score every mask that has labels of its stamp, holding a few images in memory.

    Args:
        settings: of the run.
        bag: that was played, open.
        labels_topic: of the bag; None: ``settings.labels_at`` gives the labels.
        rows: of the run.
        label_set: the classes.

    Raises:
        BagError: if one of the bags cannot be read.
        ScoringError: labels that do not fit the masks.
    """
    scorer = LabelScorer(label_set, settings.labels_at)
    numbers = {row.mask_stamp_ns: i for i, row in enumerate(rows.rows) if row.route}
    turn, fed_ns = -1, 0
    labels: Iterator[tuple[int, NDArray[np.uint8]]] = iter(())
    with BagReader(settings.masks) as masks:
        for stamp_ns, mask in _images(masks):
            number = numbers.get(stamp_ns)
            if number is None:
                continue
            row = rows.rows[number]
            if labels_topic and rows.turns[number] != turn:
                turn, fed_ns = rows.turns[number], 0
                labels = _labels(settings, bag, labels_topic)
            while fed_ns < row.stamp_ns and (label := next(labels, None)):
                fed_ns = label[0]
                scorer.labels(*label)
            if row.route:
                scorer.mask(number, row.stamp_ns, row.route, mask)
    return scorer


def _images(masks: BagReader) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    topic = next(name for name in masks.topics if name.endswith("/mask"))
    for record in masks.records([topic]):
        yield stamp_to_ns(record.message.header.stamp), read_ir(record.message)


def _labels(settings: LiveSettings, bag: BagReader, topic: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    topics = InputTopics(None, None, topic)
    source = Source(bag, topics, settings.injections, start_s=settings.start_s, end_s=settings.end_s)
    for arrival in source.arrivals():
        yield arrival.stamp_ns, read_ir(arrival.message())
