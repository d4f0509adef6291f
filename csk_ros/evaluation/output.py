"""From files to files: evaluates a checkpoint on a data set and writes figures and pictures."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csk_ros.data import open_samples
from csk_ros.evaluation.report import metrics, speed
from csk_ros.evaluation.run import evaluate
from csk_ros.evaluation.tables import format_metrics, format_speed
from csk_ros.network import load_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csk_ros.evaluation.run import Evaluation, EvaluationSettings
    from csk_ros.network import Checkpoint


def evaluate_files(
    out: str | Path,
    checkpoint: str | Path,
    data: str,
    split: str | None = None,
    *,
    settings: EvaluationSettings | None = None,
    progress: bool = False,
) -> str:
    """Evaluate a checkpoint file on a named data set, and write what comes of it.

    Args:
        out: folder of the results; must be new or empty.
        checkpoint: path of the checkpoint.
        data: the data set, as :func:`csk_ros.data.open_samples` reads it.
        split: of the data set.
        settings: what to measure and how; None is everything.
        progress: show progress on stderr.

    Returns:
        The tables as text.

    Raises:
        FileExistsError: if ``out`` holds anything, or is no folder.
        CheckpointError: if the checkpoint cannot be used.
        ValueError, OSError, SegmenterError: as :func:`csk_ros.evaluation.run.evaluate`.
    """
    with _claimed(Path(out).expanduser()) as folder:
        network = load_checkpoint(checkpoint)
        evaluation = evaluate(network, open_samples(data, split), settings, progress=progress)
        return write_evaluation(folder, evaluation, network, data=data, split=split)


@contextmanager
def _claimed(folder: Path) -> Iterator[Path]:
    """The folder, made before long work starts, and gone again if nothing came of it."""
    existed = folder.exists()
    if existed and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder: choose another for the results")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except BaseException:
        if not existed and not any(folder.iterdir()):
            folder.rmdir()
        raise


def write_evaluation(
    folder: Path, evaluation: Evaluation, checkpoint: Checkpoint, *, data: str = "", split: str | None = None
) -> str:
    """Write ``metrics.json``, ``speed.json`` if speed was measured, and the pictures.

    Args:
        folder: that exists.
        evaluation: what to write.
        checkpoint: what was evaluated.
        data: how the data set was named.
        split: of the data set.

    Returns:
        The tables as text.
    """
    from csk_ros.evaluation.pictures import write_pictures  # noqa: PLC0415  # matplotlib, for this alone

    document = metrics(evaluation, checkpoint, data=data, split=split)
    _write_json(folder / "metrics.json", document)
    text = format_metrics(document)
    if evaluation.latency:
        timed = speed(evaluation)
        _write_json(folder / "speed.json", timed)
        text += "\n\n" + format_speed(timed)
    write_pictures(folder, evaluation, document)
    return text


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
