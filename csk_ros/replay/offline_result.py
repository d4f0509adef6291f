"""What a deterministic replay says of itself: refused images, counts, configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csk_ros.perception import DropCause

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from csk_ros.inference import Segmenter
    from csk_ros.modality import Modality
    from csk_ros.perception import Account
    from csk_ros.replay.result import FrameRow
    from csk_ros.replay.topics import InputTopics


def refused(account: Account, rows: Iterable[FrameRow]) -> dict[Modality, int]:
    """Images by stream that could not be used: refused as they came, or unreadable when their turn came."""
    unread = [row.anchor for row in rows if row.cause == DropCause.UNREADABLE.name]
    return {
        modality: sum(stream.refused.values()) + unread.count(modality)
        for modality, stream in account.streams.items()
    }


def refusals(
    account: Account, rows: Iterable[FrameRow], problems: Mapping[Modality, str], topics: InputTopics
) -> list[str]:
    """A line for each stream of which images were refused, with the first reason."""
    counted = refused(account, rows)
    names = {modality: topic for topic, modality in topics.modalities.items()}
    return [
        f"{counted[modality]} of {account.streams[modality].received} images on {names[modality]} "
        f"are refused: {reason}"
        for modality, reason in problems.items()
    ]


def streams_readable(account: Account, rows: Iterable[FrameRow]) -> bool:
    """Whether of every stream that came, something could be read."""
    counted = refused(account, rows)
    return all(
        stream.received > counted[modality] for modality, stream in account.streams.items() if stream.received
    )


def counts(account: Account) -> dict[str, int]:
    """What became of images apart from answers: drops by cause, and images that paired with nothing."""
    found = {f"dropped_{cause.name.lower()}": count for cause, count in account.dropped.items() if count}
    for modality, stream in account.streams.items():
        refused = {f"refused_{cause.name.lower()}": count for cause, count in stream.refused.items()}
        others = {"unused": stream.unused, "unusable": stream.unusable}
        found |= {f"{modality.value}_{name}": n for name, n in (refused | others).items() if n}
    return found


def configuration(segmenter: Segmenter, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Engine, device and the node's parameters that were set, by name."""
    engine = {"engine": segmenter.engine, "device": segmenter.device, "precision": segmenter.precision}
    return {name: str(value) for name, value in parameters.items()} | engine
