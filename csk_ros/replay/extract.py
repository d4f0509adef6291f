"""Images of a bag as a data set in MFNet's layout, to label them and to train on them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from csk_ros.data.thermal import thermal_to_uint8
from csk_ros.labels import MFNET, UNLABELLED
from csk_ros.messages import ImageError, read_eo, read_ir
from csk_ros.replay.bag import BagError, BagReader, refuse_existing
from csk_ros.replay.copy import by_time
from csk_ros.replay.stamps import find_stamp
from csk_ros.replay.topics import NONE, find_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from csk_ros.replay.bag import RawRecord

_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
_README = """# Frames of {bag}

In MFNet's layout: `images/NAME.png` has the channels R, G, B, thermal, `labels/NAME.png` class ids.
NAME is the stamp of the thermal image in nanoseconds; `csk bag label` finds the image by it again.

- The optical image is resized to the thermal one's size, not aligned with it: that is up to the cameras.
- A thermal image of 16 bits is scaled to 8 by its own 1st and 99th percentile, as the Segmenter does.
- 255 in a label map is unlabelled. Files without labels are 255 all over.
- `train.txt`, `val.txt` and `test.txt` are the first 70 %, the next 15 % and the last 15 % of the drive:
  neighbours in time look alike, and belong into one split.
- `extract.json` has the stamps of both images of every frame, and their sizes in the bag.
"""


_Part = tuple[str, int]  # topic and stamp


class _Pair(NamedTuple):
    eo_ns: int
    ir_ns: int


class Extracted(NamedTuple):
    """What came of it.

    Attributes:
        frames: how many were written.
        labelled: how many of them have labels.
        unpaired: thermal images without an optical one within the slop.
        problems: what could not be read.
    """

    frames: int
    labelled: int
    unpaired: int
    problems: list[str]


def extract_images(
    path: str | Path,
    out: str | Path,
    *,
    eo_topic: str | None = None,
    ir_topic: str | None = None,
    labels_topic: str | None = None,
    every: int = 1,
    rate_hz: float | None = None,
    slop_s: float = 0.05,
    progress: bool = True,
) -> Extracted:
    """Write pairs of images as a data set that ``mfnet:OUT`` reads.

    Each thermal image is paired with the optical one of the nearest stamp.

    Args:
        path: the bag; it is read twice.
        out: folder of the data set.
        eo_topic: optical images; None finds them by name.
        ir_topic: thermal images; likewise.
        labels_topic: label maps with the stamps of the thermal images, of MFNet's classes; None takes none.
        every: take every n-th pair.
        rate_hz: take at most so many pairs per second.
        slop_s: greatest difference of the stamps of a pair, in seconds.
        progress: show progress bars on stderr.

    Raises:
        BagError: if the bag cannot be read, a topic holds no images, nothing pairs, or ``out`` exists.
    """
    out = Path(out)
    refuse_existing(out)
    if every < 1 or (rate_hz is not None and rate_hz <= 0) or slop_s < 0:
        raise BagError("--every must be 1 or more, --rate above 0, and --slop not negative")
    with BagReader(path) as bag:
        found = find_topics(bag, eo=eo_topic, ir=ir_topic, labels=labels_topic or NONE)
        if not (found.eo and found.ir):
            raise BagError(f"{bag.path} has no optical topic to pair: name both with --eo and --ir")
        eo_topic, ir_topic = found.eo, found.ir
        topics = [topic for topic in (eo_topic, ir_topic, labels_topic) if topic]
        if labels_topic and bag.label_set not in {None, MFNET}:
            raise BagError(f"the labels of {bag.path} are not of MFNet's classes: leave --labels out")
        stamps = _stamps(bag, topics, progress=progress)
        pairs = _pairs(stamps[eo_topic], stamps[ir_topic], round(slop_s * 1e9))
        if not pairs:
            raise BagError(_nothing_pairs(stamps[eo_topic], stamps[ir_topic], slop_s))
        chosen = _thin_out(pairs, every, rate_hz)
        labelled = set(stamps[labels_topic]) if labels_topic else set()
        try:
            frames = _Frames(out, topics, chosen, labelled)
            for record in _records(bag, topics, "extracting", progress=progress):
                frames.add(record, bag)
            topic_names = {"eo_topic": eo_topic, "ir_topic": ir_topic, "labels_topic": labels_topic}
            scaling = "16 bit: its own 1st to 99th percentile to 0..255"
            frames.finish({"bag": str(path), **topic_names, "slop_s": slop_s, "ir_scaling": scaling})
        except BaseException:
            shutil.rmtree(out, ignore_errors=True)
            raise
        unpaired = len(stamps[ir_topic]) - len(pairs)
        return Extracted(len(frames.written), frames.labelled, unpaired, [*bag.problems, *frames.broken])


def _stamps(bag: BagReader, topics: list[str], *, progress: bool) -> dict[str, list[int]]:
    stamps: dict[str, set[int]] = {topic: set() for topic in topics}
    for record in _records(bag, topics, "reading stamps", progress=progress):
        if stamp := find_stamp(record.data):
            stamps[record.topic].add(stamp)
    for topic, found in stamps.items():
        if not found:
            raise BagError(f"{topic} in {bag.path} has no image with a stamp: nothing can be paired")
    return {topic: sorted(found) for topic, found in stamps.items()}


def _records(bag: BagReader, topics: list[str], label: str, *, progress: bool) -> Iterator[RawRecord]:
    return by_time(
        bag.raw_records(topics), bag.start_ns, bag.start_ns + bag.duration_ns, label, show=progress
    )


def _pairs(eo: list[int], ir: list[int], slop_ns: int) -> list[_Pair]:
    times, anchors = np.array(eo), np.array(ir)
    after = (
        np.clip(np.searchsorted(times, anchors), 1, len(times) - 1)
        if len(times) > 1
        else np.zeros(len(ir), int)
    )
    before = np.maximum(after - 1, 0)
    nearest = np.where(np.abs(times[after] - anchors) < np.abs(times[before] - anchors), after, before)
    return [
        _Pair(eo[index], stamp)
        for index, stamp in zip(nearest.tolist(), ir, strict=True)
        if abs(eo[index] - stamp) <= slop_ns
    ]


def _nothing_pairs(eo: list[int], ir: list[int], slop_s: float) -> str:
    nearest = min(abs(pair.eo_ns - pair.ir_ns) for pair in _pairs(eo, ir, 1 << 62)) / 1e9
    return (
        f"no thermal image has an optical one within {slop_s:g} s, the nearest is {nearest:g} s off: --slop"
    )


def _thin_out(pairs: list[_Pair], every: int, rate_hz: float | None) -> list[_Pair]:
    if rate_hz is None:
        return pairs[::every]
    least = 0.95e9 / rate_hz  # cameras jitter: an image a little early is the one that is meant
    chosen = pairs[:1]
    for pair in pairs:
        if pair.ir_ns - chosen[-1].ir_ns >= least:
            chosen.append(pair)
    return chosen[::every]


class _Frames:
    """The data set while it is written: each frame as soon as the last of its parts has come."""

    def __init__(self, out: Path, topics: list[str], pairs: list[_Pair], labelled: set[int]) -> None:
        self._out, self._topics = out, topics
        self._parts: dict[int, list[_Part]] = {}
        for pair in pairs:
            stamps = [pair.eo_ns, pair.ir_ns, *([pair.ir_ns] if pair.ir_ns in labelled else [])]
            self._parts[pair.ir_ns] = list(zip(topics, stamps, strict=False))
        self._users: dict[_Part, set[int]] = {}
        for name, parts in self._parts.items():
            for part in parts:
                self._users.setdefault(part, set()).add(name)
        self._held: dict[_Part, RawRecord] = {}
        self.written: dict[int, dict[str, Any]] = {}
        self.labelled = 0
        self.broken: list[str] = []
        for folder in ("images", "labels"):
            (out / folder).mkdir(parents=True)

    def add(self, record: RawRecord, bag: BagReader) -> None:
        part = (record.topic, find_stamp(record.data) or 0)
        if part not in self._users or part in self._held:
            return
        self._held[part] = record
        for name in sorted(self._users[part]):
            if all(other in self._held for other in self._parts[name]):
                self._write(name, bag)

    def _write(self, name: int, bag: BagReader) -> None:
        parts = self._parts[name]
        try:
            messages = [bag.decode(self._held[part]).message for part in parts]
            eo, ir = read_eo(messages[0]), read_ir(messages[1])
            labels = read_ir(messages[2]) if len(messages) > 2 else np.full(ir.shape, UNLABELLED, np.uint8)
            _require_ids(labels, ir.shape)
            self._save(name, eo, ir, labels)
        except (BagError, ImageError) as error:
            self.broken.append(f"frame {name} is left out: {error}")
        else:
            self.labelled += len(messages) > 2
            sizes = {"eo_size": eo.shape[1::-1], "ir_size": ir.shape[1::-1]}
            self.written[name] = {"name": str(name), "eo_stamp_ns": parts[0][1], "ir_stamp_ns": name, **sizes}
        for part in parts:
            self._users[part].discard(name)
            if not self._users[part]:
                del self._users[part], self._held[part]

    def _save(self, name: int, eo: NDArray[Any], ir: NDArray[Any], labels: NDArray[Any]) -> None:
        height, width = ir.shape
        if eo.shape[:2] != ir.shape:
            shrinks = eo.shape[0] >= height and eo.shape[1] >= width
            eo = cv2.resize(
                eo, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            )
        red, green, blue = cv2.split(eo)
        image = cv2.merge([blue, green, red, thermal_to_uint8(ir)])
        for folder, pixels in (("images", image), ("labels", labels)):
            file = self._out / folder / f"{name}.png"
            if not cv2.imwrite(str(file), pixels):
                raise BagError(f"cannot write {file}: is the disk full?")

    def finish(self, about: dict[str, Any]) -> None:
        """Write the splits and what the frames are.

        Raises:
            BagError: if there are no frames.
        """
        if not self.written:
            raise BagError(
                f"no frame could be read: {self.broken[0] if self.broken else 'its images are damaged'}"
            )
        names, start = sorted(self.written), 0
        for split, share in _SHARES.items():
            end = len(names) if split == "test" else round(start + share * len(names))
            if part := names[start:end]:
                (self._out / f"{split}.txt").write_text(
                    "".join(f"{name}\n" for name in part), encoding="utf-8"
                )
            start = end
        frames = [self.written[name] for name in names]
        text = json.dumps({**about, "frames": frames}, indent=1)
        (self._out / "extract.json").write_text(text + "\n", encoding="utf-8")
        (self._out / "README.md").write_text(_README.format(bag=about["bag"]), encoding="utf-8")


def _require_ids(labels: NDArray[Any], shape: tuple[int, ...]) -> None:
    if labels.shape != shape or labels.dtype != np.uint8:
        raise ImageError(f"its labels are {labels.dtype} of {labels.shape}, not uint8 of {shape}")
