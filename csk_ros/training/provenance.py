"""What a run keeps of its settings: its configuration file, and what its checkpoints say they are made of."""

from __future__ import annotations

import hashlib
import platform
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from csk_ros import __version__

if TYPE_CHECKING:
    from csk_ros.training.settings import TrainSettings
    from csk_ros.training.supervised import SupervisedModule


def write_config(path: Path, settings: TrainSettings) -> None:
    """Write ``settings`` as the YAML file that goes on with the run."""
    with path.open("w", encoding="utf-8") as file:
        yaml.safe_dump(_plain(settings.to_dict()), file, sort_keys=False)


def _plain(value: Any) -> Any:
    """``value`` with lists for tuples, as YAML and JSON know them."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def provenance(settings: TrainSettings, module: SupervisedModule) -> dict[str, Any]:
    """What went into the weights, as JSON; of files their names and contents, not where they lay."""
    document = _plain(settings.to_dict())
    del document["output"]
    notice = document.pop("notice")
    network, data = document["network"], document["data"]
    if settings.recipe != "csk":
        for part in ("teacher", "distillation", "contrast"):
            del document[part]
    elif document["teacher"]["checkpoint"] is not None:
        document["teacher"]["checkpoint"] = Path(document["teacher"]["checkpoint"]).name
    data["root"] = data["root"] and Path(data["root"]).name
    started_from = {}
    for key in ("backbone_weights", "checkpoint"):
        if network[key] is not None:
            path = Path(network[key])
            network[key] = path.name
            started_from = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return {
        "recipe": document.pop("recipe"),
        "notice": notice,
        "settings": document,
        "started_from": started_from,
        "seed": settings.seed,
        "epochs": module.trainer.current_epoch + 1,
        "steps": module.trainer.global_step,
        "scores": module.scores,
        "versions": {
            "csk_ros": __version__,
            "torch": torch.__version__,
            "lightning": version("lightning"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
