"""Stamps as names of files."""

from __future__ import annotations

import re

_NANOSECONDS = re.compile(r"\d{16,19}")  # shorter numbers count frames
_SECONDS = re.compile(r"(\d{1,10})\.(\d{9})")


def stamp_from_name(stem: str) -> int | None:
    """The stamp in nanoseconds that a file's stem is, or None.

    Args:
        stem: whole nanoseconds (16 to 19 digits), or seconds and nine digits of nanoseconds with a point
            between.
    """
    if _NANOSECONDS.fullmatch(stem):
        return int(stem)
    if match := _SECONDS.fullmatch(stem):
        return int(match[1]) * 10**9 + int(match[2])
    return None
