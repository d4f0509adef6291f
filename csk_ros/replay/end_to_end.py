"""Latency and loss from camera to mask over DDS, beside a node written the usual way in the same run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from csk_ros.data.synthetic import SceneDrive
from csk_ros.evaluation.variants import reference_device
from csk_ros.inference.engines import find_device
from csk_ros.modality import Route
from csk_ros.replay import bench_camera, bench_listener
from csk_ros.replay.bench_camera import sent_stamps
from csk_ros.replay.bench_listener import Heard
from csk_ros.replay.end_to_end_rows import OURS, USUAL, EndToEndRow, Turn, make_row
from csk_ros.replay.node_process import NodeProcess, join_private_domain, use_image_profile
from csk_ros.replay.usage import ProcessUsage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from csk_ros.replay.bench_listener import Receipt


_FRAMES = 10
_SETTLE_S = 2.0
_QUIET_S = 3.0
_LONGEST_GAPS = 3
_STOP_S = 10.0
_POLL_S = 0.05


class EndToEndError(RuntimeError):
    """A process of the bench did not do its part; the message is one line."""


@dataclass(frozen=True)
class EndToEndSettings:
    """What is measured.

    Attributes:
        checkpoint: file with the network, for both nodes.
        usual: script of the node to compare with; None leaves the comparison out.
        rates: pairs of images per second.
        seconds: that each turn is measured.
        turns: of each node at each rate.
        height, width: of the images, pixels, at least 64.
        working_size: height and width that the network of the node of this package works at; None for the
            images'.
        engine, precision, threads, confidence: of that node.
        device: of both nodes; ``auto`` is CUDA if there is any, else the CPU.
        start_s: how long a node may take until its first mask.

    Raises:
        ValueError: for values that mean nothing.
        FileNotFoundError: if ``usual`` is not there.
        EngineError: if the device is not there.
    """

    checkpoint: Path
    usual: Path | None
    rates: tuple[float, ...] = (5.0,)
    seconds: float = 20.0
    turns: int = 3
    height: int = 480
    width: int = 640
    working_size: tuple[int, int] | None = None
    engine: str = "auto"
    precision: str = "auto"
    device: str = "auto"
    threads: int = 0
    confidence: bool = False
    start_s: float = 120.0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        find_device(self.device)
        if not self.rates or min(self.rates) <= 0 or max(self.rates) > 1000:
            raise ValueError("rates must be above 0 and at most 1000 Hz")
        if self.seconds * min(self.rates) < 1 or self.turns < 1:
            raise ValueError("measure at least one turn, and long enough for one image")
        if min(self.height, self.width) < 64:
            raise ValueError(f"scenes have at least 64x64 pixels, not {self.height}x{self.width}")
        if self.working_size and min(self.working_size) < 1:
            raise ValueError("the working size must be positive, such as 240x320")
        if self.usual and not self.usual.is_file():
            raise FileNotFoundError(f"there is no node to compare with at {self.usual}: check the path")


@dataclass(frozen=True)
class EndToEndResult:
    """What was measured.

    Attributes:
        rows: by rate, the usual node first.
        complete: False if Ctrl-C ended it early; the rows are of the turns before.
    """

    rows: tuple[EndToEndRow, ...]
    complete: bool


def find_usual_node() -> Path | None:
    """The script of the node to compare with; None where only the package is installed."""
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "usual_node.py"
    return script if script.is_file() else None


def measure_end_to_end(settings: EndToEndSettings, *, progress: bool = False) -> EndToEndResult:
    """Give each node its turns, alternating, between a camera and a listener in processes of their own.

    In a DDS domain of its own. Ctrl-C ends it; what the turns that all nodes had gave is the result.

    Args:
        settings: what to measure.
        progress: show it on stderr.

    Raises:
        EndToEndError: if a node does not start or answer; the end of its log is on stderr.
        KeyboardInterrupt: before all nodes had a turn.
    """
    # Not the user's domain: these images are for no other node.
    os.environ.pop("ROS_DOMAIN_ID", None)
    join_private_domain()
    use_image_profile()
    nodes = [USUAL, OURS] if settings.usual else [OURS]
    each = [(node, rate) for rate in settings.rates for node in nodes]
    rounds: list[list[Turn]] = []
    with (
        tempfile.TemporaryDirectory(prefix="csk_bench_") as work,
        tqdm(total=settings.turns * len(each), desc="turns", file=sys.stderr, disable=not progress) as bar,
    ):
        _render(Path(work, "images.npz"), settings)
        try:
            for _ in range(settings.turns):
                turns = []
                for node, rate in each:
                    turns.append(_take_turn(settings, node, rate, Path(work)))
                    bar.update()
                rounds.append(turns)
        except KeyboardInterrupt:
            if not rounds:
                raise
    size = settings.height, settings.width
    rows = (make_row(size, [turns[index] for turns in rounds], rounds) for index in range(len(each)))
    return EndToEndResult(tuple(rows), len(rounds) == settings.turns)


def _render(path: Path, settings: EndToEndSettings) -> None:
    """Few frames are enough: a stream counts as frozen only if it repeats the frame before."""
    drive = SceneDrive(frames=_FRAMES, height=settings.height, width=settings.width, light="day")
    samples = [drive[index] for index in range(_FRAMES)]
    np.savez(path, eo=np.stack([s.eo for s in samples]), ir=np.stack([s.ir for s in samples]))


def _take_turn(settings: EndToEndSettings, name: str, rate: float, work: Path) -> Turn:
    sent, heard = work / "sent", Heard(work)
    sent.unlink(missing_ok=True)
    heard.forget()
    with ExitStack() as stack:
        module = settings.usual if name == USUAL else None
        node = stack.enter_context(NodeProcess(work / "node.log", _parameters(settings, name), module=module))
        listener = stack.enter_context(_helper(bench_listener.__name__, str(work)))
        with _helper(bench_camera.__name__, str(work / "images.npz"), str(rate), str(sent)) as camera:
            watch = _Watch(name, node, heard, [listener, camera])
            watch.wait_for_first(settings.start_s)
            watch.wait(_SETTLE_S)
            usage, begin_ns = ProcessUsage(node.pid), time.time_ns()
            watch.wait(settings.seconds)
            end_ns, used = time.time_ns(), usage.sample()
        stamps = [stamp for stamp in sent_stamps(sent) if begin_ns <= stamp < end_ns]
        watch.wait_for_masks(set(stamps))
        if used is None or used.cpu_percent is None:
            raise watch.error("ended")
        figures = _latencies(stamps, heard.receipts())
        around = heard.around(begin_ns, end_ns)
        return Turn(
            node=name,
            rate_hz=rate,
            **figures,
            cpu_percent=used.cpu_percent,
            memory_mib=used.memory_mib,
            around_p95_ms=median(around) if around else None,
        )


def _latencies(stamps: Sequence[int], receipts: Sequence[Receipt]) -> dict[str, Any]:
    """Of :class:`Turn`, what masks tell."""
    found = {receipt.stamp_ns: receipt for receipt in reversed(receipts)}
    answers = [found[stamp] for stamp in stamps if stamp in found]
    latencies = [(answer.received_ns - answer.stamp_ns) / 1e6 for answer in answers]
    p50, p95, p99, most = (
        np.percentile(latencies, (50, 95, 99, 100)).tolist() if latencies else (None, None, None, None)
    )
    routes = [answer.route for answer in answers]
    fused = routes.count(Route.FUSED.value) / len(routes) if any(routes) else None
    counts = {"sent": len(stamps), "received": len(answers), "fused": fused}
    return {**counts, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": most}


class _Watch:
    """Waits for what a node gives, and no longer than it lives.

    Args:
        name: of the node.
        node: its process.
        heard: what the listener writes.
        helpers: which are to run as well until their input is closed.
    """

    def __init__(
        self, name: str, node: NodeProcess, heard: Heard, helpers: Sequence[subprocess.Popen[bytes]]
    ) -> None:
        self._name, self._node, self._heard, self._helpers = name, node, heard, helpers

    def wait_for_first(self, most_s: float) -> None:
        """Until the first mask; an error after that many seconds."""
        end = time.monotonic() + most_s
        while not self._heard.receipts():
            if time.monotonic() > end:
                raise self.error(f"gave no mask within {most_s:.0f} s")
            self.wait(_POLL_S)

    def wait_for_masks(self, stamps: set[int]) -> None:
        """Until all of these images have a mask, or no more come: a slow node has a queue to work off."""
        while True:
            have = self._heard.receipts()
            if stamps <= {receipt.stamp_ns for receipt in have}:
                return
            moments = [receipt.received_ns for receipt in have]
            longest_s = max((later - at for at, later in pairwise(moments)), default=0) / 1e9
            if (time.time_ns() - moments[-1]) / 1e9 > _QUIET_S + _LONGEST_GAPS * longest_s:
                return
            self.wait(_POLL_S)

    def wait(self, seconds: float) -> None:
        """So long, while the node lives."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not self._node.alive():
                raise self.error("ended")
            if any(one.poll() is not None and one.stdin and not one.stdin.closed for one in self._helpers):
                raise EndToEndError("the camera or the listener of the bench ended: see above")
            time.sleep(min(left, _POLL_S))

    def error(self, what: str) -> EndToEndError:
        """What the node did, with the end of its log on stderr."""
        sys.stderr.write(self._node.tail())
        return EndToEndError(f"the node {self._name} {what}: the end of its log is above")


def _parameters(settings: EndToEndSettings, name: str) -> dict[str, str]:
    both = {"checkpoint": str(settings.checkpoint)}
    if name == USUAL:
        return both | {"device": reference_device(settings.device)}
    height, width = settings.working_size or (settings.height, settings.width)
    return both | {
        "autostart": "true",
        "device": str(find_device(settings.device)),
        "engine": settings.engine,
        "precision": settings.precision,
        "height": str(height),
        "width": str(width),
        "threads": str(settings.threads),
        "confidence": str(settings.confidence).lower(),
    }


@contextmanager
def _helper(module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when its input is closed, so also when this one dies."""
    process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        try:
            process.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
