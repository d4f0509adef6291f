"""Label maps into a copy of a bag."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csk_ros.data.images import read_ids
from csk_ros.labels import MFNET, UNLABELLED
from csk_ros.messages import ImageError, read_ir
from csk_ros.replay.bag import IMAGE, LABEL_SET_KEY, BagError, BagReader, BagWriter, Storage
from csk_ros.replay.copy import Copied, by_time, declare_topics
from csk_ros.replay.label_folder import LabelFolder
from csk_ros.replay.samples import LABELS_TOPIC, image_message
from csk_ros.replay.stamps import find_stamp
from csk_ros.replay.topics import NONE, find_topics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from csk_ros.labels import LabelSet

_SHOWN = 3


class Labelled(NamedTuple):
    """What came of it.

    Attributes:
        copied: what was copied of the bag.
        labels: how many label maps were added.
        empty: files without a labelled pixel, which were left out.
        unmatched: files whose stamp no image has, which were left out.
    """

    copied: Copied
    labels: int
    empty: list[Path]
    unmatched: list[Path]


def label_bag(
    path: str | Path,
    out: str | Path,
    labels: str | Path,
    *,
    ir_topic: str | None = None,
    label_set: LabelSet | None = None,
    storage: Storage = "mcap",
    zstd: bool = False,
    progress: bool = True,
) -> Labelled:
    """Copy a bag and add ``/labels/image`` (mono8 class ids, 255 unlabelled) to it.

    A label map has the header of the thermal image with its stamp, and is received one nanosecond after it.

    Args:
        path: the bag; it is only read.
        out: folder of the new bag.
        labels: folder of PNGs named by the stamp of the thermal image: ``<ns>.png`` or ``<sec>.<nsec>.png``.
        ir_topic: the thermal images; None finds them by name.
        label_set: the classes of the ids; None takes the bag's own, else those of MFNet.
        storage: storage of the new bag.
        zstd: compress it.
        progress: show a progress bar on stderr.

    Raises:
        BagError: if a bag cannot be read or written, it has labels already, or a file's name, size or ids do
            not fit; names the file.
    """
    files = LabelFolder(labels).files
    with BagReader(path) as bag:
        if LABELS_TOPIC in bag.topics and bag.topics[LABELS_TOPIC].messages:
            raise BagError(f"{bag.path} has {LABELS_TOPIC} already: leave it out with `csk bag cut --topics`")
        topic = find_topics(bag, eo=NONE, ir=ir_topic, labels=NONE).ir
        if topic is None:
            raise BagError("labels lie in the thermal images: name them with --ir TOPIC")
        classes = label_set or bag.label_set or MFNET
        found, empty = _check(bag, topic, files, classes)
        with BagWriter(
            out, storage=storage, zstd=zstd, label_set=classes, custom_data=_others(bag)
        ) as writer:
            topics, skipped = declare_topics(bag, writer, bag.topics.keys() - {LABELS_TOPIC})
            writer.add_topic(LABELS_TOPIC, IMAGE)
            messages, due = 0, dict(found)
            records = bag.raw_records(topics)
            for record in by_time(
                records, bag.start_ns, bag.start_ns + bag.duration_ns, "copying", show=progress
            ):
                writer.write_raw(record.topic, record.received_ns, record.data)
                messages += 1
                if record.topic == topic and (file := due.pop(find_stamp(record.data), None)):
                    message = image_message(read_ids(file), "mono8", bag.decode(record).message.header)
                    writer.write(LABELS_TOPIC, record.received_ns + 1, message)
        unmatched = [file for stamp, file in files.items() if stamp not in found and file not in empty]
        return Labelled(Copied(messages, skipped, bag.problems), len(found), empty, unmatched)


def _others(bag: BagReader) -> dict[str, str]:
    return {key: text for key, text in bag.custom_data.items() if key != LABEL_SET_KEY}


def _check(
    bag: BagReader, topic: str, files: Mapping[int, Path], classes: LabelSet
) -> tuple[dict[int | None, Path], list[Path]]:
    """The files that have an image, and of all files those that are empty."""
    found: dict[int | None, Path] = {}
    empty = []
    example = None
    for record in bag.raw_records([topic]):
        stamp = find_stamp(record.data)
        example = example or stamp
        file = None if stamp is None else files.get(stamp)
        if file is None or stamp in found or file in empty:
            continue
        ids = read_ids(file)
        try:
            size = read_ir(bag.decode(record).message).shape
        except (ImageError, BagError) as error:
            raise BagError(f"the image of {file} cannot be read: {error}") from error
        _require_fit(file, ids, size, classes)
        if (ids == UNLABELLED).all():
            empty.append(file)
        else:
            found[stamp] = file
    if not found and empty:
        raise BagError(
            f"no file in {empty[0].parent} has a labelled pixel: paint class ids over the {UNLABELLED}"
        )
    if not found:
        names = ", ".join(file.name for file in list(files.values())[:_SHOWN])
        raise BagError(
            f"no image on {topic} has the stamp of a label file ({names}): one of its stamps is {example}"
        )
    return found, empty


def _require_fit(file: Path, ids: NDArray[np.uint8], size: tuple[int, ...], classes: LabelSet) -> None:
    if ids.shape != size:
        raise BagError(
            f"{file} is {ids.shape[1]}x{ids.shape[0]}, but its image is {size[1]}x{size[0]}: scale it"
        )
    held = np.unique(ids).tolist()
    foreign = [number for number in held if len(classes) <= number != UNLABELLED]
    if foreign:
        raise BagError(
            f"{file} holds the ids {foreign}: allowed are 0 to {len(classes) - 1}, and {UNLABELLED}"
        )
