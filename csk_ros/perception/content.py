"""Whether what a stream shows is of use, judged by a short look at each of its images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum


class Fault(str, Enum):
    """What is wrong with the images of a stream."""

    CORRUPT = "corrupt"
    DARK = "black"
    BRIGHT = "blown out"
    FLAT = "without contrast"
    FROZEN = "frozen"


@dataclass(frozen=True)
class Look:
    """What one image shows at a glance.

    Attributes:
        signature: equal for equal content, and as good as never for other content.
        low: grey level that 5 % of the pixels do not exceed, as the camera counts levels (8 or 16 bit);
            None if this image was only compared, not looked into.
        high: grey level that 99 % of the pixels do not exceed; None where `low` is.
    """

    signature: int
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True)
class ContentSettings:
    """When images count as bad, and how many of them make a stream unusable. 0 switches a check off.

    Attributes:
        frozen_frames: the stream is frozen after so many frames in a row that repeat the one before. Must
            exceed the repetitions of a driver that publishes faster than its sensor. Switch it off for a
            simulator, whose standing scene repeats exactly.
        dark: black if `Look.high` is at most this level.
        bright: blown out if `Look.low` is at least this level.
        flat: without contrast if `Look.high` - `Look.low` is at most so many levels.
        bad_frames: so many dark, bright, flat or unreadable frames in a row make the stream unusable;
            0: none of these checks.
        good_frames: so many good frames without a bad one between them make it usable again.

    Raises:
        ValueError: if a value is out of range; the message names the field.
    """

    frozen_frames: int = 5
    dark: int = 0
    bright: int = 0
    flat: int = 0
    bad_frames: int = 3
    good_frames: int = 3

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 1 if name == "good_frames" else 0
            if value < least:
                raise ValueError(f"{name} is {value}: must be at least {least}")


EO_CONTENT = ContentSettings(frozen_frames=5, dark=16, bright=245, flat=8)
IR_CONTENT = ContentSettings(frozen_frames=8, flat=4)


class ContentHealth:
    """Turns the looks at one stream into a verdict, with hysteresis both ways.

    A frame is bad, good, or says nothing: one that repeats the frame before, as long as it may be the
    driver's doing, and one that was not looked into after a bad one.
    """

    def __init__(self, settings: ContentSettings) -> None:
        self.settings = settings
        self.fault: Fault | None = None
        """What makes the stream unusable: that of the latest bad frame; None while it is usable."""
        self.bad: Counter[Fault] = Counter()
        """All bad frames so far."""
        self._signature: int | None = None
        self._repeats = 0
        self._in_doubt = False
        self._bad_run = 0
        self._good_run = 0

    def see(self, look: Look) -> None:
        """Takes the look at the next frame."""
        repeats = look.signature == self._signature
        self._repeats = self._repeats + 1 if repeats else 0
        self._signature = look.signature
        fault = self._level_fault(look)
        if look.low is not None:
            self._in_doubt = fault is not None
        frozen = self.settings.frozen_frames
        if fault is None and frozen and self._repeats >= frozen:
            fault = Fault.FROZEN
        if fault:
            self._count_bad(fault)
        elif not (self._in_doubt or (repeats and frozen)):
            self._count_good()

    def refuse(self) -> None:
        """Takes note of a message that could not be read."""
        if self.settings.bad_frames:
            self._in_doubt = True
            self._count_bad(Fault.CORRUPT)

    def _level_fault(self, look: Look) -> Fault | None:
        limits = self.settings
        if look.low is None or look.high is None or not limits.bad_frames:
            return None
        if limits.dark and look.high <= limits.dark:
            return Fault.DARK
        if limits.bright and look.low >= limits.bright:
            return Fault.BRIGHT
        if limits.flat and look.high - look.low <= limits.flat:
            return Fault.FLAT
        return None

    def _count_bad(self, fault: Fault) -> None:
        self.bad[fault] += 1
        self._good_run = 0
        self._bad_run += 1
        if self.fault or fault is Fault.FROZEN or self._bad_run >= self.settings.bad_frames:
            self.fault = fault

    def _count_good(self) -> None:
        self._bad_run = 0
        self._good_run += 1
        if self._good_run >= self.settings.good_frames:
            self.fault = None
