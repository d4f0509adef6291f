"""Data sets and scenes as bags."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, get_args

import cv2
import numpy as np
from tqdm import tqdm

from csk_ros.replay.bag import COMPRESSED_IMAGE, IMAGE, TYPES, BagError, BagWriter, Storage

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from csk_ros.data.sample import Sample, SampleSet

Compression = Literal["none", "zstd", "png", "jpeg"]

EO_TOPIC = "/eo/image"
IR_TOPIC = "/ir/image"
LABELS_TOPIC = "/labels/image"
START_NS = 1_750_000_000 * 10**9
"""Where bags start unless told otherwise: fixed, so that the same samples make the same bytes."""

_JPEG_QUALITY = 90
# Within one stamp the bag holds eo, ir, labels in this order, whatever the storage does with ties.
_ORDER_STEP_NS = 1_000


def write_samples(
    path: str | Path,
    samples: SampleSet,
    *,
    storage: Storage = "mcap",
    compress: Compression = "none",
    rate_hz: float | None = None,
    start_ns: int = START_NS,
    progress: bool = True,
) -> None:
    """Write a bag with EO, IR and label topics, one sample at a time.

    Stamps are the samples' own, shifted so that the first one is ``start_ns``; receive times are the
    stamps. Frame ids are ``eo_camera`` and ``ir_camera`` (labels lie in the thermal image).

    Args:
        path: folder of the new bag.
        samples: what to write; the label set goes into the bag's metadata.
        storage: "mcap" or "sqlite3".
        compress: "zstd" compresses the storage; "png" and "jpeg" write ``CompressedImage`` on
            ``.../image/compressed`` (thermal images are PNG in both: JPEG would blur what is measured).
        rate_hz: spaces the stamps as if the samples had come at this rate; None keeps their own spacing.
        start_ns: stamp of the first sample, in nanoseconds.
        progress: show a progress bar on stderr.

    Raises:
        BagError: if ``path`` exists, there are no samples, their stamps do not increase, or the rate is not
            positive.
    """
    if rate_hz is not None and rate_hz <= 0:
        raise BagError(f"rate is {rate_hz:g}: it must be above 0")
    stretch = 1.0 if rate_hz is None else samples.rate_hz / rate_hz
    if compress not in get_args(Compression):
        raise BagError(f"unknown compression '{compress}': use one of {', '.join(get_args(Compression))}")
    if not len(samples):
        raise BagError(f"nothing to write to {path}: the data set is empty")
    encode = _Encoder(compress)
    first = samples[0]
    with BagWriter(path, storage=storage, zstd=compress == "zstd", label_set=samples.label_set) as bag:
        for topic, msgtype in encode.topics().items():
            bag.add_topic(topic, msgtype)
        previous = first.stamp_ns - 1
        bar = tqdm(
            range(len(samples)), desc="writing bag", unit="frame", disable=not progress, file=sys.stderr
        )
        for index in bar:
            sample = samples[index]
            if sample.stamp_ns <= previous:
                raise BagError(f"sample {sample.name}: its stamp is not after that of the one before")
            previous = sample.stamp_ns
            stamp_ns = start_ns + round((sample.stamp_ns - first.stamp_ns) * stretch)
            for step, (topic, message) in enumerate(encode.messages(sample, stamp_ns)):
                bag.write(topic, stamp_ns + step * _ORDER_STEP_NS, message)


class _Encoder:
    """Messages of a sample, raw or compressed."""

    def __init__(self, compress: Compression) -> None:
        self._eo_format = compress if compress in ("png", "jpeg") else None
        self._suffix = "/compressed" if self._eo_format else ""

    def topics(self) -> dict[str, str]:
        image = COMPRESSED_IMAGE if self._eo_format else IMAGE
        return {EO_TOPIC + self._suffix: image, IR_TOPIC + self._suffix: image, LABELS_TOPIC: IMAGE}

    def messages(self, sample: Sample, stamp_ns: int) -> list[tuple[str, Any]]:
        ir_encoding = "mono16" if sample.ir.dtype == np.uint16 else "mono8"
        eo_header, ir_header = header(stamp_ns, "eo_camera"), header(stamp_ns, "ir_camera")
        messages = [
            (EO_TOPIC + self._suffix, self._image(sample.eo, "rgb8", eo_header, self._eo_format)),
            (
                IR_TOPIC + self._suffix,
                self._image(sample.ir, ir_encoding, ir_header, self._eo_format and "png"),
            ),
        ]
        if sample.labels is not None:
            messages.append((LABELS_TOPIC, image_message(sample.labels, "mono8", ir_header)))
        return messages

    @staticmethod
    def _image(pixels: NDArray[Any], encoding: str, head: Any, file_format: str | None) -> Any:
        if file_format is None:
            return image_message(pixels, encoding, head)
        return compressed_message(pixels, encoding, head, file_format)


def header(stamp_ns: int, frame_id: str) -> Any:
    """A ``std_msgs/Header``."""
    time = TYPES.types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return TYPES.types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def image_message(pixels: NDArray[Any], encoding: str, head: Any) -> Any:
    """A ``sensor_msgs/Image`` of (H, W) or (H, W, 3) pixels, uint8 or uint16 (little endian)."""
    contiguous = np.ascontiguousarray(pixels)
    return TYPES.types[IMAGE](
        header=head,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=contiguous.strides[0],
        data=contiguous.view(np.uint8).reshape(-1),
    )


def compressed_message(pixels: NDArray[Any], encoding: str, head: Any, file_format: str) -> Any:
    """A ``sensor_msgs/CompressedImage`` of pixels as :func:`image_message` takes, as "png" or "jpeg"."""
    colour = pixels.ndim == 3
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if file_format == "jpeg" else []
    suffix = ".jpg" if file_format == "jpeg" else ".png"
    _, data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if colour else pixels, quality)
    # As image_transport writes it: encoding of the source, codec, layout in the file.
    layout = f"{encoding}; {file_format} compressed {'bgr8' if colour else encoding}"
    return TYPES.types[COMPRESSED_IMAGE](header=head, format=layout, data=data.reshape(-1))
