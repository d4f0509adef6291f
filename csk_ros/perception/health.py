"""Whether a stream lives, judged by the arrival of its frames and by what they show."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from csk_ros.perception.content import EO_CONTENT, ContentHealth, ContentSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csk_ros.perception.content import Fault

# A period is the mean of _SPAN gaps in a row, so frames that come by twos or threes average out, and of
# the last _WINDOW such means the second smallest, since lost frames only ever lengthen a mean.
_SPAN = 6
_FIRST_SPAN = 3
_WINDOW = 16
_SHORTEST_PERIOD_NS = 2_000_000

# Gaps in periods: a longer one is an outage; after it, shorter ones are a backlog that is being worked off.
_OUTAGE = 3.5
_BACKLOG = 0.25

# So many outages, gaps beyond the timeout, or backlog frames in a row mean that the camera has a new rate.
_OUTAGES_OF_NEW_RATE = 3
_LATE_OF_NEW_RATE = 6
_BACKLOG_OF_NEW_RATE = 10


@dataclass(frozen=True)
class HealthSettings:
    """When a stream is stale and when it is back.

    Attributes:
        stale_periods: periods after the last frame at which the stream is stale.
        first_timeout_ns: the timeout before a period is measured, and the longest period.
        return_frames: frames in rhythm that end an outage, its first frame included.
        content: when its images count as bad.
        heed_content: whether a stream of bad images counts as not alive; they are noted in any case.
    """

    stale_periods: float
    first_timeout_ns: int
    return_frames: int
    content: ContentSettings = EO_CONTENT
    heed_content: bool = True


class StreamState(str, Enum):
    """How a stream stands at one moment."""

    AWAITED = "awaited"
    """Nothing has come yet, and its first timeout has not passed."""
    ALIVE = "alive"
    STALE = "stale"
    RETURNING = "returning"
    """Frames come again after an outage, but too few to trust."""
    UNUSABLE = "unusable"
    """Messages come, but what they show is of no use."""


@dataclass(frozen=True)
class StreamReport:
    """A stream as diagnostics show it.

    Attributes:
        rate_hz: frames per second over the last frames in rhythm, 0 when stale.
        age_ns: time since the last frame, None before the first.
        period_ns: the measured period, None before it is known.
        fault: what makes the stream unusable; None while it is usable, or when nothing comes any more.
        bad: all bad frames so far, whether they made the stream unusable or not.
    """

    state: StreamState
    rate_hz: float
    age_ns: int | None
    period_ns: int | None
    fault: Fault | None = None
    bad: Mapping[Fault, int] = field(default_factory=dict)


class StreamHealth:
    """The rhythm of one stream, and from it the moment at which the stream turns stale.

    That moment is fixed by the arrivals so far: `alive_until_ns` does not change between arrivals, so
    whether the stream is alive is a pure function of the time asked about.

    Args:
        settings: see `configure` for how to change them.
        start_ns: the moment from which the first frame is awaited.
    """

    def __init__(self, settings: HealthSettings, *, start_ns: int) -> None:
        self.settings = settings
        self.content = ContentHealth(settings.content)
        self._start_ns = start_ns
        self._last_refused_ns = start_ns
        self.last_arrival_ns: int | None = None
        self.period_ns: int | None = None
        self._marks: deque[int] = deque(maxlen=_SPAN + 1)
        self._means: deque[int] = deque(maxlen=_WINDOW)
        self._run = 0
        self._outages: list[int] = []
        self._late: list[int] = []
        self._backlog = 0

    def configure(self, settings: HealthSettings) -> None:
        """Changes the settings; what has been measured is kept."""
        self.settings = settings
        self.content.settings = settings.content

    @property
    def usable(self) -> bool:
        """Whether frames of this stream are to be used when they come."""
        return not (self.content.fault and self.settings.heed_content)

    @property
    def alive_until_ns(self) -> int:
        """The moment from which on the stream does not count as alive, if no frame comes before."""
        return self.arriving_until_ns if self.usable else self._start_ns

    @property
    def arriving_until_ns(self) -> int:
        """The same whatever the frames show."""
        if self.last_arrival_ns is None:
            return self._start_ns + self.settings.first_timeout_ns
        if self._run < self.settings.return_frames:
            return self.last_arrival_ns
        return self.last_arrival_ns + self._timeout_ns

    def alive(self, now_ns: int) -> bool:
        """Whether frames of this stream are to be counted on."""
        return now_ns < self.alive_until_ns

    def state(self, now_ns: int) -> StreamState:
        """How the stream stands at `now_ns`, which must not lie before the last arrival."""
        if self.content.fault and now_ns < self._last_heard_ns + self._timeout_ns:
            return StreamState.UNUSABLE
        if self.last_arrival_ns is None:
            return StreamState.AWAITED if self.alive(now_ns) else StreamState.STALE
        if now_ns >= self.last_arrival_ns + self._timeout_ns:
            return StreamState.STALE
        return StreamState.ALIVE if self.alive(now_ns) else StreamState.RETURNING

    def report(self, now_ns: int) -> StreamReport:
        """State, rate and age at `now_ns`."""
        state = self.state(now_ns)
        span = self._marks[-1] - self._marks[0] if self._marks else 0
        rate = (len(self._marks) - 1) * 1e9 / span if span and state is not StreamState.STALE else 0.0
        age = None if self.last_arrival_ns is None else now_ns - self.last_arrival_ns
        fault = self.content.fault if state is StreamState.UNUSABLE else None
        return StreamReport(state, rate, age, self.period_ns, fault, dict(self.content.bad))

    def refuse(self, now_ns: int) -> None:
        """Takes note of a message that could not be read; it does not keep the stream alive."""
        self._last_refused_ns = now_ns
        self.content.refuse()

    def arrive(self, now_ns: int) -> None:
        """Takes note of a usable frame; times must not go back."""
        previous, self.last_arrival_ns = self.last_arrival_ns, now_ns
        if previous is None:
            self._run = self.settings.return_frames
            self._marks.append(now_ns)
            return
        gap = now_ns - previous
        self._late = [*self._late, gap] if gap > self._timeout_ns else []
        if gap > self._longest_gap_ns:
            self._restart(now_ns, gap)
        elif self._run < self.settings.return_frames and self._is_backlog(gap):
            self._work_off(now_ns)
        else:
            self._run += 1
            self._outages.clear()
            self._backlog = 0
            self._learn(now_ns)
        if len(self._late) == _LATE_OF_NEW_RATE:
            self._take_new_rate(min(self._late), now_ns)

    @property
    def _last_heard_ns(self) -> int:
        arrival = self.last_arrival_ns
        return self._last_refused_ns if arrival is None else max(arrival, self._last_refused_ns)

    @property
    def _timeout_ns(self) -> int:
        return (
            self.settings.first_timeout_ns
            if self.period_ns is None
            else int(self.settings.stale_periods * self.period_ns)
        )

    @property
    def _longest_gap_ns(self) -> int:
        return self.settings.first_timeout_ns if self.period_ns is None else int(_OUTAGE * self.period_ns)

    def _is_backlog(self, gap: int) -> bool:
        return self.period_ns is not None and gap < _BACKLOG * self.period_ns

    def _restart(self, now_ns: int, gap: int) -> None:
        self._run = 1
        self._backlog = 0
        self._marks.clear()
        self._marks.append(now_ns)
        if gap > self.settings.first_timeout_ns:
            self._outages.clear()
            self._late.clear()
            return
        self._outages.append(gap)
        if len(self._outages) == _OUTAGES_OF_NEW_RATE:
            self._run += len(self._outages)
            self._take_new_rate(min(self._outages), now_ns)

    def _take_new_rate(self, period_ns: int, now_ns: int) -> None:
        self.period_ns = period_ns
        self._means.clear()
        self._marks.clear()
        self._marks.append(now_ns)
        self._outages.clear()
        self._late.clear()

    def _work_off(self, now_ns: int) -> None:
        self._marks.clear()
        self._marks.append(now_ns)
        self._backlog += 1
        if self._backlog == _BACKLOG_OF_NEW_RATE:
            self._means.clear()
            self.period_ns = None
            self._backlog = 0

    def _learn(self, now_ns: int) -> None:
        self._marks.append(now_ns)
        gaps = len(self._marks) - 1
        mean = (now_ns - self._marks[0]) // gaps
        if gaps < _FIRST_SPAN or mean < _SHORTEST_PERIOD_NS:
            return
        if gaps == _SPAN:
            self._means.append(mean)
            self.period_ns = sorted(self._means)[min(1, len(self._means) - 1)]
        elif self.period_ns is None:
            self.period_ns = mean
