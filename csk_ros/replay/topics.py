"""Which topics of a bag are the optical images, the thermal images and the labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from csk_ros.modality import Modality
from csk_ros.replay.bag import COMPRESSED_IMAGE, IMAGE, BagError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csk_ros.replay.bag import BagReader

NONE = "none"
"""What to give in place of a topic to have none taken."""

_IR = {
    "ir",
    "thermal",
    "thermo",
    "lwir",
    "mwir",
    "infrared",
    "flir",
    "boson",
    "lepton",
    "tau",
    "tau2",
    "seek",
    "optris",
}
_EO = {"eo", "rgb", "color", "colour", "visible", "vis", "optical", "bgr", "webcam", "usb"}
_LABELS = {"label", "labels", "gt", "annotation", "annotations", "semantic"}
_OTHER = {"depth", "disparity", "mask", "confidence", "overlay", "compresseddepth", "theora", "camerainfo"}


@dataclass(frozen=True)
class InputTopics:
    """Topics by what they carry; None where there is none.

    Attributes:
        eo: optical images.
        ir: thermal images.
        labels: class ids as ``Image``, in the thermal image.
    """

    eo: str | None
    ir: str | None
    labels: str | None

    @property
    def modalities(self) -> dict[str, Modality]:
        """The modality of each image topic."""
        given = ((self.eo, Modality.EO), (self.ir, Modality.IR))
        return {topic: modality for topic, modality in given if topic}


def find_topics(
    bag: BagReader, *, eo: str | None = None, ir: str | None = None, labels: str | None = None
) -> InputTopics:
    """The topics to replay: those that are given, the others by type and name.

    A raw topic goes before its compressed copy. With one thermal topic and one other, the other is optical
    whatever its name.

    Args:
        bag: an open bag.
        eo: optical topic; None searches, :data:`NONE` takes none.
        ir: thermal topic; likewise.
        labels: label topic; likewise.

    Raises:
        BagError: a topic that is not there or carries no images; a search that finds no thermal topic, or
            several of a kind.
    """
    for topic in (eo, ir, labels):
        _check_given(bag, topic)
    free = [topic for topic in _image_topics(bag) if topic not in (eo, ir, labels)]
    named_labels = [t for t in free if _words(t) & _LABELS and bag.topics[t].msgtype == IMAGE]
    cameras = [t for t in free if not _words(t) & (_LABELS | _OTHER)]
    thermal = [t for t in cameras if _words(t) & _IR]
    ir = _choose(bag, "thermal", "ir", ir, thermal)
    if ir is None:
        raise BagError(
            f"{bag.path} has no topic that is thermal by its name ({_list(_image_topics(bag))}): "
            "name it with --ir TOPIC, or --ir none to go by the optical one alone"
        )
    others = [t for t in cameras if t not in thermal]
    optical = [t for t in others if _words(t) & _EO] or others
    return InputTopics(
        eo=_taken(_choose(bag, "optical", "eo", eo, optical)),
        ir=_taken(ir),
        labels=_taken(_choose(bag, "label", "labels", labels, named_labels)),
    )


def _choose(bag: BagReader, kind: str, flag: str, given: str | None, found: list[str]) -> str | None:
    if given is not None:
        return given
    if len(found) > 1:
        raise BagError(f"{bag.path} has several {kind} topics ({_list(found)}): name one with --{flag} TOPIC")
    return found[0] if found else None


def _taken(topic: str | None) -> str | None:
    return None if topic == NONE else topic


def _check_given(bag: BagReader, topic: str | None) -> None:
    if topic is None or topic == NONE:
        return
    if topic not in bag.topics:
        raise BagError(f"{bag.path} has no topic {topic}: its image topics are {_list(_image_topics(bag))}")
    if bag.topics[topic].msgtype not in (IMAGE, COMPRESSED_IMAGE):
        raise BagError(f"{topic} in {bag.path} carries {bag.topics[topic].msgtype}: name a topic with images")


def _image_topics(bag: BagReader) -> list[str]:
    """Topics with images, without the compressed copies of raw ones."""
    topics = [
        name
        for name, topic in bag.topics.items()
        if topic.msgtype in (IMAGE, COMPRESSED_IMAGE) and topic.messages
    ]
    return [topic for topic in topics if not any(topic.startswith(f"{raw}/") for raw in topics)]


def _words(topic: str) -> set[str]:
    parts = re.findall(r"[a-z]+[0-9]*", topic.lower())
    return {*parts, *(part.rstrip("0123456789") for part in parts)}


def _list(topics: Iterable[str]) -> str:
    return ", ".join(topics) or "none"
