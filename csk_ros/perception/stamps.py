"""What the stamps of one stream say about its frames."""

from __future__ import annotations

from enum import Enum


class StampVerdict(Enum):
    """What a stamp says about its frame."""

    NEWER = "newer than all before"
    OLDER = "older than the newest"
    REPEATED = "the newest once more"
    JUMPED_BACK = "far older: a new start"
    MISSING = "missing, or stuck"


class StampOrder:
    """Judges the stamps of one stream as they come."""

    def __init__(self) -> None:
        self._newest: int | None = None
        self._repeats = 0

    def judge(self, stamp_ns: int, *, jump_back_ns: int) -> StampVerdict:
        """The verdict on the next frame's stamp.

        One repetition is a frame that was delivered twice; more are a clock that stands still, and such
        frames are as good as frames without a stamp.
        """
        if stamp_ns <= 0:
            return StampVerdict.MISSING
        if stamp_ns == self._newest:
            self._repeats += 1
            return StampVerdict.REPEATED if self._repeats == 1 else StampVerdict.MISSING
        if self._newest is not None and self._newest - jump_back_ns <= stamp_ns < self._newest:
            return StampVerdict.OLDER
        jumped = self._newest is not None and stamp_ns < self._newest
        self._newest, self._repeats = stamp_ns, 0
        return StampVerdict.JUMPED_BACK if jumped else StampVerdict.NEWER
