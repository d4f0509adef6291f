"""Looks at image messages as they arrive, cheaply enough for the thread that receives them. No ROS here."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from csk_ros.messages import MAX_PIXELS, check_image, decompress, is_png, thin_pixels
from csk_ros.perception import Look

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_LOW, _HIGH = 0.05, 0.99
_DECODE_SHARE = 0.1
"""Of the time, at most so much goes into decoding compressed images of one stream."""


class Looker:
    """Looks at the images of one stream, each in turn.

    A raw image is always looked into. Decoding a compressed one may take long, so after a decode that took
    the processor for t, the next comes no sooner than 10 t later; the images between are compared only.

    Args:
        max_pixels: largest image that is taken.
        sparing: whether decoding is held to its share; if not, what is seen does not depend on the clock.
        clock_ns: a steady clock.
        processor_ns: the processor time of this thread.
    """

    def __init__(
        self,
        max_pixels: int = MAX_PIXELS,
        *,
        sparing: bool = True,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        processor_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._max_pixels = max_pixels
        self._sparing = sparing
        self._clock_ns = clock_ns
        self._processor_ns = processor_ns
        self._decode_from_ns: int | None = None

    def look(self, message: Any) -> tuple[Look, Any]:
        """What an ``Image`` or ``CompressedImage`` shows, and what its pixels are to be read from.

        That is the message itself, or the image that a PNG holds if it has been decoded for the look: it is
        not decoded twice.

        Raises:
            ImageError: if it cannot be an image, or its decoding fails.
        """
        check_image(message, max_pixels=self._max_pixels)
        if hasattr(message, "encoding"):
            thin, image = thin_pixels(message), message
            signature = _signature(message.data, thin)
        else:
            thin, image = self._decode(message)
            signature = _signature(message.data, None)
        return Look(signature, *(() if thin is None else _levels(thin))), image

    def _decode(self, message: Any) -> tuple[NDArray[Any] | None, Any]:
        now = self._clock_ns()
        if self._sparing and self._decode_from_ns is not None and now < self._decode_from_ns:
            return None, message
        started = self._processor_ns()
        try:
            image = decompress(message) if is_png(message) else message
            return thin_pixels(image), image
        finally:
            self._decode_from_ns = now + int((self._processor_ns() - started) / _DECODE_SHARE)


def _signature(data: Any, thin: NDArray[Any] | None) -> int:
    """A number that tells contents apart.

    The sum over all words sees any change but an exchange of words, such as a flat object that moves by
    whole words over a flat background, which the checksum of the thin pixels sees.
    """
    octets = np.frombuffer(data, dtype=np.uint8)
    whole = octets.size // 8 * 8
    total = int(np.add.reduce(octets[:whole].view(np.uint64)))
    thinned = b"" if thin is None else thin.tobytes()
    return hash((octets.size, total, zlib.crc32(octets[whole:].tobytes()), zlib.crc32(thinned)))


def _levels(thin: NDArray[Any]) -> tuple[int, int]:
    """The grey levels that 5 % and 99 % of the pixels do not exceed."""
    last = thin.size - 1
    low, high = int(_LOW * last), int(_HIGH * last)
    ranked = np.partition(thin, (low, high), axis=None)
    return int(ranked[low]), int(ranked[high])
