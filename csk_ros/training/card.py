"""Model cards: what a checkpoint is, what went into it and how well it does, for people."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from csk_ros.evaluation.metrics import Scores
    from csk_ros.modality import Route
    from csk_ros.network import Checkpoint


def scores_to_dict(scores: Scores) -> dict[str, Any]:
    """Scores over the classes that occur, JSON-ready."""
    values = zip(scores.label_set.names, scores.iou, strict=True)
    return {
        "miou": scores.miou(),
        "frames": scores.frames,
        "iou": {name: float(value) for name, value in values if not math.isnan(value)},
    }


def write_card(
    path: Path, checkpoint: Checkpoint, file: Path, tests: Mapping[str, Mapping[Route, Scores]]
) -> None:
    """Write the card of ``checkpoint`` as YAML.

    Args:
        path: the card.
        checkpoint: what ``file`` holds.
        file: the deployable file, whose size and SHA-256 the card states.
        tests: scores on held-out data, by what the data is called.
    """
    content = file.read_bytes()
    training = dict(checkpoint.training)
    card = {
        "name": file.stem,
        "file": file.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "date": training.pop("date"),
        "notice": training.pop("notice"),
        "architecture": checkpoint.network.architecture,
        "classes": list(checkpoint.label_set.names),
        "validation": _rounded(training.pop("scores")),
        "test": {
            name: {route.value: _rounded(scores_to_dict(one)) for route, one in scores.items()}
            for name, scores in tests.items()
        },
        "training": training,
    }
    with path.open("w", encoding="utf-8") as stream:
        stream.write(
            "# Scores are intersection over union, 0 to 1; miou is their mean over classes that occur.\n"
        )
        yaml.safe_dump(card, stream, sort_keys=False, width=100)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return round(value, 4) if isinstance(value, float) else value
