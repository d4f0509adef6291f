"""Rows of a live run: which image each mask answers, on which route, and what became of the others."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from csk_ros.modality import Modality, Route
from csk_ros.perception import DropCause, Reason
from csk_ros.replay.result import FrameRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from csk_ros.replay.played import Mask, Played, Sent, Standing

LOST = "LOST"
NO_MASK = "NO_MASK"
"""No mask, for a cause that the node's counts do not tell."""
UNKNOWN = "UNKNOWN"
"""A route for a reason that the node's diagnostics do not tell."""

_REASONS = {
    Modality.EO: {
        "STALE": Reason.EO_STALE,
        "UNUSABLE": Reason.EO_UNUSABLE,
        "RETURNING": Reason.EO_RETURNING,
        "AWAITED": Reason.EO_ABSENT,
    },
    Modality.IR: {"STALE": Reason.IR_STALE, "UNUSABLE": Reason.IR_UNUSABLE},
}
_NEAR_NS = 2_000_000_000
# A gap of so many periods is a loss, not jitter.
_LOSS_PERIODS = 2.5


@dataclass(frozen=True)
class Rows:
    """The anchor frames of a run.

    Attributes:
        rows: in order.
        turns: the turn through the bag that each is of.
        unmatched: masks of no image that was played.
        unrouted: masks that came before any route was announced.
        lost_ms: by loss of EO, from sending its last image to receiving the first IR_ONLY mask.
        returned_ms: by return of EO, from sending its first image to receiving the first FUSED mask.
    """

    rows: tuple[FrameRow, ...]
    turns: tuple[int, ...]
    unmatched: int
    unrouted: int
    lost_ms: tuple[float, ...]
    returned_ms: tuple[float, ...]


@dataclass(frozen=True)
class _Answer:
    mask: Mask
    route: Route


def make_rows(played: Played) -> Rows:
    """Pair masks with images by stamp and route."""
    answers, unmatched, unrouted = _match(played)
    anchors = _anchors(played.sent, answers)
    missing = len(anchors) - len(answers)
    cause = _drop_cause(played, missing)
    partners = sorted((sent.live_ns, sent.stamp_ns) for sent in played.sent if sent.modality is Modality.EO)
    rows = [
        _answered(played.sent[i], answers[i], partners, played.reports.streams)
        if i in answers
        else _unanswered(played.sent[i], cause)
        for i in anchors
    ]
    lost_ms, returned_ms = _switch_times(played.sent, list(answers.values()))
    return Rows(
        rows=tuple(rows),
        turns=tuple(played.sent[i].turn for i in anchors),
        unmatched=unmatched,
        unrouted=unrouted,
        lost_ms=tuple(lost_ms),
        returned_ms=tuple(returned_ms),
    )


def drop_counts(account: Mapping[str, int]) -> dict[str, int]:
    """The node's drops by name of the ``DropCause``, those that happened."""
    counts = {cause.name: account.get(f"dropped_{cause.name.lower()}", 0) for cause in DropCause}
    return {name: count for name, count in counts.items() if count > 0}


def lost_images(played: Played, modality: Modality) -> int:
    """Images of a stream that were sent and did not reach the node; 0 where it does not tell."""
    sent = sum(image.modality is modality for image in played.sent)
    return sent - played.reports.account.get(f"{modality.value}_received", sent)


def lost_masks(played: Played) -> int:
    """Masks that the node made and that did not come back; 0 where it does not tell."""
    return played.reports.account.get("answered", len(played.masks)) - len(played.masks)


def _match(played: Played) -> tuple[dict[int, _Answer], int, int]:
    """Answers by number of the image; masks of no image, and masks without a route."""
    waiting: dict[tuple[Modality, int], list[int]] = {}
    for i, sent in enumerate(played.sent):
        waiting.setdefault((sent.modality, sent.live_ns), []).append(i)
    departures = [announced.source_ns for announced in played.routes]
    answers: dict[int, _Answer] = {}
    unmatched = unrouted = 0
    for mask in played.masks:
        position = bisect.bisect_right(departures, mask.source_ns) - 1
        if position < 0:
            unrouted += 1
            continue
        route = played.routes[position].route
        # EO and IR images of one moment have equal stamps; the route tells which of them was answered.
        anchor = Modality.EO if route is Route.EO_ONLY else Modality.IR
        images = waiting.get((anchor, mask.stamp_ns))
        if images:
            answers[images.pop(0)] = _Answer(mask, route)
        else:
            unmatched += 1
    return answers, unmatched, unrouted


def _anchors(sent: Sequence[Sent], answers: Mapping[int, _Answer]) -> list[int]:
    """The images that were answered or should have been: EO where it paced the masks, else IR."""
    before = _routes_before(range(len(sent)), answers)
    after = _routes_before(range(len(sent) - 1, -1, -1), answers)
    thermal = any(image.modality is Modality.IR for image in sent)
    settled = {(sent[i].modality, sent[i].live_ns) for i in answers}

    def is_anchor(i: int) -> bool:
        image = sent[i]
        if i in answers:
            return True
        if any((other, image.live_ns) in settled for other in Modality if other is not image.modality):
            return False  # the other image of this moment was the anchor
        around = {route for route in (before[i], after[i]) if route}
        pace = Modality.EO if around == {Route.EO_ONLY} or not thermal else Modality.IR
        return image.modality is pace

    return [i for i in range(len(sent)) if is_anchor(i)]


def _routes_before(order: Sequence[int], answers: Mapping[int, _Answer]) -> dict[int, Route | None]:
    """For each image the route of the answered one before it, in the given order."""
    found: dict[int, Route | None] = {}
    latest = None
    for i in order:
        found[i] = latest
        if i in answers:
            latest = answers[i].route
    return found


def _drop_cause(played: Played, missing: int) -> str:
    """The cause of every frame without a mask, if there is but one that explains them all."""
    account = played.reports.account
    thermal = any(image.modality is Modality.IR for image in played.sent)
    lost = lost_images(played, Modality.IR if thermal else Modality.EO) + lost_masks(played)
    causes = drop_counts(account) | ({LOST: lost} if lost > 0 else {})
    if len(causes) == 1:
        ((name, count),) = causes.items()
        if count >= missing:
            return name
    return NO_MASK


def _answered(
    sent: Sent,
    answer: _Answer,
    partners: Sequence[tuple[int, int]],
    streams: Mapping[Modality, Sequence[Standing]],
) -> FrameRow:
    fused = answer.route is Route.FUSED
    return FrameRow(
        seconds=sent.seconds,
        stamp_ns=sent.stamp_ns,
        mask_stamp_ns=sent.live_ns,
        anchor=sent.modality,
        eo_stamp_ns=_nearest(partners, sent.live_ns)
        if fused
        else sent.stamp_ns
        if answer.route is Route.EO_ONLY
        else None,
        route=answer.route,
        cause=Reason.PAIRED.name if fused else _reason(sent, answer.route, streams),
        latency_ms=(answer.mask.received_ns - sent.moment_ns) / 1e6,
    )


def _unanswered(sent: Sent, cause: str) -> FrameRow:
    return FrameRow(
        seconds=sent.seconds,
        stamp_ns=sent.stamp_ns,
        mask_stamp_ns=sent.live_ns,
        anchor=sent.modality,
        eo_stamp_ns=None,
        route=None,
        cause=cause,
    )


def _nearest(partners: Sequence[tuple[int, int]], live_ns: int) -> int | None:
    """The stamp in the bag of the optical image that is nearest in stamp, which is how the node pairs."""
    position = bisect.bisect_left(partners, (live_ns, 0))
    near = partners[max(position - 1, 0) : position + 1]
    return min(near, key=lambda partner: abs(partner[0] - live_ns))[1] if near else None


def _reason(sent: Sent, route: Route, streams: Mapping[Modality, Sequence[Standing]]) -> str:
    """Why the other stream was not used, by how it stood in the reports around."""
    other = Modality.EO if route is Route.IR_ONLY else Modality.IR
    standings = streams.get(other, ())
    position = bisect.bisect_left(standings, sent.sent_ns, key=lambda standing: standing.wall_ns)
    for standing in (*standings[position : position + 1], *standings[max(position - 1, 0) : position]):
        reason = _REASONS[other].get(standing.state)
        if reason and abs(standing.wall_ns - sent.sent_ns) < _NEAR_NS:
            return reason.name
    return UNKNOWN


def _switch_times(sent: Sequence[Sent], answers: list[_Answer]) -> tuple[list[float], list[float]]:
    """How long each switch of route took, at losses and returns of EO."""
    answers.sort(key=lambda answer: answer.mask.received_ns)
    lost_ms, returned_ms = [], []
    for last, back in _losses(sent):
        end_ns = back.sent_ns if back else None
        lost_ms.append(_first_ms(answers, Route.IR_ONLY, last.sent_ns, end_ns))
        if back:
            returned_ms.append(_first_ms(answers, Route.FUSED, back.sent_ns, None))
    return [ms for ms in lost_ms if ms is not None], [ms for ms in returned_ms if ms is not None]


def _losses(sent: Sequence[Sent]) -> list[tuple[Sent, Sent | None]]:
    """The last EO image before each loss and the first one after it."""
    eo = [image for image in sent if image.modality is Modality.EO]
    gaps = [after.seconds - before.seconds for before, after in pairwise(eo)]
    if not gaps:
        return []
    longest = _LOSS_PERIODS * median(gaps)
    losses: list[tuple[Sent, Sent | None]] = [
        (before, after) for (before, after), gap in zip(pairwise(eo), gaps, strict=True) if gap > longest
    ]
    if sent[-1].seconds - eo[-1].seconds > longest:
        losses.append((eo[-1], None))
    return losses


def _first_ms(answers: Sequence[_Answer], route: Route, from_ns: int, until_ns: int | None) -> float | None:
    start = bisect.bisect_left(answers, from_ns, key=lambda answer: answer.mask.received_ns)
    for answer in answers[start:]:
        if until_ns is not None and answer.mask.received_ns >= until_ns:
            return None
        if answer.route is route:
            return (answer.mask.received_ns - from_ns) / 1e6
    return None
