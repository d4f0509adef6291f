"""How much of the Segmenter's own speed a deterministic replay keeps, and the memory that a long bag takes.

Makes a bag of compressed images (a scene drive, repeated until it is long enough). Then, in turn so that
a busy machine slows both alike: the Segmenter over images that lie decoded in memory, and the replay of a
stretch of the bag. At last the whole bag is replayed by the command in a process of its own, whose peak
memory is read.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from csk_ros.data.synthetic import SceneDrive
from csk_ros.inference import Segmenter
from csk_ros.replay.bag import COMPRESSED_IMAGE, BagWriter
from csk_ros.replay.offline import run_offline
from csk_ros.replay.offline_settings import OfflineSettings
from csk_ros.replay.samples import START_NS, compressed_message, header
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if TYPE_CHECKING:
    from csk_ros.data import Sample

_SCENES = 200


def main() -> None:
    """Measure and print."""
    arguments = _parse()
    drive = SceneDrive(
        7, frames=_SCENES, height=arguments.height, width=arguments.width, light="night-to-day"
    )
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        bag = Path(folder, "bag")
        print(
            f"writing {arguments.seconds:g} s at {arguments.rate:g} Hz, {arguments.width}x{arguments.height}"
        )
        samples = list(drive)
        write_bag(bag, samples, arguments.seconds, arguments.rate)
        size = sum(file.stat().st_size for file in bag.iterdir())
        print(f"{size / 2**20:.0f} MiB")
        ratios = []
        for number in range(arguments.rounds):
            own = own_ms(samples, arguments.frames)
            replayed = replay_ms(bag, Path(folder, f"part{number}"), arguments.frames / arguments.rate)
            ratios.append(own / replayed)
            print(
                f"Segmenter {own:6.1f} ms, replay {replayed:6.1f} ms per frame: {ratios[-1]:.3f} of its speed"
            )
        print(f"median {median(ratios):.3f} of the Segmenter's own speed (wanted: 0.9)")
        if not arguments.no_whole:
            replay_whole(bag, Path(folder, "whole"), arguments.seconds * arguments.rate)


def write_bag(path: Path, samples: list[Sample], seconds: float, rate_hz: float) -> None:
    """A bag of JPEG and 8-bit PNG images; each sample is encoded once."""
    encoded = []
    for sample in samples:
        head = header(0, "camera")
        encoded.append(
            {
                "/eo/image/compressed": compressed_message(sample.eo, "rgb8", head, "jpeg"),
                "/ir/image/compressed": compressed_message(sample.ir, "mono8", head, "png"),
            }
        )
    with BagWriter(path) as bag:
        for topic in encoded[0]:
            bag.add_topic(topic, COMPRESSED_IMAGE)
        for index in range(round(seconds * rate_hz)):
            stamp_ns = START_NS + round(index * 1e9 / rate_hz)
            for topic, message in encoded[index % len(encoded)].items():
                message.header = header(stamp_ns, "camera")
                bag.write(topic, stamp_ns, message)


def own_ms(samples: list[Sample], frames: int) -> float:
    """Milliseconds per fused frame of the Segmenter alone."""
    segmenter = Segmenter.from_checkpoint(share_path(DEFAULT_CHECKPOINT), threads=0, confidence=False)
    segmenter.segment(eo=samples[0].eo, ir=samples[0].ir)
    started = time.perf_counter()
    for index in range(frames):
        sample = samples[index % len(samples)]
        segmenter.segment(eo=sample.eo, ir=sample.ir)
    return (time.perf_counter() - started) / frames * 1e3


def replay_ms(bag: Path, out: Path, seconds: float) -> float:
    """Milliseconds per frame of a replay, reading and writing included, loading not."""
    settings = OfflineSettings(str(bag), str(out), end_s=seconds, probe_every=0)
    return run_offline(settings, progress=False).stages_ms["wall"]


def replay_whole(bag: Path, out: Path, frames: float) -> None:
    """The whole bag by the command; prints time and peak memory."""
    command = [
        sys.executable,
        "-m",
        "csk_ros.cli.main",
        "replay",
        str(bag),
        "--out",
        str(out),
        "--probe-every",
        "0",
    ]
    started = time.monotonic()
    subprocess.run(command, check=True)  # noqa: S603 (our own interpreter and module)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"the whole bag: {seconds:.0f} s, {seconds / frames * 1e3:.1f} ms per frame with loading and report, "
        f"peak memory {peak:.0f} MiB (wanted: below 1500)"
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="length of the bag")
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=200, help="frames of each round")
    parser.add_argument("--work", help="folder for the bag, which may be large")
    parser.add_argument("--no-whole", action="store_true", help="measure the speed only")
    return parser.parse_args()


if __name__ == "__main__":
    main()
