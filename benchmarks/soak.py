"""The node under random faults of cameras, transport and engine, for as long as you like.

Starts the node and two cameras as processes, listens to masks and diagnostics, and judges: report.json and
report.md in --out; exit code 1 if a line of the judgement fails. Ctrl-C ends it early and judges what there
is.

Usage: python benchmarks/soak.py [--minutes 20] [--seed 0] [--out soak_out] [--kinds killed,frozen]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from fault_images import save_images
from fault_injector import DATA, SentCounts
from fault_schedule import CAMERAS, NODE, FaultSchedule, named_kinds
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from soak_tally import Limits, Tally, as_dict, as_markdown, judge
from std_msgs.msg import String

from csk_ros.replay.live import LiveError, LiveSession
from csk_ros.replay.node_process import NodeProcess, NodeProcessError, use_image_profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_schedule import Fault

_HERE = Path(__file__).resolve().parent
_RELIABLE = QoSProfile(depth=500, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_TICK_S = 0.05
_CHANGES: tuple[dict[str, Any], ...] = (
    {"slop": 0.02, "eo_dark": 20},
    {"route": "ir_only"},
    {"route": "eo_only"},
    {"max_wait": 0.02, "bad_frames": 5},
    {"slop": -1.0},
    {"route": "sideways"},
    {"engine": "torch"},
    {"eo_time_offset": 0.05},
)
_DEFAULTS = {
    "slop": 0.05, "eo_dark": 16, "route": "auto", "max_wait": 0.1, "bad_frames": 3, "eo_time_offset": 0.0,
}  # fmt: skip


class Cameras:
    """The camera processes, which are killed and started anew.

    Args:
        options: of this program.
        folder: for their counts and images.
        start_ns: the schedule's beginning.
    """

    def __init__(self, options: argparse.Namespace, folder: Path, start_ns: int) -> None:
        self._options, self._folder, self._start_ns = options, folder, start_ns
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, stream: str) -> None:
        """Start one, in the middle of the schedule if need be."""
        options = self._options
        values = {
            "stream": stream, "seed": options.seed, "seconds": 60 * options.minutes, "every": options.every,
            "rate": getattr(options, f"{stream}_rate"), "images": self._folder / "images.npz",
            "start-ns": self._start_ns, "counts": self._counts(stream),
        }  # fmt: skip
        if options.kinds is not None:
            values["kinds"] = options.kinds
        flags = [part for name, value in values.items() for part in (f"--{name}", str(value))]
        self._processes[stream] = subprocess.Popen(  # noqa: S603 (our own interpreter and script)
            [sys.executable, str(_HERE / "fault_injector.py"), *flags], start_new_session=True
        )

    def kill(self, stream: str) -> None:
        """SIGKILL."""
        if process := self._processes.pop(stream, None):
            process.kill()
            process.wait()

    def running(self) -> bool:
        """Whether one of them still sends."""
        return any(process.poll() is None for process in self._processes.values())

    def sent(self) -> dict[str, int]:
        """Messages sent so far."""
        return {stream: SentCounts.read(self._counts(stream))[0] for stream in CAMERAS}

    def close(self) -> None:
        """End all."""
        for stream in list(self._processes):
            self.kill(stream)

    def _counts(self, stream: str) -> Path:
        return self._folder / f"{stream}.sent"


class Listener:
    """Hears masks, routes and diagnostics in the session's thread."""

    def __init__(self, node: Any, tally: Tally, cameras: Cameras) -> None:
        self._tally, self._cameras = tally, cameras
        self.lock = threading.Lock()
        self.state = ""
        self.latest: Counter[str] = Counter()
        self._streams = ""
        node.create_subscription(Image, "/segment/mask", self._on_mask, _RELIABLE)
        node.create_subscription(String, "/segment/route", self._on_route, _LATCHED)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, _RELIABLE)

    def _on_mask(self, message: Any) -> None:
        with self.lock:
            self._tally.mask(message.header.frame_id, time.monotonic_ns())

    def _on_route(self, message: Any) -> None:
        with self.lock:
            self._tally.route(message.data, time.monotonic_ns(), self._streams)

    def _on_diagnostics(self, array: Any) -> None:
        found = {status.name.removeprefix("segment: "): status for status in array.status}
        values = {name: {pair.key: pair.value for pair in status.values} for name, status in found.items()}
        with self.lock:
            self.state = values["node"]["state"]
            frames = values.get("frames", {})
            self.latest = Counter({key: int(value) for key, value in frames.items() if value.isdigit()})
            self._streams = ", ".join(f"{name} {found[name].message}" for name in CAMERAS if name in found)
            self._tally.report(self.state, self.latest, self._cameras.sent())
            self._tally.memory.add(
                self._tally.seconds(time.monotonic_ns()), float(values["node"]["memory_mib"])
            )


class Actor:
    """Does what the schedule has for the node and for whole processes."""

    def __init__(self, node: Any, listener: Listener, cameras: Cameras, order: Path, start_ns: int) -> None:
        self._listener, self._cameras, self._order, self._start_ns = listener, cameras, order, start_ns
        self._change = node.create_client(ChangeState, "/segment/change_state")
        self._set = node.create_client(SetParameters, "/segment/set_parameters")
        self._waking_from = 0.0
        self._changed = 0

    def begin(self, fault: Fault) -> None:
        """At a fault's beginning."""
        until_ns = self._start_ns + int(fault.end_s * 1e9)
        if fault.kind == "killed":
            self._cameras.kill(fault.stream)
        elif fault.kind == "engine fails once":
            self._write("once")
        elif fault.kind == "engine fails":
            self._write(f"raise {until_ns}")
        elif fault.kind == "engine hangs":
            self._write(f"hang {until_ns}")
        elif fault.kind == "deactivated":
            self._transit(Transition.TRANSITION_DEACTIVATE)
        elif fault.kind == "parameters":
            self._set_parameters(_CHANGES[self._changed % len(_CHANGES)])
            self._changed += 1

    def end(self, fault: Fault) -> None:
        """At a fault's end."""
        if fault.kind == "killed":
            self._cameras.start(fault.stream)
        elif fault.kind == "parameters":
            self._set_parameters(_DEFAULTS)

    def wake(self, *, deactivated: bool) -> None:
        """Activate a node that nobody wants inactive."""
        now = time.monotonic()
        if self._listener.state == "inactive" and not deactivated and now > self._waking_from:
            self._waking_from = now + 2.0
            self._transit(Transition.TRANSITION_ACTIVATE)

    def _write(self, order: str) -> None:
        whole = self._order.with_suffix(".new")
        whole.write_text(order, encoding="ascii")
        whole.replace(self._order)

    def _transit(self, transition: int) -> None:
        self._change.call_async(ChangeState.Request(transition=Transition(id=transition)))

    def _set_parameters(self, values: dict[str, Any]) -> None:
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        self._set.call_async(SetParameters.Request(parameters=parameters))


def play(schedule: FaultSchedule, actor: Actor, start_ns: int, show: Any, cameras: Cameras) -> None:
    """Live through the schedule."""
    todo = [fault for fault in schedule.faults if fault.stream == NODE or fault.kind == "killed"]
    running: list[Fault] = []
    while (now := (time.monotonic_ns() - start_ns) / 1e9) < schedule.seconds:
        for fault in [fault for fault in running if fault.end_s <= now]:
            running.remove(fault)
            # A camera that two faults hold down comes back with the second.
            if not any(other.kind == fault.kind and other.stream == fault.stream for other in running):
                actor.end(fault)
        while todo and todo[0].start_s <= now:
            running.append(todo.pop(0))
            actor.begin(running[-1])
        actor.wake(deactivated=any(fault.kind == "deactivated" for fault in running))
        show(now)
        time.sleep(_TICK_S)
    end = time.monotonic() + 20
    while cameras.running() and time.monotonic() < end:
        time.sleep(_TICK_S)


def settle(listener: Listener, patience_s: float = 20.0) -> None:
    """Until nothing is in hand and nothing more arrives."""
    end, before = time.monotonic() + patience_s, -1
    while time.monotonic() < end:
        time.sleep(2.5)
        with listener.lock:
            received, in_hand = listener.latest["ir_received"], listener.latest["in_hand"]
        if received == before and not in_hand:
            return
        before = received


def run(options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One soak run; returns the report."""
    _prepare(options, out)
    schedule = FaultSchedule(
        options.seed, 60 * options.minutes, every_s=options.every, kinds=named_kinds(options.kinds)
    )
    with ExitStack() as stack:
        log = out / "node.log"
        node = stack.enter_context(NodeProcess(log, _parameters(options), module="faulty_node", stop_s=30))
        session = stack.enter_context(LiveSession())
        session.wait_until_active(node.alive, 180)
        start_ns = time.monotonic_ns() + 2_000_000_000
        tally = Tally(schedule, start_ns)
        cameras = Cameras(options, out, start_ns)
        stack.callback(cameras.close)
        listener = Listener(session.node, tally, cameras)
        actor = Actor(session.node, listener, cameras, out / "engine_fault", start_ns)
        for stream in CAMERAS:
            cameras.start(stream)
        try:
            play(schedule, actor, start_ns, _progress(node, listener, tally), cameras)
        except KeyboardInterrupt:
            cameras.close()
        except LiveError as error:
            print(f"\n{error}", file=sys.stderr)
        print(file=sys.stderr)
        settle(listener)
        exit_code = _end(node)
        time.sleep(1.0)  # for the last report
        ending = {
            "exit_code": exit_code,
            "sent": cameras.sent(),
            "log": log.read_text(encoding="utf-8", errors="replace"),
        }
        report = _judged(options, listener, tally, ending)
    report["faults"] = len(schedule.faults)
    report["kinds"] = len({fault.kind for fault in schedule.faults})
    report["options"] = {name: str(value) for name, value in vars(options).items()}
    return report


def _prepare(options: argparse.Namespace, out: Path) -> None:
    """Images, environment and folder of the processes."""
    use_image_profile()
    save_images(options.data, out / "images.npz")
    for stale in (*out.glob("*.sent"), *out.glob("engine_fault*")):
        stale.unlink()
    os.environ["CSK_ENGINE_FAULT"] = str(out / "engine_fault")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(_HERE), str(_HERE.parent), os.environ.get("PYTHONPATH", "")]
    )


def _parameters(options: argparse.Namespace) -> dict[str, str]:
    parameters = {
        "autostart": "true", "height": str(options.height), "width": str(options.width),
        "engine": options.engine, "engine_timeout": "5.0", "diagnostics_period": "0.5",
    }  # fmt: skip
    return parameters | ({"checkpoint": str(options.checkpoint)} if options.checkpoint else {})


def _progress(node: NodeProcess, listener: Listener, tally: Tally) -> Callable[[float], None]:
    """A line of progress; raises LiveError when the node has ended."""

    def show(now_s: float) -> None:
        if not node.alive():
            raise LiveError(f"the node ended after {now_s:.0f} s")
        if sys.stderr.isatty() or int(now_s / 30) != int((now_s - _TICK_S) / 30):
            answered = sum(tally.masks.values())
            print(
                f"\r{now_s / 60:5.1f} min  {answered} masks  {listener.state} ",
                end="", file=sys.stderr, flush=True,
            )  # fmt: skip

    return show


def _judged(
    options: argparse.Namespace, listener: Listener, tally: Tally, ending: dict[str, Any]
) -> dict[str, Any]:
    limits = Limits(options.p99_ms, options.worst_ms, options.memory_growth)
    with listener.lock:
        ending["in_hand"] = tally.account.totals["in_hand"]
        lines = judge(tally, ending, limits, warm_up_s=options.warm_up)
        return as_dict(tally, lines, ending, options.warm_up)


def _end(node: NodeProcess) -> int | str:
    if not node.alive():
        return "ended by itself"
    try:
        node.stop()
    except NodeProcessError as error:
        return str(error)
    return 0


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--kinds", help="of fault, comma-separated; default: all; none: no faults")
    parser.add_argument("--every", type=float, default=4.0, help="mean seconds between two faults")
    parser.add_argument("--warm-up", type=float, default=60.0, help="seconds after which memory counts")
    parser.add_argument("--eo-rate", type=float, default=30.0)
    parser.add_argument("--ir-rate", type=float, default=30.0)
    parser.add_argument("--height", type=int, default=240, help="of the network's input")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--checkpoint", type=Path, help="default: the one that comes with the package")
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--p99-ms", type=float, default=Limits.p99_ms)
    parser.add_argument("--worst-ms", type=float, default=Limits.worst_ms)
    parser.add_argument("--memory-growth", type=float, default=Limits.memory_growth, help="share")
    parser.add_argument("--out", type=Path, default=Path("soak_out"))
    return parser.parse_args(arguments)


def main() -> int:
    """Run, write the report, judge."""
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    report = run(options, options.out.resolve())
    (options.out / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    text = as_markdown(report)
    (options.out / "report.md").write_text(text, encoding="utf-8")
    print(text)
    return 0 if report["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
