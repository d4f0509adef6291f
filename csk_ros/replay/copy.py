"""Bags out of bags: messages go over as their bytes, with the definitions that the bag holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from rosbags.interfaces import QosDurability
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from tqdm import tqdm

from csk_ros.replay.bag import TYPES, BagError, BagReader, BagWriter, Storage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from csk_ros.replay.bag import RawRecord
    from csk_ros.replay.storage.parts import Channel

_IDL = "=" * 80 + "\nIDL: "


class Copied(NamedTuple):
    """What came of a copy.

    Attributes:
        messages: how many were written.
        skipped: topics that could not be copied, and why.
        problems: what of the bag could not be read.
    """

    messages: int
    skipped: dict[str, str]
    problems: list[str]


def cut_bag(
    path: str | Path,
    out: str | Path,
    *,
    from_s: float = 0.0,
    to_s: float | None = None,
    topics: Collection[str] | None = None,
    storage: Storage = "mcap",
    zstd: bool = False,
    progress: bool = True,
) -> Copied:
    """Write a new bag with a stretch of another one; messages, stamps and receive times stay as they are.

    Of latched (transient local) topics the last message before the stretch is kept as well. Custom data and
    label set are kept.

    Args:
        path: the bag; it is only read.
        out: folder of the new bag.
        from_s: start of the stretch, in seconds after the bag's first message.
        to_s: its end, which is left out; None is the bag's end.
        topics: what to copy; None is everything.
        storage: storage of the new bag.
        zstd: compress it.
        progress: show a progress bar on stderr.

    Raises:
        BagError: if the bag cannot be read, ``out`` exists, a topic is not there, or the stretch is empty.
    """
    with BagReader(path) as bag:
        start_ns = bag.start_ns + round(from_s * 1e9)
        end_ns = bag.start_ns + bag.duration_ns
        stop_ns = end_ns + 1 if to_s is None else bag.start_ns + round(to_s * 1e9)
        if not bag.start_ns <= start_ns < stop_ns or start_ns > end_ns:
            seconds = bag.duration_ns / 1e9
            raise BagError(f"nothing lies between those times: {bag.path} goes from 0 to {seconds:.3f} s")
        bag.raw_records(topics)  # refuses topics that are not there before anything is written
        with BagWriter(out, storage=storage, zstd=zstd, custom_data=bag.custom_data) as writer:
            copied, skipped = declare_topics(bag, writer, topics)
            records = _stretch(bag, copied, start_ns, stop_ns)
            messages = 0
            for record in by_time(records, start_ns, min(stop_ns, end_ns), "cutting", show=progress):
                writer.write_raw(record.topic, record.received_ns, record.data)
                messages += 1
            if not messages:
                raise BagError(f"{bag.path} holds no such message between those times")
        return Copied(messages, skipped, bag.problems)


def declare_topics(
    bag: BagReader, writer: BagWriter, topics: Collection[str] | None = None
) -> tuple[set[str], dict[str, str]]:
    """Declare the topics of a bag (None: all) in a new one.

    Returns:
        Those that can be copied, and why the others cannot.
    """
    skipped = {topic: why for topic, why in bag.unreadable.items() if topics is None or topic in topics}
    copied = set()
    for topic, channels in bag.channels.items():
        if topic in skipped or not (topics is None or topic in topics):
            continue
        definition = _definition(channels[0])
        if len({(channel.msgtype, channel.digest) for channel in channels}) > 1:
            skipped[topic] = "it has messages of several types"
        elif definition is None:
            skipped[topic] = f"neither the bag nor ROS 2 Jazzy defines {channels[0].msgtype}"
        else:
            text, digest = definition
            first = channels[0]
            writer.add_foreign_topic(topic, first.msgtype, definition=text, digest=digest, qos=first.qos)
            copied.add(topic)
    return copied, skipped


def by_time(
    records: Iterable[RawRecord], start_ns: int, stop_ns: int, label: str, *, show: bool
) -> Iterator[RawRecord]:
    """``records`` as they are, with a progress bar on stderr that goes by their times."""
    seconds = (stop_ns - start_ns) / 1e9
    layout = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s [{elapsed}, {remaining} left]"
    with tqdm(total=seconds, desc=label, bar_format=layout, disable=not show, file=sys.stderr) as bar:
        for record in records:
            yield record
            bar.update(max(0.0, (record.received_ns - start_ns) / 1e9 - bar.n))


def _stretch(bag: BagReader, topics: set[str], start_ns: int, stop_ns: int) -> Iterator[RawRecord]:
    latched = {topic for topic in topics if _is_latched(bag.channels[topic])}
    if latched:
        last = {record.topic: record for record in bag.raw_records(latched, stop_ns=start_ns)}
        yield from sorted(last.values(), key=lambda record: record.received_ns)
    if topics:
        yield from bag.raw_records(topics, start_ns=start_ns, stop_ns=stop_ns)


def _is_latched(channels: list[Channel]) -> bool:
    profiles = [qos for channel in channels for qos in channel.qos]
    return any(qos.durability is QosDurability.TRANSIENT_LOCAL for qos in profiles)


def _definition(channel: Channel) -> tuple[str, str] | None:
    """Text and RIHS01 hash of a channel's type: the bag's own, else those of ROS 2 Jazzy."""
    known = channel.msgtype in TYPES.fielddefs
    digest = channel.digest if channel.digest.startswith("RIHS01_") else ""
    if known and (channel.encoding == "ros1" or digest in {"", TYPES.hash_rihs01(channel.msgtype)}):
        return TYPES.generate_msgdef(channel.msgtype, ros_version=2)[0], TYPES.hash_rihs01(channel.msgtype)
    if not channel.definition:
        return None
    digest = digest or _hash(channel)
    return (channel.definition, digest) if digest else None


def _hash(channel: Channel) -> str:
    """The hash of a definition, which is parsed and never made into code; empty if it is malformed."""
    store = get_typestore(Stores.EMPTY)
    try:
        if channel.definition.startswith(_IDL):
            store.fielddefs.update(get_types_from_idl(channel.definition))
        else:
            store.fielddefs.update(get_types_from_msg(channel.definition, channel.msgtype))
        store.fielddefs.update({k: v for k, v in TYPES.fielddefs.items() if k not in store.fielddefs})
        return store.hash_rihs01(channel.msgtype)
    except (TypesysError, KeyError, ValueError, RecursionError):
        return ""
