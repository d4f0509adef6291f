"""Messages of somebody who means harm: each costs one refused frame, in bounded time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import hostile_images as hostile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csk_ros.messages import MAX_FRAME_ID, ImageError, check_header, check_image, read_eo, read_ir

SEEDS = st.integers(0, (1 << 32) - 1).map(np.random.default_rng)
MEGABYTES = 64
SECONDS = 1.0


def refused(act, *arguments, **options):
    """The reason if it is refused, which must be one short printable line."""
    try:
        act(*arguments, **options)
    except ImageError as error:
        reason = str(error)
        assert reason.isprintable(), reason
        assert reason.isascii(), reason
        assert len(reason) < 400, reason
        return reason
    return None


@settings(deadline=None, max_examples=300)
@given(SEEDS, st.booleans())
def test_whatever_comes_is_read_or_refused_with_one_reason(rng, compressed):
    message = SimpleNamespace(**(hostile.compressed(rng) if compressed else hostile.raw(rng)))
    reason = refused(check_image, message)
    for read in (read_eo, read_ir):
        late = refused(read, message)
        assert not reason or late == reason, "what the check refuses is refused for the same reason later"


@given(SEEDS)
def test_headers_are_taken_or_refused_with_one_reason(rng):
    fields = hostile.header(rng)
    stamp = SimpleNamespace(sec=fields["sec"], nanosec=fields["nanosec"])
    reason = refused(check_header, SimpleNamespace(stamp=stamp, frame_id=fields["frame_id"]))
    in_order = fields["nanosec"] < 10**9 and len(fields["frame_id"]) <= MAX_FRAME_ID
    assert (reason is None) == in_order


MEASURE = """
import json, time
from types import SimpleNamespace
import cv2, numpy as np
import hostile_images as hostile
from csk_ros.messages import ImageError, check_image, read_ir

for end in (".png", ".jpg"):
    read_ir(SimpleNamespace(format="", data=cv2.imencode(end, np.zeros((64, 64), np.uint8))[1].tobytes()))
def memory(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

messages = {name: dict(format="", data=data) for name, data in hostile.bombs().items()}
raw = dict(encoding="mono8", is_bigendian=0, step=(1 << 32) - 1, data=b"x")
messages["raw with a step of 4 GB"] = raw | dict(height=1, width=1)
messages["raw of 2^32 x 2^32"] = raw | dict(height=(1 << 32) - 1, width=(1 << 32) - 1)
results = {}
for name, fields in messages.items():
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    before, start, reason = memory("VmRSS"), time.process_time(), ""
    try:
        check_image(SimpleNamespace(**fields))
        read_ir(SimpleNamespace(**fields))
    except ImageError as error:
        reason = str(error)
    results[name] = [reason, memory("VmHWM") - before, time.process_time() - start]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def costs():
    """Reason, peak megabytes and CPU seconds of each bomb, measured in a process of its own."""
    here = Path(__file__).resolve().parent
    path = os.pathsep.join([str(here.parent), str(here)])
    run = subprocess.run(
        [sys.executable, "-c", MEASURE],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
        env=os.environ | {"PYTHONPATH": path},
    )
    return json.loads(run.stdout)


RAW = ["raw with a step of 4 GB", "raw of 2^32 x 2^32"]
HARMLESS = {"png with inflating texts", "raw with a step of 4 GB"}
"""What is in order once the bomb is left out."""


@pytest.mark.parametrize("name", [*hostile.bombs(), *RAW])
def test_a_bomb_costs_little_memory_and_time(costs, name):
    reason, megabytes, seconds = costs[name]
    assert bool(reason) != (name in HARMLESS), reason
    assert megabytes < MEGABYTES, costs[name]
    assert seconds < SECONDS, costs[name]


def test_a_limit_below_the_greatest_refuses_before_decoding():
    for message in (
        SimpleNamespace(format="png", data=hostile.png(100, 101)),
        SimpleNamespace(format="jpeg", data=hostile.jpeg(100, 101)),
        SimpleNamespace(
            height=101, width=100, encoding="mono8", is_bigendian=0, step=100, data=bytes(10_100)
        ),
        SimpleNamespace(height=101, width=100, encoding="nv12", is_bigendian=0, step=100, data=bytes(10_100)),
    ):
        assert "height 101 and width 100 is over the limit of 10099 pixels" in refused(
            check_image, message, max_pixels=10_099
        )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"format": "tiff", "data": b"II*\0\x08\0\0\0"}, "is neither JPEG nor PNG"),
        ({"format": "16UC1; compressedDepth png", "data": bytes(12)}, "is a depth image"),
        ({"format": "png", "data": b""}, "is empty"),
        ({"format": "png", "data": hostile.png(4, 4)[:-1]}, "a PNG chunk goes over its end"),
        ({"format": "png", "data": hostile.png(4, 4)[:8] + hostile.chunk(b"IEND", b"")}, "has no PNG header"),
        ({"format": "png", "data": hostile.png(4, 4, pixels=bytes(99))}, "inflates to more than its pixels"),
        ({"format": "png", "data": hostile.png(4, 4, depth=255)}, "cannot be decoded"),
        ({"format": "png", "data": hostile.png(4, 4, depth=16, color=2)}, "has 16 bits of colour"),
        ({"format": "jpeg", "data": hostile.jpeg(16, 16)[:-2]}, "it has no JPEG end"),
        ({"format": "jpeg", "data": b"\xff\xd8\xff\xda\xff\xd9"}, "has no JPEG frame header"),
        ({"format": "jpeg", "data": hostile.many_scans()}, "has more than 100 JPEG scans"),
        ({"format": "x" * 10_000, "data": b"x"}, "... (10000 characters), 1 bytes)"),
        ({"format": "a\n\x1b[2J", "data": b"x"}, r"format 'a\n\x1b[2J'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(fields, reason):
    assert reason in refused(read_ir, SimpleNamespace(**fields))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_reads_as_opencv_alone_reads_it(dtype, channels):
    pixels = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, (13, 17, channels)).astype(dtype)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if channels == 1:
        np.testing.assert_array_equal(read_ir(SimpleNamespace(format="", data=data)), whole)
    elif dtype is np.uint8:
        np.testing.assert_array_equal(read_eo(SimpleNamespace(format="", data=data)), whole[..., ::-1])


def test_interlaced_png():
    pixels = np.random.default_rng(3).integers(0, 255, (13, 17), np.uint8)
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    rows = [b"\0" + row.tobytes() for y, x, dy, dx in passes for row in pixels[y::dy, x::dx]]
    data = hostile.png(17, 13, pixels=b"".join(rows), interlaced=1)
    np.testing.assert_array_equal(read_ir(SimpleNamespace(format="", data=data)), pixels)


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_with_all_that_cameras_put_around_it(progressive):
    plain = hostile.jpeg(16, 16, progressive=progressive)
    around = b"\xff\xe1\0\x10" + b"\xff\xc0thumbnail\xff\xd9\xff" + b"\xff\xff\xff\xfe\0\4hi"
    data = plain[:2] + around + plain[2:] + bytes(2000)
    assert read_eo(SimpleNamespace(format="", data=data)).shape == (16, 16, 3)
