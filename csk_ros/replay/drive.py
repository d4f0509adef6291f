"""Drives perception over the images of a bag, with receive times as its clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from csk_ros.looking import Looker
from csk_ros.messages import MAX_PIXELS, ImageError, check_header, read_eo, read_ir
from csk_ros.modality import Modality, Route
from csk_ros.perception import Frame, Perception, Reason
from csk_ros.replay.bag import BagError
from csk_ros.replay.result import StreamSample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from csk_ros.perception import Decision, Look, PerceptionSettings
    from csk_ros.replay.source import Arrival

_SAMPLE_NS = 1_000_000_000


@dataclass(frozen=True)
class ReadImage:
    """One message of a bag, decoded; what perception carries for a frame.

    Attributes:
        modality: its stream; None for a label map.
        received_ns: when it arrives, on the bag's clock.
        seconds: the same since the bag's start.
        stamp_ns: its stamp.
        header: of the message; None where it is refused.
        pixels: (H, W, 3) uint8 RGB, or (H, W) uint8 or uint16; None if they cannot be read.
        look: what the image shows at a glance.
        problem: why the message is refused, or its pixels are; empty if neither.
    """

    modality: Modality | None
    received_ns: int
    seconds: float
    stamp_ns: int
    header: Any = None
    pixels: NDArray[Any] | None = None
    look: Look | None = None
    problem: str = ""

    @property
    def refused(self) -> bool:
        """Whether the node would refuse it as it comes."""
        return self.header is None


def read_images(arrivals: Iterable[Arrival], *, max_pixels: int = MAX_PIXELS) -> Iterator[ReadImage]:
    """Decode and look at every message, as the node does at arrival and before the network.

    Args:
        arrivals: in order.
        max_pixels: of the largest image to take.
    """
    # Not sparing: what is seen of a compressed image must not depend on how fast this machine is.
    lookers = {modality: Looker(max_pixels, sparing=False) for modality in Modality}
    for arrival in arrivals:
        place = (arrival.modality, arrival.received_ns, arrival.seconds, arrival.stamp_ns)
        try:
            message = arrival.message()
            check_header(message.header)
            look, image = lookers[arrival.modality].look(message) if arrival.modality else (None, message)
        except (BagError, ImageError) as error:
            yield ReadImage(*place, problem=str(error))
            continue
        read = read_eo if arrival.modality is Modality.EO else read_ir
        try:
            yield ReadImage(*place, message.header, read(image), look)
        except ImageError as error:
            yield ReadImage(*place, message.header, None, look, str(error))


class Drive:
    """Perception over one bag, and how its streams stood on the way.

    Args:
        settings: of perception.
        start_ns: when the drive begins, on the bag's clock.

    Attributes:
        perception: what decides.
        samples: how each stream stood, by stream: each second and at each change.
        lost_ms: by loss of EO, from its last image to the first IR_ONLY decision.
        returned_ms: by return of EO, from its first image to the first FUSED decision.
        problems: the first reason of each kind for which messages were refused, by stream.
    """

    def __init__(self, settings: PerceptionSettings, start_ns: int) -> None:
        self.perception: Perception[ReadImage] = Perception(settings, start_ns=start_ns)
        self.samples: dict[Modality, list[StreamSample]] = {modality: [] for modality in Modality}
        self.lost_ms: list[float] = []
        self.returned_ms: list[float] = []
        self.problems: dict[Modality, str] = {}
        self._start_ns = start_ns
        self._sampled_ns = dict.fromkeys(Modality, start_ns - _SAMPLE_NS)
        self._last_eo_ns: int | None = None
        self._back_ns: int | None = None
        self._without_eo = False

    def take(self, image: ReadImage) -> list[Decision[ReadImage]]:
        """What is decided until and by the arrival of an image, in order."""
        now, modality = image.received_ns, image.modality
        assert modality  # noqa: S101 (label maps are not perceived)
        decisions = self.advance(now)
        if image.problem:
            self.problems.setdefault(modality, image.problem)
        if image.refused:
            decisions += self._noted(self.perception.refused(modality, now))
        else:
            if modality is Modality.EO:
                self._see_eo(now)
            frame = Frame(modality, image.stamp_ns, now, image, image.look)
            decisions += self._noted(self.perception.arrive(frame))
        self._sample(now)
        return decisions

    def advance(self, until_ns: int | None = None) -> list[Decision[ReadImage]]:
        """What is decided by time alone, each at its moment; without an end until nothing waits."""
        decisions: list[Decision[ReadImage]] = []
        while True:
            deadline = self.perception.next_deadline_ns()
            if deadline is None or (until_ns is not None and deadline > until_ns):
                return decisions
            decisions += self._noted(self.perception.advance(deadline))
            self._sample(deadline)
            later = self.perception.next_deadline_ns()
            if later is not None and later <= deadline:
                return decisions  # it waits for what only an arrival can bring

    def _noted(self, decisions: list[Decision[ReadImage]]) -> list[Decision[ReadImage]]:
        for decision in decisions:
            if decision.reason is Reason.EO_STALE and not self._without_eo:
                self._without_eo, self._back_ns = True, None
                if self._last_eo_ns is not None:
                    self.lost_ms.append((decision.decided_ns - self._last_eo_ns) / 1e6)
            elif decision.route is Route.FUSED and self._without_eo:
                self._without_eo = False
                if self._back_ns is not None:
                    self.returned_ms.append((decision.decided_ns - self._back_ns) / 1e6)
        return decisions

    def _see_eo(self, now: int) -> None:
        self._last_eo_ns = now
        if self._without_eo and self._back_ns is None:
            self._back_ns = now

    def _sample(self, now: int) -> None:
        for modality, samples in self.samples.items():
            report = self.perception.stream(modality, now)
            if report is None:
                continue
            fault = report.fault.value if report.fault else ""
            changed = not samples or (samples[-1].state, samples[-1].fault) != (report.state.name, fault)
            if changed or now - self._sampled_ns[modality] >= _SAMPLE_NS:
                seconds = (now - self._start_ns) / 1e9
                samples.append(StreamSample(seconds, report.state.name, report.rate_hz, fault))
                self._sampled_ns[modality] = now
