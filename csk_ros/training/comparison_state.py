"""What of a comparison is done already, and whether it is what the specification still asks for."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from csk_ros.training.files import read_json, sha256
from csk_ros.training.reading import flat, parse_document
from csk_ros.training.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csk_ros.training.comparison_spec import Run

# Where files lie and how fast they are read: no reason to train again.
_UNTOLD = {"output", "data.root", "data.workers", "data.cache", "notice"}
_OF_CSK = ("teacher.", "distillation.", "contrast.")  # sections that no other recipe reads
_TESTS = {"data.test", "data.test_split"}


def result_of(run: Run) -> dict[str, Any] | None:
    """What a run was scored with on the tests that the specification names now; None if that is to do."""
    result: dict[str, Any] | None = read_json(run.folder / "result.json")
    if result is None or _differing(result["settings"], run) & _TESTS:
        return None
    return result


def refuse_changed(runs: Sequence[Run]) -> None:
    """Raise ValueError if what was trained already differs from what the specification says now."""
    for run in runs:
        job = read_json(run.folder / "run.json")
        if job is None or not any(run.training.glob("**/last.ckpt")):
            continue
        for key in sorted(_differing(job["settings"], run) - _TESTS):
            was, now = (_known(document, key) for document in (job["settings"], complete_settings(run)))
            raise ValueError(
                f"{run.folder} was trained with {key} = {was}, now the specification says {now}: "
                "choose another output, or delete that folder"
            )
        for variant, digest in job["needs"].items():
            needed = run.needed(variant)
            if not needed.is_file() or sha256(needed) != digest:
                raise ValueError(
                    f"{run.folder} was trained from weights of {variant} that are not in {needed} any more: "
                    "delete that folder too"
                )


def _known(document: dict[str, Any], key: str) -> Any:
    return flat(document).get(key, "nothing")


def _differing(stored: dict[str, Any], run: Run) -> set[str]:
    complete = complete_settings(run)
    if stored == complete:
        return set()
    # Parsed again, so that settings which came into being since then have their defaults.
    source = str(run.folder / "run.json")
    before = flat(_plain(parse_document(TrainSettings, {**stored, "output": ""}, source)))
    now = flat(complete)
    keys = {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
    if run.settings.recipe != "csk":
        keys = {key for key in keys if not key.startswith(_OF_CSK)}
    tests = {key for key in keys if key.startswith("data.test.")}
    return (keys - tests - _UNTOLD) | ({"data.test"} if tests else set())


@cache
def complete_settings(run: Run) -> dict[str, Any]:
    """All settings of a run but ``output``, defaults too, as JSON, with nothing filled in."""
    return _plain(run.settings)


def _plain(settings: TrainSettings) -> dict[str, Any]:
    document = settings.to_dict()
    del document["output"]
    return dict(json.loads(json.dumps(document)))
