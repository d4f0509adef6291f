"""The whole way once: a scene drive, the real node in a process of its own, masks, pictures, a report."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from csk_ros import __version__
from csk_ros.data.synthetic import SceneDrive
from csk_ros.replay.bag import BagReader
from csk_ros.replay.live import LiveError, LiveSession
from csk_ros.replay.node_process import NodeProcess, NodeProcessError, use_image_profile
from csk_ros.replay.pictures import write_strip, write_video
from csk_ros.replay.report import Report, make_report, write_html, write_json
from csk_ros.replay.samples import write_samples
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csk_ros.replay.recording import Recording

TITLE = "csk_ros demo: night to day, with the optical camera cut"
RESULTS = frozenset({"masks", "strip.png", "video.webm", "report.html", "report.json", "node.log"})
"""Everything that a demo leaves in its output folder; a folder that holds anything else is refused."""

_ACTIVE_S = 120.0
_FACTS = ("engine", "device")
_STEPS = 5


class DemoError(RuntimeError):
    """The demo did not show what it has to; the message is one line."""


@dataclass(frozen=True)
class DemoSettings:
    """What the demo does.

    Attributes:
        out: folder of the results.
        checkpoint: weights; None takes those that come with the package.
        seed: of the drive.
        seconds: length of the drive.
        rate: frames per second of both cameras; the node must keep up on this machine.
        height: of the images, pixels.
        width: of the images, pixels.
        cut_from: second at which EO fails.
        cut_to: second at which it comes back.

    Raises:
        ValueError: settings that do not fit together.
    """

    out: str = "demo_out"
    checkpoint: str | None = None
    seed: int = 7
    seconds: float = 24.0
    rate: float = 6.0
    height: int = 480
    width: int = 640
    cut_from: float = 9.0
    cut_to: float = 15.0

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        if not 1 <= self.rate <= 60:
            raise ValueError(f"rate is {self.rate:g}: use 1 to 60 frames per second")
        # Before and after the cut, and in it, the node needs some periods to settle on a route.
        margin = 4 / self.rate
        if not margin <= self.cut_from <= self.cut_to - margin <= self.seconds - 2 * margin:
            raise ValueError(
                f"the cut from {self.cut_from:g} to {self.cut_to:g} s does not fit into {self.seconds:g} s: "
                f"leave {margin:.2g} s before, in and after it"
            )


def run_demo(settings: DemoSettings) -> Report:
    """Run the demo; progress goes to stderr.

    The output folder is replaced as a whole once everything is written, and only if all it holds is from
    an earlier demo (see :data:`RESULTS`).

    Raises:
        DemoError: the output folder holds something else; or the results do not show FUSED, IR_ONLY,
            FUSED, or do not account for every frame (they are kept in the output folder).
        LiveError, NodeProcessError: the node did not start, answer or end; the end of its log is shown.
        FileNotFoundError: no weights.
    """
    out = Path(settings.out).resolve()
    _refuse_foreign(out)
    checkpoint = _checkpoint(settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as work:
        results = Path(work, "results")
        results.mkdir()
        recording = _record(settings, checkpoint, Path(work, "drive"), results)
        _say(5, "scoring, drawing and writing the report")
        report = _write_results(results, recording, settings, checkpoint)
        _replace(out, results)
    check_report(report, out)
    _summarise(report, out)
    return report


def _record(settings: DemoSettings, checkpoint: Path, drive: Path, results: Path) -> Recording:
    _say(1, f"making a drive of {settings.seconds:g} s from night to day")
    samples = SceneDrive(
        seed=settings.seed,
        frames=round(settings.seconds * settings.rate),
        height=settings.height,
        width=settings.width,
        rate_hz=settings.rate,
        light="night-to-day",
    )
    write_samples(drive, samples)
    _join_private_domain()
    use_image_profile()
    parameters = {"checkpoint": str(checkpoint), "autostart": "true"}
    with (
        NodeProcess(results / "node.log", parameters) as node,
        _log_on_failure(node),
        LiveSession() as session,
    ):
        _say(2, "starting the node")
        session.wait_until_active(node.alive, _ACTIVE_S)
        cut = (settings.cut_from, settings.cut_to)
        _say(3, f"playing in real time, EO cut from {cut[0]:g} to {cut[1]:g} s")
        recording = session.play_and_record(drive, results / "masks", cuts=[cut])
        _say(4, "stopping the node")
        node.stop()
    return recording


def _write_results(results: Path, recording: Recording, settings: DemoSettings, checkpoint: Path) -> Report:
    with BagReader(recording.drive) as drive:
        label_set = drive.label_set
    if label_set is None:
        raise DemoError(f"{recording.drive} has no label set")
    report = make_report(
        recording,
        label_set,
        configuration=_configuration(settings, checkpoint) | _node_facts(recording.masks_bag),
        versions=_versions(),
    )
    write_strip(results / "strip.png", recording, label_set)
    write_video(results / "video.webm", recording, label_set, rate_hz=settings.rate)
    write_json(results / "report.json", report)
    write_html(results / "report.html", report, recording, results / "strip.png", title=TITLE)
    return report


def check_report(report: Report, out: Path) -> None:
    """Raise DemoError unless every frame is accounted for and the route went FUSED, IR_ONLY, FUSED."""
    if not report.frames.reconciled:
        raise DemoError(f"the frames do not add up: {_frames_line(report)}; see {out / 'report.html'}")
    switch = report.switch
    if not (switch.eo_loss_to_ir_only_ms and switch.eo_return_to_fused_ms and _fused_first(report)):
        seen = " -> ".join(span.route for span in report.routes)
        raise DemoError(
            f"expected FUSED -> IR_ONLY -> FUSED around the cut, saw {seen}; see {out / 'report.html'}"
        )


def _fused_first(report: Report) -> bool:
    """Whether the mask before the cut was fused."""
    before = [span for span in report.routes if span.start_s < report.cuts[0][0]]
    return bool(before) and before[-1].route == "FUSED"


def _summarise(report: Report, out: Path) -> None:
    loss_ms, return_ms = report.switch.eo_loss_to_ir_only_ms[0], report.switch.eo_return_to_fused_ms[0]
    facts = {
        "routes": " -> ".join(span.route for span in report.routes),
        "frames": _frames_line(report),
        "switch": f"IR_ONLY {loss_ms:.0f} ms after EO was lost, FUSED {return_ms:.0f} ms after its return",
        "latency": ", ".join(f"{name} {ms:.0f} ms" for name, ms in report.latency_ms.items()),
        "mIoU": ", ".join(
            f"{route} {value:.3f}" for route, value in report.miou.items() if value is not None
        ),
        "report": out / "report.html",
    }
    sys.stdout.write("".join(f"{name:<8} {text}\n" for name, text in facts.items()))


def _frames_line(report: Report) -> str:
    frames = report.frames
    return (
        f"{frames.ir_in} in, {frames.masks_out} masks, {frames.dropped} dropped, "
        f"{frames.lost_in_transport} lost in transport"
    )


def _refuse_foreign(out: Path) -> None:
    """Raise unless ``out`` can be replaced without losing anything that is not a demo's."""
    if not out.exists():
        return
    if not out.is_dir():
        raise DemoError(f"{out} is a file: give another --out")
    names = {entry.name for entry in out.iterdir()}
    foreign = sorted(names - RESULTS)
    if foreign or (names and "report.json" not in names):
        some = ", ".join((foreign or sorted(names))[:3])
        raise DemoError(f"{out} holds what no demo wrote ({some}): give another --out")


def _replace(out: Path, results: Path) -> None:
    """Put ``results`` where ``out`` is; at no moment is ``out`` half of each."""
    old = results.with_name("old")
    if out.exists():
        out.rename(old)
    results.rename(out)
    if old.exists():
        shutil.rmtree(old)


def _checkpoint(settings: DemoSettings) -> Path:
    if settings.checkpoint is None:
        return share_path(DEFAULT_CHECKPOINT)
    path = Path(settings.checkpoint).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}: check the path")
    return path


def _join_private_domain() -> None:
    """Keep the demo's topics off the network, and off nodes that run here, unless the user chose a domain."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))


@contextlib.contextmanager
def _log_on_failure(node: NodeProcess) -> Iterator[None]:
    try:
        yield
    except (LiveError, NodeProcessError):
        sys.stderr.write(node.tail())
        raise


def _configuration(settings: DemoSettings, checkpoint: Path) -> dict[str, str]:
    length = f"{settings.seconds:g} s at {settings.rate:g} Hz, {settings.width}x{settings.height} px"
    return {
        "drive": f"scenes, seed {settings.seed}, night-to-day, {length}",
        "EO cut": f"{settings.cut_from:g} to {settings.cut_to:g} s",
        "checkpoint": checkpoint.name,
        "checkpoint sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
    }


def _node_facts(masks_bag: Path) -> dict[str, str]:
    """What the node last said about itself in its diagnostics."""
    facts: dict[str, str] = {}
    with BagReader(masks_bag) as bag:
        for record in bag.records(["/diagnostics"]):
            for status in record.message.status:
                if status.name == "segment: node":
                    facts = {item.key: item.value for item in status.values if item.key in _FACTS}
    return facts


def _versions() -> dict[str, str]:
    found = {"csk_ros": __version__, "Python": platform.python_version()}
    for name in ("torch", "numpy", "opencv-python-headless", "rosbags"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    found["ROS"] = os.environ.get("ROS_DISTRO", "wheels from PyPI")
    found["machine"] = (
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    )
    return found


def _say(step: int, text: str) -> None:
    sys.stderr.write(f"[{step}/{_STEPS}] {text}\n")
