"""Two videos, optical and thermal, as a sequence of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from csk_ros.data.sample import Sample, checked_index, frame_stamp_ns
from csk_ros.labels import MFNET, LabelSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SAME_RATE = 0.01  # relative
_SAME_LENGTH = 0.02  # relative; recorders stop one stream a little before the other


class VideoPair:
    """Frame n of one video with frame n of the other, as a sample set.

    As long as the shorter one. Going back opens the files anew: read the frames in order.

    Args:
        eo: video of the optical camera.
        ir: video of the thermal camera; colour is made grey.
        rate_hz: frames per second; None takes that of the files.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is no video, or their rates or lengths differ too much to pair frame by frame.
    """

    label_set: LabelSet = MFNET

    def __init__(self, eo: str | Path, ir: str | Path, *, rate_hz: float | None = None) -> None:
        self._eo, self._ir = _Video(Path(eo)), _Video(Path(ir))
        rates = self._eo.rate_hz, self._ir.rate_hz
        if rate_hz is None and not min(rates) > 0:
            raise ValueError(f"{eo} and {ir} do not say their frame rate: give --rate HZ")
        if rate_hz is None and abs(rates[0] - rates[1]) > _SAME_RATE * max(rates):
            raise ValueError(
                f"{eo} has {rates[0]:g} frames per second and {ir} {rates[1]:g}: paired frame by frame they "
                "drift apart; convert one, or give --rate HZ if the frames belong together one by one"
            )
        self.frames = self._eo.frames, self._ir.frames
        self._length = min(self.frames)
        if max(self.frames) - self._length > max(1, _SAME_LENGTH * max(self.frames)):
            raise ValueError(
                f"{eo} has {self.frames[0]} frames and {ir} {self.frames[1]}: they are not of one recording, "
                "or one lost frames; cut them to pairs first"
            )
        self.rate_hz = rate_hz or rates[1]

    def __len__(self) -> int:
        """The number of pairs."""
        return self._length

    def __getitem__(self, index: int) -> Sample:
        """The pair at ``index``, without labels.

        Raises:
            IndexError: outside the videos.
            ValueError: if a frame cannot be read; names the file.
        """
        index = checked_index(index, len(self))
        eo, ir = self._eo.frame(index), self._ir.frame(index)
        return Sample(
            eo=np.asarray(cv2.cvtColor(eo, cv2.COLOR_BGR2RGB), np.uint8),
            ir=np.asarray(cv2.cvtColor(ir, cv2.COLOR_BGR2GRAY), np.uint8),
            labels=None,
            name=f"{index:06d}",
            stamp_ns=frame_stamp_ns(index, self.rate_hz),
        )

    def __iter__(self) -> Iterator[Sample]:
        """All pairs in order."""
        return (self[index] for index in range(len(self)))


class _Video:
    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"there is no video {path}: check the path")
        self._path = path
        self._open()
        self.rate_hz = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if not self._capture.isOpened() or self.frames < 1:
            raise ValueError(f"{path} is no video that OpenCV can read")

    def _open(self) -> None:
        self._capture, self._next = cv2.VideoCapture(str(self._path)), 0

    def frame(self, index: int) -> NDArray[Any]:
        """Frame ``index``, uint8 BGR, (H, W, 3)."""
        if index == self._next - 1:
            return self._last
        if index < self._next:
            self._open()
        while self._next < index and self._capture.grab():
            self._next += 1
        whole, pixels = self._capture.read()
        if not whole or pixels is None:
            raise ValueError(
                f"{self._path}: frame {index} of {self.frames} cannot be read: is the file whole?"
            )
        self._next = index + 1
        self._last: NDArray[Any] = pixels
        return pixels
