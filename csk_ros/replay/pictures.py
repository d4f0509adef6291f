"""Pictures of a recording: overlay, strip (PNG) and video (WebM)."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from tqdm import tqdm

from csk_ros.evaluation.drawing import ROUTE_COLORS
from csk_ros.inference.overlay import draw_overlay, grey8
from csk_ros.replay.frames import played_frames
from csk_ros.replay.recording import RecordingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from csk_ros.labels import LabelSet
    from csk_ros.replay.frames import PlayedFrame
    from csk_ros.replay.recording import Recording, Span

_OPACITY = 0.6
_PANEL = (360, 270)  # width, height of one image in the video
_BAR = 34  # height of the video's caption and of its timeline
_FONT = cv2.FONT_HERSHEY_DUPLEX
_WHITE, _GREY, _DARK = (255, 255, 255), (120, 120, 120), (24, 24, 24)


def overlay(ir: NDArray[Any], mask: NDArray[np.uint8], label_set: LabelSet) -> NDArray[np.uint8]:
    """The thermal image with the mask over it, uint8 RGB, shape (H, W, 3)."""
    return draw_overlay(mask, label_set, ir=ir, opacity=_OPACITY)


def strip_captions(recording: Recording) -> dict[int, str]:
    """The stamps worth a row of the strip, with what there is to see: both ends, and each switch."""
    stamps = sorted(recording.route_of)
    captions: dict[int, str] = {}
    for after in recording.spans[1:]:
        first = next(s for s in stamps if recording.seconds(s) >= after.start_s)
        last = stamps[stamps.index(first) - 1]
        inside = [s for s in stamps if after.start_s <= recording.seconds(s) <= after.end_s]
        captions[last] = "last before the switch"
        captions[first] = "first after the switch"
        captions.setdefault(inside[len(inside) // 2], "in between")
    captions.setdefault(stamps[0], "first frame")
    captions.setdefault(stamps[-1], "last frame")
    return dict(sorted(captions.items()))


def write_strip(path: Path, recording: Recording, label_set: LabelSet) -> None:
    """Write a PNG with a row per frame of :func:`strip_captions`: EO, IR, IR with the mask."""
    captions = strip_captions(recording)
    frames = [frame for frame in played_frames(recording) if frame.stamp_ns in captions]
    figure = Figure(figsize=(11, 2.95 * len(frames) + 0.7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(frames), 3, squeeze=False)
    for axes, frame in zip(rows, frames, strict=True):
        _draw_row(axes, frame, captions[frame.stamp_ns], label_set)
    for axis, title in zip(rows[-1], ("EO (optical)", "IR (thermal)", "mask over IR"), strict=True):
        axis.set_xlabel(title, fontsize=11, fontweight="bold")
    figure.legend(handles=_legend(frames, label_set), loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path)


def _draw_row(axes: NDArray[Any], frame: PlayedFrame, caption: str, label_set: LabelSet) -> None:
    eo, ir, masked = axes
    if frame.eo is None:
        _draw_no_signal(eo, frame.ir.shape)
    else:
        eo.imshow(frame.eo)
    ir.imshow(grey8(frame.ir), cmap="gray", vmin=0, vmax=255)
    masked.imshow(overlay(frame.ir, _mask_of(frame), label_set))
    route = frame.route.value if frame.route else "no mask"
    color = ROUTE_COLORS[frame.route] if frame.route else "black"
    eo.set_title(f"{frame.seconds:.2f} s, {route}: {caption}", loc="left", fontsize=11, color=color)
    for axis in axes:
        axis.set(xticks=[], yticks=[])


def _draw_no_signal(axis: Axes, shape: tuple[int, ...]) -> None:
    axis.imshow(np.full((*shape[:2], 3), 24, np.uint8))
    axis.text(
        0.5, 0.5, "no signal", color="white", ha="center", va="center", transform=axis.transAxes, fontsize=13
    )


def _legend(frames: list[PlayedFrame], label_set: LabelSet) -> list[Patch]:
    seen = set().union(*(np.unique(_mask_of(frame)).tolist() for frame in frames)) - {0}
    colors = label_set.palette() / 255
    return [Patch(color=tuple(colors[i]), label=label_set.names[i]) for i in sorted(seen)]


def _mask_of(frame: PlayedFrame) -> NDArray[np.uint8]:
    return np.zeros(frame.ir.shape, np.uint8) if frame.mask is None else frame.mask


def write_video(
    path: Path, recording: Recording, label_set: LabelSet, *, rate_hz: float, progress: bool = True
) -> None:
    """Write a WebM (VP8, which every browser plays): EO, IR, mask over IR, a caption and a timeline.

    Raises:
        RecordingError: if this OpenCV cannot write WebM.
    """
    size = (3 * _PANEL[0], _PANEL[1] + 2 * _BAR)
    with _quiet_stderr():
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), rate_hz, size)
    if not writer.isOpened():
        raise RecordingError(f"this OpenCV cannot write {path}: it was built without FFmpeg or VP8")
    for frame in tqdm(
        played_frames(recording),
        "writing video",
        recording.sent_ir,
        unit="frame",
        disable=not progress,
        file=sys.stderr,
    ):
        writer.write(cv2.cvtColor(video_frame(frame, recording, label_set), cv2.COLOR_RGB2BGR))
    writer.release()


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drop what C code prints: OpenCV calls VP8 in WebM unsupported, and then writes it all the same."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def video_frame(frame: PlayedFrame, recording: Recording, label_set: LabelSet) -> NDArray[np.uint8]:
    """One picture of the video, uint8 RGB, shape (338, 1080, 3)."""
    eo = _no_signal() if frame.eo is None else _panel(frame.eo)
    ir = _panel(cv2.cvtColor(grey8(frame.ir), cv2.COLOR_GRAY2RGB))
    masked = _panel(overlay(frame.ir, _mask_of(frame), label_set))
    images = np.hstack([eo, ir, masked])
    return np.vstack([_caption(frame), images, _timeline(frame, recording)])


def _panel(image: NDArray[Any]) -> NDArray[np.uint8]:
    """The image at the panel's size, in its own proportions, on black."""
    height, width = image.shape[:2]
    scale = min(_PANEL[0] / width, _PANEL[1] / height)
    fitted = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    panel = np.zeros((_PANEL[1], _PANEL[0], 3), np.uint8)
    top, left = (_PANEL[1] - fitted.shape[0]) // 2, (_PANEL[0] - fitted.shape[1]) // 2
    panel[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return panel


def _no_signal() -> NDArray[np.uint8]:
    panel = np.full((_PANEL[1], _PANEL[0], 3), _DARK, np.uint8)
    _put(panel, "EO: no signal", (_PANEL[0] // 2 - 85, _PANEL[1] // 2), _WHITE)
    return panel


def _caption(frame: PlayedFrame) -> NDArray[np.uint8]:
    color = _rgb(ROUTE_COLORS[frame.route]) if frame.route else _GREY
    bar = np.full((_BAR, 3 * _PANEL[0], 3), color, np.uint8)
    _put(bar, f"{frame.seconds:6.2f} s   {frame.route.value if frame.route else 'no mask'}", (12, 24), _WHITE)
    _put(bar, "EO | IR | mask over IR", (3 * _PANEL[0] - 250, 24), _WHITE)
    return bar


def _timeline(frame: PlayedFrame, recording: Recording) -> NDArray[np.uint8]:
    width = 3 * _PANEL[0]
    bar = np.full((_BAR, width, 3), _DARK, np.uint8)
    length_s = max(recording.spans[-1].end_s, 1e-3)
    for start_s, end_s, span in _stretches(recording):
        left, right = (round(second / length_s * (width - 1)) for second in (start_s, end_s))
        cv2.rectangle(bar, (left, 6), (right, _BAR - 7), _rgb(ROUTE_COLORS[span.route]), cv2.FILLED)
        if right - left > 90:
            _put(bar, span.route.value, (left + 8, 23), _WHITE)
    now = round(min(frame.seconds / length_s, 1) * (width - 1))
    cv2.line(bar, (now, 0), (now, _BAR), _WHITE, 3)
    return bar


def _stretches(recording: Recording) -> list[tuple[float, float, Span]]:
    """The spans with each one drawn on to where the next begins."""
    ends = [span.start_s for span in recording.spans[1:]] + [recording.spans[-1].end_s]
    return [(span.start_s, end, span) for span, end in zip(recording.spans, ends, strict=True)]


def _put(image: NDArray[np.uint8], text: str, at: tuple[int, int], color: tuple[int, int, int]) -> None:
    cv2.putText(image, text, at, _FONT, 0.6, color, 1, cv2.LINE_AA)


def _rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue
