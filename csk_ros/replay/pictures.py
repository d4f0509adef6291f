"""Pictures of a replay: those of its moments, the strip (PNG) and the video (WebM)."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from tqdm import tqdm

from csk_ros.labels import UNLABELLED
from csk_ros.replay import panels
from csk_ros.replay.seen import seen_frames
from csk_ros.replay.timeline import route_bars

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from csk_ros.labels import LabelSet
    from csk_ros.replay.moments import Moment, Moments
    from csk_ros.replay.panels import Picture
    from csk_ros.replay.result import FrameRow, ReplayResult
    from csk_ros.replay.seen import LabelsAt, SeenFrame
    from csk_ros.replay.timeline import Bar


class VideoError(RuntimeError):
    """A video that cannot be written; the message is one line."""


@dataclass(frozen=True)
class Drawn:
    """A moment as pictures.

    Attributes:
        moment: the moment.
        images: by name: EO, IR, mask and, where there are labels, labels; all of one size.
        classes: ids that mask or labels hold.
    """

    moment: Moment
    images: dict[str, Picture]
    classes: frozenset[int]


@dataclass(frozen=True)
class Pictures:
    """The moments of a replay as pictures; fields as in :class:`Moments`."""

    switches: tuple[Drawn, ...]
    switch_count: int
    shown: int
    worst: tuple[Drawn, ...]

    @property
    def classes(self) -> list[int]:
        """Ids that any of them holds."""
        return sorted(frozenset[int]().union(*(one.classes for one in (*self.switches, *self.worst))))


def draw_moments(result: ReplayResult, moments: Moments, labels_at: LabelsAt | None = None) -> Pictures:
    """Draw the moments of a replay; one that the bag no longer gives is left out.

    Raises:
        BagError: if one of the bags cannot be opened.
    """
    rows = {moment.row for moment in (*moments.switches, *moments.worst)}
    drawn = {frame.row: _draw(frame, result.label_set) for frame in seen_frames(result, rows, labels_at)}

    def of(chosen: Sequence[Moment]) -> tuple[Drawn, ...]:
        return tuple(Drawn(m, *drawn[m.row]) for m in chosen if m.row in drawn)

    return Pictures(of(moments.switches), moments.switch_count, moments.shown, of(moments.worst))


def _draw(frame: SeenFrame, label_set: LabelSet) -> tuple[dict[str, Picture], frozenset[int]]:
    anchor = frame.eo if frame.ir is None else frame.ir
    height, width = (3, 4) if anchor is None else anchor.shape[:2]
    # In the camera's own proportions, within reason.
    size = (panels.PANEL[0], min(max(round(panels.PANEL[0] * height / width), 120), 480))
    images = dict(zip(("EO", "IR", "mask"), panels.frame_panels(frame, label_set, size), strict=True))
    if frame.labels is not None:
        images["labels"] = panels.fit(panels.over_image(frame, frame.labels, label_set), size)
    maps = [one for one in (frame.mask, frame.labels) if one is not None]
    return images, frozenset(int(i) for one in maps for i in np.unique(one))


def legend_of(classes: Sequence[int], label_set: LabelSet) -> list[tuple[str, str]]:
    """Name and colour (``#rrggbb``) of the classes that overlays show."""
    palette = label_set.palette()
    names = dict(enumerate(label_set.names)) | {UNLABELLED: "unlabelled"}
    shown = [i for i in classes if i in names and palette[i].any()]  # black is drawn clear
    return [(names[i], "#{:02x}{:02x}{:02x}".format(*palette[i])) for i in shown]


def write_strip(path: Path, pictures: Pictures, label_set: LabelSet) -> None:
    """Write a PNG with a row for each moment around a switch: EO, IR, mask over IR, labels if there are."""
    across = max((len(one.images) for one in pictures.switches), default=3)
    width = across * panels.PANEL[0]
    rows = [_strip_row(one, width) for one in pictures.switches]
    rows = rows or [panels.empty("no masks", (width, panels.PANEL[1]))]
    legend = _legend_picture(legend_of(pictures.classes, label_set), width)
    strip = np.vstack([*rows, *legend])
    path.write_bytes(cv2.imencode(".png", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))[1].tobytes())


def _strip_row(drawn: Drawn, width: int) -> Picture:
    images = np.hstack(list(drawn.images.values()))
    images = np.pad(images, ((0, 0), (0, width - images.shape[1]), (0, 0)))
    names = " | ".join(name if name != "mask" else "mask over IR" for name in drawn.images)
    return np.vstack([panels.caption(drawn.moment.row, drawn.moment.caption, names, width), images])


def _legend_picture(legend: list[tuple[str, str]], width: int) -> list[Picture]:
    """The legend on white, as high as it needs; nothing without classes."""
    if not legend:
        return []
    columns = max(width // 220, 1)
    height = 25 * -(-len(legend) // columns) + 30
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    handles = [Patch(color=color) for _, color in legend]
    box = figure.legend(handles, ["x"] * len(legend), loc="center", ncols=columns, frameon=False)
    for text, (name, _) in zip(box.get_texts(), legend, strict=True):
        text.set_parse_math(False)  # a name is no formula, whatever it holds
        text.set_text(name)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba")
    return [np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)[..., :3]]


def write_video(path: Path, result: ReplayResult, *, rate_hz: float, progress: bool = True) -> None:
    """Write a WebM (VP8, which every browser plays): EO, IR, mask over IR, a caption and a timeline.

    Args:
        path: of the new file.
        result: the replay; every anchor frame becomes a frame of the video, once if the bag was looped.
        rate_hz: frames per second of the video.
        progress: show a progress bar on stderr.

    Raises:
        VideoError: if this OpenCV cannot write WebM.
        BagError: if one of the bags cannot be opened.
    """
    width, height = panels.PANEL
    with _quiet_stderr():
        fourcc = cv2.VideoWriter.fourcc(*"VP80")
        writer = cv2.VideoWriter(str(path), fourcc, rate_hz, (3 * width, height + 2 * panels.BAR))
    if not writer.isOpened():
        raise VideoError(f"this OpenCV cannot write {path}: it was built without FFmpeg or VP8")
    rows = {row.stamp_ns: row for row in sorted(result.rows, key=_is_worse, reverse=True)}
    frames = seen_frames(result, rows.values(), labels_at=lambda _: None)
    bars = route_bars(result)
    bar = tqdm(frames, "writing video", len(rows), unit="frame", disable=not progress, file=sys.stderr)
    for frame in bar:
        writer.write(cv2.cvtColor(video_frame(frame, result, bars), cv2.COLOR_RGB2BGR))
    writer.release()


def _is_worse(row: FrameRow) -> tuple[bool, float]:
    """Of a stamp that came more than once the first frame with a mask is shown."""
    return row.route is None, row.seconds


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


def video_frame(frame: SeenFrame, result: ReplayResult, bars: Sequence[Bar]) -> Picture:
    """One picture of the video, uint8 RGB, shape (338, 1080, 3); ``bars`` are the timeline's."""
    images = np.hstack(panels.frame_panels(frame, result.label_set))
    title = panels.caption(frame.row, "", "EO | IR | mask over IR", images.shape[1])
    return np.vstack([title, images, _timeline(frame.row.seconds, result, bars, images.shape[1])])


def _timeline(seconds: float, result: ReplayResult, bars: Sequence[Bar], width: int) -> Picture:
    picture = np.full((panels.BAR, width, 3), panels.DARK, np.uint8)

    def place(second: float) -> int:
        share = (second - result.start_s) / max(result.length_s, 1e-3)
        return round(min(max(share, 0.0), 1.0) * (width - 1))

    colors = {
        route.value: panels.route_rgb(route) for route in {row.route for row in result.answered} if route
    }
    for bar in bars:
        left, right = place(bar.start_s), place(bar.end_s)
        cv2.rectangle(picture, (left, 6), (right, panels.BAR - 7), colors[bar.name], cv2.FILLED)
        if right - left > 90:
            panels.put(picture, bar.text, (left + 8, 23), panels.WHITE)
    cv2.line(picture, (place(seconds), 0), (place(seconds), panels.BAR), panels.WHITE, 3)
    return picture
