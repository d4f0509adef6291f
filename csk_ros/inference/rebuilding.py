"""A segmenter that outlives its engine: what fails is thrown away and built anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csk_ros.inference.errors import EngineFailure, InputError
from csk_ros.inference.memory import release_unused_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from csk_ros.inference.segmenter import Segmentation, Segmenter


class RebuildingSegmenter:
    """Segments with what ``load`` builds; whatever fails is freed, and the next frame gets a new one.

    For one thread at a time.

    Args:
        load: builds a segmenter and warms it up.
        most_failures: so many in a row mean that building anew does not help.

    Raises:
        Exception: what ``load`` raises.
    """

    def __init__(self, load: Callable[[], Segmenter], most_failures: int) -> None:
        self._load = load
        self._most_failures = most_failures
        self._failures = 0
        self.rebuilds = 0
        self.segmenter: Segmenter | None = self._build()

    def exhausted(self) -> bool:
        """Whether so many failures have come in a row that no further frame should be tried."""
        return self._failures >= self._most_failures

    def segment(self, **asked: Any) -> Segmentation:
        """As :meth:`csk_ros.inference.Segmenter.segment`.

        Raises:
            InputError: as there; the engine is not to blame and stays.
            EngineFailure: the engine failed on this frame, or could not be built anew for it.
        """
        try:
            segmentation = self._ready().segment(**asked)
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 (engines raise whatever their libraries raise)
            self._failures += 1
            reason = f"{type(error).__name__}: {(str(error) or 'no reason given').splitlines()[0]}"
            error.__traceback__ = None  # its frames hold images and tensors
            self.close()
            raise EngineFailure(reason) from None
        self._failures = 0
        return segmentation

    def close(self) -> None:
        """Free the network and the memory of its device."""
        self.segmenter = None
        release_unused_memory()

    def _ready(self) -> Segmenter:
        if self.segmenter is None:
            self.segmenter = self._build()
            self.rebuilds += 1
        return self.segmenter

    def _build(self) -> Segmenter:
        segmenter = self._load()
        release_unused_memory()  # loading and compiling leave more than they keep
        return segmenter
