"""What every data set yields: one optical and one thermal image of the same moment, and their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from csk_ros.labels import LabelSet


@dataclass(frozen=True)
class Sample:
    """One aligned pair of images.

    Attributes:
        eo: optical image, uint8 RGB, shape (H, W, 3).
        ir: thermal image, uint8 or uint16, shape (H, W).
        labels: class ids, uint8, shape (H, W), 255 where unlabelled; None without labels.
        name: what the data set calls it.
        stamp_ns: time of exposure in nanoseconds since the start of the sequence.
    """

    eo: NDArray[np.uint8]
    ir: NDArray[np.uint8] | NDArray[np.uint16]
    labels: NDArray[np.uint8] | None
    name: str
    stamp_ns: int


@runtime_checkable
class SampleSet(Protocol):
    """A sequence of samples with random access: the same index always gives the same sample."""

    @property
    def label_set(self) -> LabelSet:
        """The classes of the labels."""
        ...

    @property
    def rate_hz(self) -> float:
        """Samples per second of the sequence."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...

    def __iter__(self) -> Iterator[Sample]: ...


def frame_stamp_ns(index: int, rate_hz: float) -> int:
    """The stamp of frame ``index`` of a sequence, rounded to whole nanoseconds."""
    return round(index * 1e9 / rate_hz)


def checked_index(index: int, length: int) -> int:
    """``index`` as a position from the start; negative ones count from the end.

    Raises:
        IndexError: if it lies outside.
    """
    if not -length <= index < length:
        raise IndexError(f"sample {index} does not exist: there are {length}")
    return index % length
