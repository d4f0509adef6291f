"""What a bag holds, in a few lines."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from csk_ros.messages import ImageError, read_ir
from csk_ros.replay.bag import COMPRESSED_IMAGE, IMAGE, BagError, BagReader
from csk_ros.replay.topics import find_topics

if TYPE_CHECKING:
    from pathlib import Path

    from csk_ros.replay.bag import Topic


def describe_bag(path: str | Path) -> tuple[str, list[str]]:
    """Start, length, storage, topics and classes of a bag, one per line; and what of it cannot be read.

    Reads the index and the first image of each topic.

    Raises:
        BagError: if nothing of it can be read.
    """
    with BagReader(path) as bag:
        start = datetime.fromtimestamp(bag.start_ns / 1e9, timezone.utc)
        seconds = bag.duration_ns / 1e9
        compression = f", compressed: {bag.compression}" if bag.compression else ""
        names = ", ".join(file.name for file in bag.files[:3]) + (", ..." if len(bag.files) > 3 else "")
        lines = [
            f"bag       {bag.path}",
            f"storage   {bag.storage}{compression}",
            f"files     {len(bag.files)}: {names}",
            f"start     {start:%Y-%m-%d %H:%M:%S} UTC",
            f"length    {seconds:.3f} s",
            f"messages  {bag.message_count}",
        ]
        lines.append(f"cameras   {_cameras(bag)}")
        if bag.label_set is not None:
            lines.append(f"classes   {', '.join(bag.label_set.names)}")
        width = max(len(name) for name in bag.topics)
        lines += [
            f"topic     {name:<{width}}  {_topic(bag, topic, seconds)}" for name, topic in bag.topics.items()
        ]
        return "\n".join(lines), bag.problems


def _cameras(bag: BagReader) -> str:
    """Which topics a replay takes."""
    try:
        found = find_topics(bag)
    except BagError as error:
        return str(error).removeprefix(f"{bag.path} has ")
    topics = {"eo": found.eo, "ir": found.ir, "labels": found.labels}
    return ", ".join(f"{name} {topic}" for name, topic in topics.items() if topic)


def _topic(bag: BagReader, topic: Topic, seconds: float) -> str:
    rate = f", {(topic.messages - 1) / seconds:.1f} Hz" if topic.messages > 1 and seconds else ""
    line = f"{topic.msgtype}, {topic.messages} messages{rate}"
    if topic.name in bag.unreadable:
        return f"{line}, left out: {bag.unreadable[topic.name]}"
    if topic.msgtype in {IMAGE, COMPRESSED_IMAGE} and topic.messages:
        return f"{line}, {_first_image(bag, topic.name)}"
    return line


def _first_image(bag: BagReader, topic: str) -> str:
    try:
        message = next((record.message for record in bag.records([topic])), None)
        if message is None:
            return "of which none can be read"
        if hasattr(message, "encoding"):
            return f"{message.encoding} {message.width}x{message.height}"
        height, width = read_ir(message).shape[:2]
    except (BagError, ImageError) as error:
        return f"of which the first cannot be read: {error}"
    return f"{message.format!r} {width}x{height}"
