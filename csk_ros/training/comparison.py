"""Trains and scores the runs of a comparison, each in a process of its own, and writes their table."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from csk_ros.training.comparison_progress import Progress
from csk_ros.training.comparison_state import complete_settings, refuse_changed, result_of
from csk_ros.training.comparison_table import than_route, write_table
from csk_ros.training.files import sha256, write_json
from csk_ros.training.reading import flat
from csk_ros.training.settings import complete_specs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from csk_ros.modality import Route
    from csk_ros.training.comparison_spec import Comparison, Run

Process = subprocess.Popen[bytes]

_POLL_S = 0.2
_TAIL_LINES = 15


def compare(
    comparison: Comparison, *, runs: Sequence[Run], jobs: int = 1, threads: int | None = None
) -> tuple[str, list[str]]:
    """Train and score what is not finished of ``runs``.

    Every run's folder gets ``log.txt`` and ``result.json``, the comparison's ``table.md`` and
    ``table.json``. Stopped runs are gone on with.

    Args:
        comparison: the specification.
        runs: those of its runs to do, in order.
        jobs: runs at a time.
        threads: of each run; None shares the cores out.

    Returns:
        The table in Markdown, and the names of the runs that failed; the others were done all the same.

    Raises:
        ValueError: settings or data that do not fit, or finished runs that were made with other settings.
        OSError: files that are missing, or another comparison at work in the same folder.
    """
    failed: dict[str, str] = {}
    refuse_changed(comparison.runs)
    todo = [run for run in runs if result_of(run) is None]
    if todo:
        check_runs(todo)
        check_claims(comparison)
        threads = threads or _share_of_cores(jobs)
        progress = Progress(runs, jobs)
        with _locked(comparison.output) as lock:
            failed = run_all(
                todo,
                jobs,
                lambda run: _start(run, threads, lock.fileno()),
                progress,
                ended=lambda: write_table(comparison),
            )
    return write_table(comparison), list(failed)


def _share_of_cores(jobs: int) -> int:
    share = max(1, len(os.sched_getaffinity(0)) // jobs)
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(wanted)) if wanted.isdigit() and int(wanted) else share


def check_runs(runs: Sequence[Run]) -> None:
    """Raise ValueError or OSError if a run could not start: data, networks and files that it names."""
    from csk_ros.training.samples import JoinedSamples  # noqa: PLC0415 (torch; a table needs none)

    opened: dict[tuple[str, str | None], Any] = {}
    for run in runs:
        data = run.settings.data
        tests = [*data.test.values()]
        parts = (data.train, data.train_split), (data.val, data.val_split), (tests, data.test_split)
        for specs, split in parts:
            for spec in complete_specs(specs, data.root):
                if (spec, split) not in opened:
                    opened[spec, split] = JoinedSamples.open([spec], split).label_set
                if opened[spec, split] != opened[complete_specs(data.train, data.root)[0], data.train_split]:
                    raise ValueError(f"{run.name}: the classes of {spec!r} differ from those of data.train")
        template = flat(run.document)
        for key, value in flat(run.filled()).items():
            named = value is not None and key.endswith(("checkpoint", "backbone_weights"))
            if named and "{run:" not in template[key] and not Path(value).is_file():
                raise FileNotFoundError(
                    f"{run.name}: {key}: there is no file {value}: name another, or run first what writes it"
                )


def check_claims(comparison: Comparison) -> None:
    """Raise ValueError for a network that cannot be built, or a claim about a route that one lacks."""
    from csk_ros.network import build_network  # noqa: PLC0415 (torch; a table needs none)

    routes: dict[str, list[Route]] = {}
    for run in comparison.runs:
        if run.variant not in routes:
            network = run.settings.network
            try:
                built = build_network(network.name, num_classes=2, **network.arguments)
            except ValueError as error:
                raise ValueError(f"{run.name}: {error}") from error
            routes[run.variant] = sorted(built.routes)
    for claim in comparison.claims:
        lacking = claim.route not in routes[claim.better]
        if lacking or not all(than_route(claim, routes[other]) for other in claim.others):
            raise ValueError(
                f"the claim about {claim.better} {claim.route.value} and {', '.join(claim.others)} names a "
                "route that one of them lacks, or not which: give route and than_route"
            )


@contextmanager
def _locked(folder: Path) -> Iterator[TextIO]:
    """Hold the comparison's folder; the runs inherit the lock and hold it until they have saved."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = f"another comparison is at work in {folder}, or still saving: wait for it"
            raise OSError(text) from error
        yield file


def _start(run: Run, threads: int, lock: int) -> Process:
    run.folder.mkdir(parents=True, exist_ok=True)
    write_json(
        run.folder / "run.json",
        {
            "run": {"variant": run.variant, "fold": run.fold, "seed": run.seed},
            "settings": complete_settings(run),
            "filled": run.filled(),
            "needs": {variant: sha256(run.needed(variant)) for variant in run.needs},
            "threads": threads,
        },
    )
    environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "TQDM_MININTERVAL": "30"}
    with (run.folder / "log.txt").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 (this interpreter)
            [sys.executable, "-m", "csk_ros.training.comparison_run", str(run.folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C reaches the runs through their standard input, once
        )


def run_all(
    runs: Sequence[Run],
    jobs: int,
    start: Callable[[Run], Process],
    progress: Progress,
    *,
    ended: Callable[[], object],
) -> dict[str, str]:
    """Run ``runs`` in processes, ``jobs`` at a time, each after those that it needs.

    Args:
        runs: in the order of their start.
        jobs: processes at a time.
        start: starts the process of a run.
        progress: is told of everything.
        ended: called after every run.

    Returns:
        Why runs failed, by name. On Ctrl-C all processes have ended when KeyboardInterrupt goes on.
    """
    left = list(runs)
    going: dict[str, tuple[Run, Process]] = {}
    failed: dict[str, str] = {}
    try:
        while left or going:
            for run in [run for run in left if _needed(run) & failed.keys()]:
                left.remove(run)
                failed[run.name] = f"needs {', '.join(sorted(_needed(run) & failed.keys()))}"
                progress.note(f"{run.name} is left out: it {failed[run.name]}, which failed")
            while len(going) < jobs and (ready := _first_ready(left, set(going))):
                left.remove(ready)
                going[ready.name] = ready, start(ready)
                progress.started(ready)
            for name, (run, process) in list(going.items()):
                if (code := process.poll()) is not None:
                    del going[name]
                    _hang_up(process)
                    if code:
                        failed[name] = f"exit code {code}"
                        progress.note(f"{name} failed with exit code {code}; the end of {_tail(run.folder)}")
                    progress.ended(run)
                    ended()
            progress.show()
            time.sleep(_POLL_S)
    finally:
        if going:
            _stop([process for _, process in going.values()], progress)
        progress.close()
    return failed


def _needed(run: Run) -> set[str]:
    return {f"{variant}/{run.fold}/seed{run.seed}" for variant in run.needs}


def _first_ready(left: list[Run], going: set[str]) -> Run | None:
    waiting = {run.name for run in left} | going
    return next((run for run in left if not _needed(run) & waiting), None)


def _hang_up(process: Process) -> None:
    """Tell a run to save and end."""
    if process.stdin is not None:
        process.stdin.close()


def _stop(processes: list[Process], progress: Progress) -> None:
    """Let the processes save and end; on a further Ctrl-C they are killed."""
    try:
        progress.note(f"stopping {len(processes)} runs, which save; Ctrl-C again kills them, without saving")
        for process in processes:
            _hang_up(process)
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        raise


def _tail(folder: Path) -> str:
    log = folder / "log.txt"
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    return "\n  ".join([f"{log}:", *[line for line in lines if line.strip()][-_TAIL_LINES:]])
