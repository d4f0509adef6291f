"""Writes an evaluation into a folder."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csk_ros.evaluation.report import metrics, speed
from csk_ros.evaluation.tables import format_metrics, format_speed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csk_ros.evaluation.run import Evaluation
    from csk_ros.network import Checkpoint


@contextmanager
def claimed_folder(path: str | Path) -> Iterator[Path]:
    """A new or empty folder for results, made before long work starts; gone again if nothing came of it.

    Raises:
        FileExistsError: if it holds anything, or is no folder.
        OSError: if it cannot be made.
    """
    folder = Path(path).expanduser()
    existed = folder.exists()
    if existed and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder: choose another --out")
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
