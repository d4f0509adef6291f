"""What is done to a stream on its way out of the bag, to see what would have happened.

Each takes a stretch of the bag: ``3:6`` (seconds since its start), ``every:10:2`` (2 s in every 10 s, at the
end of each period), or ``all``.

* drop: its images do not come.
* freeze: its last image before the stretch is repeated, with the stamps that the true ones have.
* dark: its images have a 64th of their signal, as under a covered lens.
* delay: its images arrive later, their stamps stay: ``80ms`` or ``0.08s``, ``80ms@3:6`` for a stretch.
* shift: with a duration its stamps are shifted, as by a wrong clock; with pixels (``12px`` or ``12px,-4px``,
  to the right and down) its pixels are, as by a wrong alignment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from csk_ros.modality import Modality

Kind = Literal["drop", "freeze", "dark", "delay", "shift"]

KINDS: tuple[Kind, ...] = get_args(Kind)

_NUMBER = r"([-+]?\d+(?:\.\d*)?|[-+]?\.\d+)"
_UNITS = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}
_LONGEST_DELAY_NS = 10_000_000_000


class InjectionError(ValueError):
    """An injection that cannot be read; the message says what can."""


@dataclass(frozen=True)
class Stretches:
    """Parts of a bag, in seconds since its start; a stretch holds its start and not its end.

    Attributes:
        start_s: of the first one.
        end_s: of the first one.
        period_s: repeats them; 0: there is one.
    """

    start_s: float
    end_s: float
    period_s: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Stretches:
        """Read ``FROM:TO``, ``every:PERIOD:LENGTH`` or ``all``.

        Raises:
            InjectionError: for anything else.
        """
        if text == "all":
            return cls(0.0, float("inf"))
        parts = text.split(":")
        try:
            if parts[0] == "every" and len(parts) == 3:
                period, length = float(parts[1]), float(parts[2])
                if 0 < length < period < float("inf"):
                    return cls(period - length, period, period)
            elif len(parts) == 2:
                start, end = float(parts[0]), float(parts[1] or "inf")
                if 0 <= start < end:
                    return cls(start, end)
        except ValueError:
            pass
        raise InjectionError(
            f"'{text}' is no stretch of a bag: write FROM:TO (3:6), every:PERIOD:LENGTH (every:10:2) or all, "
            "in seconds"
        )

    def holds(self, seconds: float) -> bool:
        """Whether a moment lies in one of them."""
        return self.start_s <= (seconds % self.period_s if self.period_s else seconds) < self.end_s

    def within(self, length_s: float) -> list[tuple[float, float]]:
        """Those of a bag of that length, as (from, to), cut at its end."""
        count = int(length_s // self.period_s) + 1 if self.period_s else 1
        spans = ((self.start_s + i * self.period_s, self.end_s + i * self.period_s) for i in range(count))
        return [(start, min(end, length_s)) for start, end in spans if start < length_s]


ALL = Stretches(0.0, float("inf"))


@dataclass(frozen=True)
class Injection:
    """One change of one stream.

    Attributes:
        kind: see the module.
        modality: whose images.
        stretches: when.
        amount_ns: of a delay, or of a shift of stamps.
        pixels: of a shift: to the right and down.
    """

    kind: Kind
    modality: Modality
    stretches: Stretches
    amount_ns: int = 0
    pixels: tuple[int, int] = (0, 0)

    @classmethod
    def parse(cls, kind: Kind, modality: Modality, text: str) -> Injection:
        """Read the value of a flag such as ``--drop-eo``.

        Raises:
            InjectionError: if it cannot be read; says what can.
        """
        if kind not in ("delay", "shift"):
            return cls(kind, modality, Stretches.parse(text))
        amount, at, when = text.partition("@")
        stretches = Stretches.parse(when) if at else ALL
        pixels = re.fullmatch(r"([-+]?\d+)px(?:,([-+]?\d+)px)?", amount)
        if kind == "shift" and pixels:
            return cls(kind, modality, stretches, pixels=(int(pixels[1]), int(pixels[2] or 0)))
        duration = re.fullmatch(f"{_NUMBER}(s|ms|us|ns)", amount)
        if duration is None:
            also = ", or pixels such as 12px or 12px,-4px" if kind == "shift" else ""
            raise InjectionError(
                f"'{text}' is no {kind}: write a duration such as 80ms or 0.5s{also}; "
                "80ms@3:6 for a stretch of the bag"
            )
        amount_ns = round(float(duration[1]) * _UNITS[duration[2]])
        if kind == "delay" and not 0 <= amount_ns <= _LONGEST_DELAY_NS:
            raise InjectionError(f"a delay of {amount} cannot be: use 0 to 10 s")
        return cls(kind, modality, stretches, amount_ns=amount_ns)

    def __str__(self) -> str:
        """As a person names it."""
        amount = f" {self.amount_ns / 1e6:g} ms" if self.amount_ns else ""
        if self.pixels != (0, 0):
            amount = f" {self.pixels[0]} px, {self.pixels[1]} px"
        when = self.stretches
        if when == ALL:
            span = "throughout"
        elif when.period_s:
            span = f"{when.end_s - when.start_s:g} s in every {when.period_s:g} s"
        else:
            span = f"from {when.start_s:g} s" + (f" to {when.end_s:g} s" if when.end_s < float("inf") else "")
        return f"{self.modality.value} {self.kind}{amount} {span}"
