"""What a bag holds, in a few lines."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from csk_ros.replay.bag import BagReader

if TYPE_CHECKING:
    from pathlib import Path


def describe_bag(path: str | Path) -> str:
    """Start, length, topics and classes of a bag, one per line.

    Raises:
        BagError: if it cannot be read.
    """
    with BagReader(path) as bag:
        start = datetime.fromtimestamp(bag.start_ns / 1e9, timezone.utc)
        seconds = bag.duration_ns / 1e9
        lines = [
            f"bag       {bag.path}",
            f"start     {start:%Y-%m-%d %H:%M:%S} UTC",
            f"length    {seconds:.3f} s",
            f"messages  {bag.message_count}",
        ]
        if bag.label_set is not None:
            lines.append(f"classes   {', '.join(bag.label_set.names)}")
        width = max(len(name) for name in bag.topics)
        for topic in bag.topics.values():
            rate = f", {(topic.messages - 1) / seconds:.1f} Hz" if topic.messages > 1 and seconds else ""
            lines.append(f"topic     {topic.name:<{width}}  {topic.msgtype}, {topic.messages} messages{rate}")
    return "\n".join(lines)
