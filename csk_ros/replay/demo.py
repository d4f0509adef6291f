"""The whole way once: a scene drive, the real node in a process of its own, masks, pictures, a report."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from csk_ros.data.synthetic import SceneDrive
from csk_ros.modality import Modality, Route
from csk_ros.replay.bag import BagReader
from csk_ros.replay.injection import Injection, Stretches
from csk_ros.replay.live_result import make_result
from csk_ros.replay.live_run import play_live
from csk_ros.replay.live_settings import LiveSettings
from csk_ros.replay.pictures import write_video
from csk_ros.replay.provenance import find_checkpoint
from csk_ros.replay.report import write_report
from csk_ros.replay.samples import write_samples
from csk_ros.replay.summary import frames_line, summarise
from csk_ros.replay.topics import find_topics

if TYPE_CHECKING:
    from csk_ros.replay.played import Played
    from csk_ros.replay.result import ReplayResult

TITLE = "csk_ros demo: night to day, with the optical camera cut"
RESULTS = frozenset(
    {"masks", "strip.png", "video.webm", "report.html", "report.json", "frames.csv", "node.log"}
)
"""Everything that a demo leaves in its output folder; a folder that holds anything else is refused."""

_STEPS = 3


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


def run_demo(settings: DemoSettings) -> ReplayResult:
    """Run the demo; progress goes to stderr.

    The output folder is replaced as a whole once everything is written, and only if all it holds is from
    an earlier demo (see :data:`RESULTS`).

    Raises:
        DemoError: the output folder holds something else; or the results do not show FUSED, IR_ONLY,
            FUSED, or do not account for every frame (they are kept in the output folder); or the node did
            not end as it should.
        LiveError: the node did not start or answer; the end of its log is shown.
        FileNotFoundError: no weights.
    """
    out = Path(settings.out).resolve()
    _refuse_foreign(out)
    checkpoint = find_checkpoint(settings.checkpoint)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as work:
        results = Path(work, "results")
        results.mkdir()
        drive = Path(work, "drive")
        _write_drive(settings, drive)
        _say(2, f"playing it to the node, EO cut from {settings.cut_from:g} to {settings.cut_to:g} s")
        result = _play(settings, checkpoint, drive, results)
        _replace(out, results)
    check_result(result, out)
    sys.stdout.write(summarise(result, out / "report.html"))
    return result


def _write_drive(settings: DemoSettings, drive: Path) -> None:
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


def _play(settings: DemoSettings, checkpoint: Path, drive: Path, results: Path) -> ReplayResult:
    """Play the drive through the node, and write the report of it."""
    cut = Injection("drop", Modality.EO, Stretches(settings.cut_from, settings.cut_to))
    live = LiveSettings(
        bag=drive,
        masks=results / "masks",
        injections=(cut,),
        parameters={"checkpoint": str(checkpoint)},
        log=results / "node.log",
    )
    with BagReader(drive) as bag:
        topics = find_topics(bag)
        played = play_live(live, bag, topics)
        _require_good_end(played)
        result = make_result(live, bag, topics, played)
    result = dataclasses.replace(result, configuration=_configuration(settings) | dict(result.configuration))
    _say(3, "drawing and writing the report")
    write_report(results, result, title=TITLE)
    write_video(results / "video.webm", result, rate_hz=settings.rate)
    return result


def _require_good_end(played: Played) -> None:
    if played.ending:
        raise DemoError(played.ending)
    if not played.complete:
        raise KeyboardInterrupt


def check_result(result: ReplayResult, out: Path) -> None:
    """Raise DemoError unless every frame is accounted for and the route went FUSED, IR_ONLY, FUSED."""
    if _unaccounted(result):
        raise DemoError(f"the frames do not add up: {frames_line(result)}; see {out / 'report.html'}")
    if not (result.lost_ms and result.returned_ms and result.spans[0].route is Route.FUSED):
        seen = " -> ".join(span.route.value for span in result.spans)
        raise DemoError(
            f"expected FUSED -> IR_ONLY -> FUSED around the cut, saw {seen}; see {out / 'report.html'}"
        )


def _unaccounted(result: ReplayResult) -> int:
    counts = result.counts
    known = counts["masks"] + _dropped(result) + counts["lost_ir"] + counts["lost_masks"]
    # an EO frame stands in for thermal that does not come, as on a machine that stands still for a moment
    return counts["sent_ir"] + counts.get("eo_anchors", 0) - known


def _dropped(result: ReplayResult) -> int:
    return sum(count for name, count in result.counts.items() if name.startswith("dropped_"))


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


def _configuration(settings: DemoSettings) -> dict[str, str]:
    length = f"{settings.seconds:g} s at {settings.rate:g} Hz, {settings.width}x{settings.height} px"
    return {"drive": f"scenes, seed {settings.seed}, night-to-day, {length}"}


def _say(step: int, text: str) -> None:
    sys.stderr.write(f"[{step}/{_STEPS}] {text}\n")
