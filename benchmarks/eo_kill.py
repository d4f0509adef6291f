"""SIGKILL of the optical camera's process, again and again: how soon it is noticed, answered and forgotten.

The node and both cameras are processes of their own. A synchronizer beside the node, the same code on the
same topics, tells until which age of the last EO frame EO counted as alive.

  lost       greatest age of the last EO frame at which EO still counted as alive; bound: 1.5 EO periods
  answered   last EO frame sent -> first IR-only mask received; bound: 1.5 EO periods + 1 IR period
             + 1 inference
  unhindered the same without the kills after which the thermal camera itself was silent for three periods,
             because the middleware held up its publishing
  recovered  first EO frame of the new process sent -> fused route received; bound: 1 s

One inference is what the node took, transport included, for 99 of 100 further IR-only frames of the run.

Usage: python benchmarks/eo_kill.py [--kills 100] [--out eo_kill_out]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from fault_images import save_images
from fault_injector import DATA, SentCounts
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String

from csk_ros.modality import Modality
from csk_ros.perception import Durations, StreamState
from csk_ros.replay.live import LiveSession
from csk_ros.replay.node_process import NodeProcess, use_image_profile
from csk_ros.ros.image_input import ImageInput
from csk_ros.ros.synchronizer import FallbackSynchronizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from csk_ros.perception import Decision

_HERE = Path(__file__).resolve().parent
_RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_OUTAGE_S = 0.5
_ALIVE_S = 1.0
_POLL_S = 0.02
_CLOSE_POLL_S = 0.001
_PATIENCE_S = 60.0
_STALE_PERIODS = 1.5
_SILENT_PERIODS = 3


@dataclass(frozen=True)
class Kill:
    """One kill, in milliseconds.

    Attributes:
        period: of EO, as the synchronizer had measured it.
        lost: see above.
        answered: see above.
        recovered: see above.
        thermal_gap: longest time between two thermal frames being sent, from the last EO frame to the answer.
    """

    period: float
    lost: float
    answered: float
    recovered: float
    thermal_gap: float


class Camera:
    """A camera process that is ready and waits to be told to publish."""

    def __init__(self, stream: str, folder: Path, name: str, rate: float) -> None:
        self.counts = folder / f"{name}.sent"
        self.counts.unlink(missing_ok=True)
        command = [
            sys.executable, str(_HERE / "fault_injector.py"), "--stream", stream, "--kinds", "none",
            "--seconds", "86400", "--rate", str(rate), "--images", str(folder / "images.npz"),
            "--counts", str(self.counts), "--on-go",
        ]  # fmt: skip
        self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and script)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def wait_until_ready(self) -> None:
        """Until it only waits for its word."""
        assert self._process.stdout  # noqa: S101 (a pipe)
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError("a camera process ended before it was ready")

    def go(self) -> None:
        """Publish."""
        assert self._process.stdin  # noqa: S101 (a pipe)
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()

    def last(self) -> tuple[int, int]:
        """Number and steady time in ns of the last frame sent."""
        _, done, last_ns = SentCounts.read(self.counts)
        return done, last_ns

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()


class Watch:
    """What comes out of the node, and how a synchronizer beside it sees EO."""

    def __init__(self, node: Any) -> None:
        self._lock = threading.Lock()
        self._masks: list[tuple[int, int]] = []  # received, sent
        self._routes: list[tuple[int, str]] = []
        self._thermal: list[int] = []  # sent
        self.route = ""
        self.synchronizer = FallbackSynchronizer(node, deliver=self._decided)
        self._inputs = {
            modality: ImageInput(node, f"{modality.value}/image", compressed=False, overridden=False)
            for modality in Modality
        }
        for modality, image_input in self._inputs.items():
            self.synchronizer.connect(modality, image_input)
        self._inputs[Modality.IR].registerCallback(self._on_thermal)
        node.create_subscription(Image, "/segment/mask", self._on_mask, _RELIABLE)
        node.create_subscription(String, "/segment/route", self._on_route, _LATCHED)

    def close(self) -> None:
        """Listen no more."""
        for image_input in self._inputs.values():
            image_input.close()
        self.synchronizer.close()

    def forget(self) -> None:
        """Start anew with masks and routes."""
        with self._lock:
            self._masks.clear()
            self._routes.clear()
            del self._thermal[:-1]

    def route_at(self, route: str, after_ns: int) -> int | None:
        """When a route was first received after a moment."""
        with self._lock:
            return next((at for at, name in self._routes if name == route and at >= after_ns), None)

    def masks_from(self, after_ns: int) -> list[tuple[int, int]]:
        """Receipt and sending of the masks received since a moment."""
        with self._lock:
            return [mask for mask in self._masks if mask[0] >= after_ns]

    def thermal_gap(self, after_ns: int, until_ns: int) -> int:
        """Longest time between two thermal frames being sent within a span, its beginning included."""
        with self._lock:
            sent = [after_ns, *(at for at in self._thermal if after_ns < at < until_ns)]
            later = [at for at in self._thermal if at >= until_ns][:1]
        return max((b - a for a, b in pairwise([*sent, *later])), default=0)

    def optical(self) -> tuple[StreamState, int, int]:
        """State of EO, age of its last frame and its period in ns."""
        report = self.synchronizer.streams()[Modality.EO]
        if report is None:
            return StreamState.AWAITED, 0, 0
        return report.state, report.age_ns or 0, report.period_ns or 0

    def _decided(self, decision: Decision[Any]) -> None:
        self.synchronizer.answered(decision)

    def _on_mask(self, message: Any) -> None:
        with self._lock:
            self._masks.append((time.monotonic_ns(), _sent_ns(message)))

    def _on_thermal(self, message: Any) -> None:
        with self._lock:
            self._thermal.append(_sent_ns(message))

    def _on_route(self, message: Any) -> None:
        with self._lock:
            self.route = message.data
            self._routes.append((time.monotonic_ns(), message.data))


def _sent_ns(message: Any) -> int:
    return int(message.header.frame_id.split()[-1])


def wait_for(condition: Callable[[], Any], what: str, poll_s: float = _POLL_S) -> Any:
    """The first true value of a condition, asked so often.

    Raises:
        TimeoutError: after a minute, naming what was waited for.
    """
    end = time.monotonic() + _PATIENCE_S
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {_PATIENCE_S:.0f} s for {what} in vain")
        time.sleep(poll_s)
    return value


def kill_once(watch: Watch, camera: Camera, following: Camera, inference: Durations) -> Kill:
    """Kill the one camera and let the other follow it after half a second."""
    watch.forget()
    camera.kill()
    _, last_ns = camera.last()
    period, lost = watch_it_go(watch)
    left_ns = wait_for(lambda: watch.route_at("IR_ONLY", last_ns), "the IR-only route")
    answered_ns = wait_for(lambda: watch.masks_from(left_ns), "an IR-only mask")[0][0]
    time.sleep(_OUTAGE_S)
    for received, sent in watch.masks_from(answered_ns + 1):
        inference.add(received - sent)
    following.go()
    back_ns = wait_for(lambda: following.last()[0] and following.last()[1], "the camera's return")
    fused_ns = wait_for(lambda: watch.route_at("FUSED", last_ns), "the fused route")
    gap = watch.thermal_gap(last_ns, answered_ns)
    return Kill(*(ns / 1e6 for ns in (period, lost, answered_ns - last_ns, fused_ns - back_ns, gap)))


def watch_it_go(watch: Watch) -> tuple[int, int]:
    """EO's period and the greatest age of its last frame at which it counted as alive, ns."""
    lost = period = 0

    def is_gone() -> bool:
        nonlocal lost, period
        state, age, period = watch.optical()
        if state is StreamState.ALIVE:
            lost = max(age, lost)
        return state is not StreamState.ALIVE

    wait_for(is_gone, "the loss of EO", _CLOSE_POLL_S)
    return period, lost


def run(options: argparse.Namespace, out: Path) -> tuple[list[Kill], float]:
    """All kills, and one inference in ms."""
    use_image_profile()
    save_images(options.data, out / "images.npz")
    parameters = {"autostart": "true", "height": str(options.height), "width": str(options.width)}
    parameters["engine"] = options.engine
    rng, kills, inference = random.Random(options.seed), [], Durations()
    with ExitStack() as stack:
        node = stack.enter_context(NodeProcess(out / "node.log", parameters, stop_s=30))

        def camera(stream: str, number: int, rate: float) -> Camera:
            made = Camera(stream, out, f"{stream}{number % 4}", rate)
            stack.callback(made.kill)
            return made

        thermal = camera("ir", 0, options.ir_rate)
        optical = camera("eo", 0, options.eo_rate)
        session = stack.enter_context(LiveSession())
        session.wait_until_active(node.alive, 180)
        watch = Watch(session.node)
        stack.callback(watch.close)
        for first in (thermal, optical):
            first.wait_until_ready()
            first.go()
        wait_for(lambda: watch.route_at("FUSED", 0), "the fused route")
        for number in range(options.kills):
            following = camera("eo", number + 1, options.eo_rate)
            following.wait_until_ready()  # its start takes a core for a second
            time.sleep(_ALIVE_S + rng.random() / options.eo_rate)
            wait_for(lambda: watch.optical()[0] is StreamState.ALIVE, "a living EO")
            wait_for(lambda: watch.route == "FUSED", "the fused route")
            kills.append(kill_once(watch, optical, following, inference))
            optical = following
            _show(number + 1, kills[-1])
    return kills, inference.percentiles().p99_ns / 1e6


def _show(number: int, kill: Kill) -> None:
    print(
        f"{number:4}: lost at {kill.lost:5.1f} ms, answered after {kill.answered:6.1f} ms, "
        f"fused again after {kill.recovered:6.1f} ms",
        file=sys.stderr,
    )


def judge(kills: list[Kill], inference_ms: float, *, eo_hz: float, ir_hz: float) -> dict[str, Any]:
    """Median, worst case and bound of each figure."""
    bounds = {
        "lost": _STALE_PERIODS * max(kill.period for kill in kills),
        "answered": 1000 * (_STALE_PERIODS / eo_hz + 1 / ir_hz) + inference_ms,
        "recovered": 1000.0,
    }
    values = {name: [getattr(kill, name) for kill in kills] for name in bounds}
    silent_ms = 1000 * _SILENT_PERIODS / ir_hz
    if unhindered := [kill.answered for kill in kills if kill.thermal_gap < silent_ms]:
        bounds["unhindered"], values["unhindered"] = bounds["answered"], unhindered
    figures = {name: _figure(values[name], bound) for name, bound in bounds.items()}
    return {
        "good": all(one["worst"] <= one["bound"] for one in figures.values()),
        "inference_ms": inference_ms,
        "figures_ms": figures,
        "kills": [asdict(kill) for kill in kills],
    }


def _figure(values: list[float], bound: float) -> dict[str, float]:
    return {
        "median": median(values),
        "worst": max(values),
        "bound": bound,
        "over": sum(value > bound for value in values),
        "of": len(values),
    }


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--eo-rate", type=float, default=30.0)
    parser.add_argument("--ir-rate", type=float, default=30.0)
    parser.add_argument("--height", type=int, default=240, help="of the network's input")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--out", type=Path, default=Path("eo_kill_out"))
    return parser.parse_args()


def main() -> int:
    """Kill, print, judge."""
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    kills, inference_ms = run(options, options.out.resolve())
    report = judge(kills, inference_ms, eo_hz=options.eo_rate, ir_hz=options.ir_rate)
    (options.out / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(f"{len(kills)} kills, one inference {inference_ms:.1f} ms")
    for name, one in report["figures_ms"].items():
        verdict = "good" if one["worst"] <= one["bound"] else "FAILED"
        print(
            f"{name:10} median {one['median']:6.1f}  worst {one['worst']:6.1f}  bound {one['bound']:6.1f}, "
            f"{one['over']} of {one['of']} over  {verdict}"
        )
    return 0 if report["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
