"""Figures of nodes that took turns, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

OURS, USUAL = "csk_ros", "usual"
RATIOS = ("p50_ms", "p95_ms", "p99_ms", "cpu_percent", "memory_mib")
"""Figures of which the ratio usual / ours is given."""


@dataclass(frozen=True)
class Turn:
    """What one node did for some seconds.

    Attributes:
        node: ``csk_ros`` or ``usual``.
        rate_hz: pairs of images per second, as asked for.
        sent: thermal images in the measured time.
        received: masks for them.
        p50_ms, p95_ms, p99_ms, max_ms: from stamp to mask received, milliseconds; None without any mask.
        cpu_percent: of one core, of the node's process.
        memory_mib: resident memory of the node's process at the end, MiB.
        fused: share of the masks whose route is FUSED; None where the node does not announce routes.
        around_p95_ms: of what the node does around the network, milliseconds, as its diagnostics tell: the
            median over their reports of the 95th percentile; None where there are none.
    """

    node: str
    rate_hz: float
    sent: int
    received: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    cpu_percent: float
    memory_mib: float
    fused: float | None
    around_p95_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class EndToEndRow(Turn):
    """One node at one rate: medians over its turns, but sums of images and the greatest ``max_ms``.

    Attributes:
        height, width: of the images, pixels.
        turns: how many.
        loss: share of the images without a mask, 0 to 1.
        ratios: by figure, the median over turns of the usual node's divided by this one's; without those that
            one of them never had, empty if the usual node was not run.
    """

    height: int
    width: int
    turns: int
    loss: float
    ratios: dict[str, float]


def make_row(size: tuple[int, int], turns: Sequence[Turn], rounds: Sequence[Sequence[Turn]]) -> EndToEndRow:
    """One node at one rate.

    Args:
        size: height and width of the images.
        turns: of that node at that rate.
        rounds: the turns of all nodes and rates, in the same order.
    """
    first = turns[0]
    usual = [t for turn in rounds for t in turn if t.node == USUAL and t.rate_hz == first.rate_hz]
    sent, received = sum(turn.sent for turn in turns), sum(turn.received for turn in turns)
    fused = [turn.fused for turn in turns if turn.fused is not None]
    return EndToEndRow(
        node=first.node,
        rate_hz=first.rate_hz,
        height=size[0],
        width=size[1],
        turns=len(turns),
        sent=sent,
        received=received,
        loss=1 - received / sent,
        p50_ms=_over(median, (turn.p50_ms for turn in turns)),
        p95_ms=_over(median, (turn.p95_ms for turn in turns)),
        p99_ms=_over(median, (turn.p99_ms for turn in turns)),
        max_ms=_over(max, (turn.max_ms for turn in turns)),
        cpu_percent=median(turn.cpu_percent for turn in turns),
        memory_mib=median(turn.memory_mib for turn in turns),
        fused=median(fused) if fused else None,
        ratios=_ratios(usual, turns) if usual else {},
        around_p95_ms=_over(median, (turn.around_p95_ms for turn in turns)),
    )


def _ratios(usual: Sequence[Turn], turns: Sequence[Turn]) -> dict[str, float]:
    """Of the same round: what disturbed the one disturbed the other."""
    ratios = {}
    for name in RATIOS:
        pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(usual, turns, strict=True)]
        if whole := [a / b for a, b in pairs if a is not None and b is not None]:
            ratios[name] = median(whole)
    return ratios


def _over(take: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    """Of the values that there are; None of none."""
    there = [value for value in values if value is not None]
    return take(there) if there else None
