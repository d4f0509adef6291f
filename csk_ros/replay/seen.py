"""The frames of a replay as images: what went in, what was expected, and what came out."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from csk_ros.messages import ImageError, read_eo, read_ir
from csk_ros.modality import Modality
from csk_ros.replay.bag import BagError, BagReader
from csk_ros.replay.source import Source
from csk_ros.replay.stamps import read_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from csk_ros.replay.bag import RawRecord
    from csk_ros.replay.result import FrameRow, ReplayResult
    from csk_ros.replay.source import Arrival

    LabelsAt = Callable[[int], NDArray[np.uint8] | None]
    Key = tuple[Modality | None, int]

_AHEAD = 64
"""How many frames wait for an image still to come, and how many masks for their frame."""


@dataclass(frozen=True)
class SeenFrame:
    """One anchor frame with its images; each None where there is none or it cannot be read.

    Attributes:
        row: what became of it.
        eo: the optical image that went in, uint8 RGB, shape (H, W, 3).
        ir: the thermal image, uint8 or uint16, shape (H, W).
        labels: class ids, uint8, shape (H, W), 255 where unlabelled.
        mask: class ids, uint8, shape (H, W).
    """

    row: FrameRow
    eo: NDArray[np.uint8] | None
    ir: NDArray[Any] | None
    labels: NDArray[np.uint8] | None
    mask: NDArray[np.uint8] | None


def seen_frames(
    result: ReplayResult, rows: Iterable[FrameRow], labels_at: LabelsAt | None = None
) -> Iterator[SeenFrame]:
    """The frames of some rows, in the order of arrival in the bag.

    One pass over the bag and one over the masks; only what is asked for is decoded, and only a few dozen
    frames are held at a time, as bytes. It ends where the bag is damaged.

    Args:
        result: the replay.
        rows: some of its rows.
        labels_at: gives the labels of a stamp; None reads the label topic of the bag, where it has one.

    Raises:
        BagError: if one of the bags cannot be opened.
    """
    rows = list(rows)
    if not rows:
        return
    with ExitStack() as stack:
        bag = stack.enter_context(BagReader(result.bag))
        masked = [row.mask_stamp_ns for row in rows if row.route]
        masks = _Masks(stack.enter_context(BagReader(result.masks)), masked) if masked else None
        source = Source(
            bag,
            result.topics,
            result.injections,
            start_s=result.start_s,
            # More than was replayed does no harm, for only chosen stamps are taken; less would lose the last.
            end_s=result.start_s + result.length_s + 1.0,
        )
        with_labels = labels_at is None and result.topics.labels is not None
        for row, found in _gather(source, rows, with_labels=with_labels):
            yield SeenFrame(
                row=row,
                eo=_read(found.get((Modality.EO, _eo_stamp(row))), read_eo),
                ir=_read(found.get((Modality.IR, row.stamp_ns)), read_ir),
                labels=labels_at(row.stamp_ns)
                if labels_at
                else _read(found.get((None, row.stamp_ns)), read_ir),
                mask=masks.at(row.mask_stamp_ns) if masks and row.route else None,
            )


def _gather(
    source: Source, rows: list[FrameRow], *, with_labels: bool
) -> Iterator[tuple[FrameRow, dict[Key, Arrival]]]:
    """Each row with what arrived for it."""
    needs = {row: _keys(row, with_labels=with_labels) for row in rows}
    anchors: dict[Key, list[FrameRow]] = {}
    for row in needs:
        anchors.setdefault((row.anchor, row.stamp_ns), []).append(row)
    uses = Counter(key for keys in needs.values() for key in keys)
    shelf: dict[Key, Arrival] = {}
    queue: deque[FrameRow] = deque()

    def take() -> tuple[FrameRow, dict[Key, Arrival]]:
        row = queue.popleft()
        found = {key: shelf[key] for key in needs[row] if key in shelf}
        for key in needs[row]:
            uses[key] -= 1
            if not uses[key]:
                shelf.pop(key, None)
        return row, found

    for arrival in _until_damage(source):
        key = (arrival.modality, arrival.stamp_ns)
        if not uses[key] or key in shelf:
            continue
        shelf[key] = arrival
        queue.extend(anchors.pop(key, ()))
        while queue and (len(queue) > _AHEAD or all(key in shelf for key in needs[queue[0]])):
            yield take()
    while queue:
        yield take()


def _keys(row: FrameRow, *, with_labels: bool) -> list[Key]:
    keys: list[Key] = [(row.anchor, row.stamp_ns)]
    if row.eo_stamp_ns is not None and row.anchor is Modality.IR:
        keys.append((Modality.EO, row.eo_stamp_ns))
    return [*keys, (None, row.stamp_ns)] if with_labels else keys


def _eo_stamp(row: FrameRow) -> int:
    return row.stamp_ns if row.anchor is Modality.EO else row.eo_stamp_ns or 0


def _until_damage(source: Source) -> Iterator[Arrival]:
    try:
        yield from source.arrivals()
    except BagError:
        return  # the replay met it too: it stands among the result's problems


def _read(arrival: Arrival | None, read: Callable[[Any], NDArray[Any]]) -> NDArray[Any] | None:
    if arrival is None:
        return None
    try:
        return read(arrival.message())
    except (BagError, ImageError):
        return None  # likewise: its row says that it is unreadable


class _Masks:
    """Finds masks by stamp in a bag that holds them about in the order in which they are asked for."""

    def __init__(self, bag: BagReader, stamps: Collection[int]) -> None:
        topic = next((name for name in bag.topics if name.endswith("/mask")), None)
        if topic is None:
            raise BagError(f"{bag.path} has no topic that ends in /mask: it has {', '.join(bag.topics)}")
        self._bag, self._wanted = bag, set(stamps)
        self._records = bag.raw_records([topic])
        self._held: dict[int, RawRecord] = {}

    def at(self, stamp_ns: int) -> NDArray[np.uint8] | None:
        while stamp_ns not in self._held and len(self._held) < _AHEAD:
            raw = next(self._records, None)
            if raw is None:
                return None
            if (stamp := read_stamp(raw.data)) in self._wanted:
                self._held[stamp] = raw
        raw = self._held.pop(stamp_ns, None)
        return None if raw is None else read_ir(self._bag.decode(raw).message)
