"""The figures of an evaluation as one JSON-ready document; docs/evaluation.md is its schema.

Scores are 0 to 1, differences of scores too. What does not exist is None.
"""

from __future__ import annotations

import hashlib
import math
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from csk_ros import __version__
from csk_ros.evaluation.conditions import LOSS_KINDS, REGIONS, ZERO
from csk_ros.evaluation.sequences import LIGHTS, light_of
from csk_ros.modality import Modality, Route

if TYPE_CHECKING:
    from csk_ros.evaluation.conditions import Condition
    from csk_ros.evaluation.metrics import Measure, Over, Scores
    from csk_ros.evaluation.run import Evaluation
    from csk_ros.network import Checkpoint

SCHEMA = 1
"""Rises when a field changes its meaning or goes."""

TOLERANCE = 0.02
"""How much lower than IR alone the fused mIoU may fall while the optical image is lost."""

ROWS = {"eo+ir": Route.FUSED, "eo": Route.EO_ONLY, "ir": Route.IR_ONLY}
"""The rows of a modality table, and the routes that read exactly these modalities."""

MISSING_PROBABILITIES = (0.2, 0.1, 0.05)
MEANS: tuple[tuple[str, Measure, Over], ...] = (
    ("miou", "iou", "all"),
    ("miou_present", "iou", "present"),
    ("miou_seen", "iou", "seen"),
    ("macc", "accuracy", "all"),
    ("macc_present", "accuracy", "present"),
    ("mf1", "f1", "all"),
    ("mf1_present", "f1", "present"),
)
"""Names of the means over classes; with ``_foreground`` behind them, background is left out."""

HEADLINES = ("miou", "miou_present")

Row = dict[str, Any]
Table = dict[str, "Row | None"]


def metrics(
    evaluation: Evaluation, checkpoint: Checkpoint, *, data: str = "", split: str | None = None
) -> Row:
    """The document of an evaluation: the same one whenever the same is evaluated.

    Args:
        evaluation: what was counted.
        checkpoint: what it was counted of.
        data: how the data set was named.
        split: of the data set.
    """
    settings = evaluation.settings
    names, pixels = evaluation.label_set.names, evaluation.pixels.tolist()
    document: Row = {
        "schema": SCHEMA,
        "checkpoint": describe_checkpoint(checkpoint),
        "data": {
            "spec": data,
            "split": split,
            "frames": len(evaluation.names),
            "pixels": dict(zip(names, pixels, strict=False)),
            "unlabelled_pixels": pixels[-1],
        },
        "run": {
            "engine": evaluation.engine,
            "device": evaluation.device,
            "precision": settings.precision,
            "working_size": [settings.height, settings.width],
            "parts": sorted(settings.parts),
            "seed": settings.seed,
            "versions": {"csk_ros": __version__, "torch": torch.__version__},
        },
    }
    document["cost"] = {
        row: None
        if (cost := evaluation.cost.get(route)) is None
        else {"parameters": cost.parameters, "macs": cost.macs, "size": list(evaluation.size)}
        for row, route in ROWS.items()
    }
    if evaluation.clean:
        document |= _scored(evaluation)
    return document


def speed(evaluation: Evaluation) -> Row:
    """Latency of every route, and of what: other figures on every run."""
    return {
        "schema": SCHEMA,
        "engine": evaluation.engine,
        "device": evaluation.device,
        "device_name": device_name(evaluation.device),
        "precision": evaluation.settings.precision,
        "threads": evaluation.threads,
        "size": list(evaluation.size),
        "latency": {
            row: None
            if (latency := evaluation.latency.get(route)) is None
            else {"median_ms": latency.median_ms, "p95_ms": latency.p95_ms, "runs": latency.runs}
            for row, route in ROWS.items()
        },
    }


def describe_checkpoint(checkpoint: Checkpoint) -> Row:
    """Name, SHA-256 and architecture."""
    path = checkpoint.path
    return {
        "file": path and path.name,
        "sha256": path and hashlib.sha256(path.read_bytes()).hexdigest(),
        "architecture": checkpoint.network.architecture,
    }


def device_name(device: str) -> str:
    """What the processor calls itself."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    if device.startswith("xpu"):
        return "Intel GPU"
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="utf-8").splitlines() if cpus.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def expected_score(both: float, eo: float, ir: float, probability: float) -> float:
    """Score when each modality is missing with a probability, given that not both are.

    From arXiv 2503.18445, for two modalities: ``[(1-p)^2 EI + p (1-p) (E + I)] / (1 - p^2)``.
    """
    p = probability
    return ((1 - p) ** 2 * both + p * (1 - p) * (eo + ir)) / (1 - p**2)


def row_of(scores: Scores) -> Row:
    """All figures of one confusion matrix."""
    row: Row = {"frames": scores.frames}
    for name, measure, over in MEANS:
        for end, background in (("", True), ("_foreground", False)):
            row[name + end] = _plain(scores.mean(measure, over=over, background=background))
    row["pixel_accuracy"] = _plain(scores.pixel_accuracy)
    for measure in ("iou", "accuracy", "f1"):
        values = getattr(scores, measure).tolist()
        row[measure] = {name: _plain(v) for name, v in zip(scores.label_set.names, values, strict=True)}
    return row


def modality_table(found: dict[str, Scores]) -> Table:
    """Rows of :data:`ROWS`, their mean, and each one's gap to "eo+ir".

    Args:
        found: scores by row; those that are missing become None, and so does the mean then.
    """
    table: Table = {row: row_of(found[row]) if row in found else None for row in ROWS}
    table["mean"] = _mean([row for row in table.values() if row]) if len(found) == len(ROWS) else None
    for row in table.values():
        if row is not None:
            row |= {f"gap_{name}": _difference(table["eo+ir"], row, name) for name in HEADLINES}
    return table


def _scored(evaluation: Evaluation) -> Row:
    drop = modality_table(_clean_rows(evaluation))
    zero = modality_table(_zero_rows(evaluation))
    document: Row = {"modalities": drop, "light": _by_light(evaluation)}
    parts = evaluation.settings.parts
    if parts & {"modalities", "missing"}:
        document["zero_filled"] = zero
    if "missing" in parts:
        expected = {"drop": _expected(drop), "zero": _expected(zero)}
        document["missing"] = {"expected": expected, "regions": _regions(evaluation)}
    if "noise" in parts:
        document["noise"] = [
            _changed(evaluation, condition)
            for condition in evaluation.tallies
            if condition.kind.startswith("salt_and_pepper")
        ]
    if "degradations" in parts:
        rows = [_degraded(evaluation, c) for c in evaluation.tallies if _is_degradation(c)]
        document["degradations"] = rows
        document["eo_loss"] = _eo_loss(rows)
    return document


def _clean_rows(evaluation: Evaluation, frames: list[int] | None = None) -> dict[str, Scores]:
    return {row: evaluation.scores(route, frames) for row, route in ROWS.items() if route in evaluation.clean}


def _zero_rows(evaluation: Evaluation) -> dict[str, Scores]:
    """The fused route alone, a missing modality's image being black."""
    if Route.FUSED not in evaluation.clean:
        return {}
    left = {Modality.EO: "ir", Modality.IR: "eo"}
    found = {
        left[condition.hit[0]]: evaluation.scores_under(condition, Route.FUSED)
        for condition in evaluation.tallies
        if condition.kind == ZERO
    }
    return {"eo+ir": evaluation.scores(Route.FUSED), **found}


def _by_light(evaluation: Evaluation) -> dict[str, Table]:
    lights = [light_of(name) for name in evaluation.names]
    frames = {light: [i for i, found in enumerate(lights) if found == light] for light in LIGHTS}
    return {
        light: modality_table(_clean_rows(evaluation, chosen)) for light, chosen in frames.items() if chosen
    }


def _expected(table: Table) -> dict[str, Row | None]:
    both, eo, ir = (table[name] for name in ROWS)
    if both is None or eo is None or ir is None:
        return {f"{p:g}": None for p in MISSING_PROBABILITIES}
    return {
        f"{p:g}": {
            name: _plain(expected_score(_number(both[name]), _number(eo[name]), _number(ir[name]), p))
            for name in HEADLINES
        }
        for p in MISSING_PROBABILITIES
    }


def _regions(evaluation: Evaluation) -> list[Row]:
    """The fused route's scores by share lost, with the mean over who lost it: EO, IR, both."""
    found: dict[float, Row] = {}
    for condition in evaluation.tallies:
        if condition.kind == REGIONS:
            hit = "+".join(modality.value for modality in condition.hit)
            row = found.setdefault(condition.strength, {"share": condition.strength})
            row[hit] = row_of(evaluation.scores_under(condition, Route.FUSED))
    for row in found.values():
        row["mean"] = _mean([row[hit] for hit in ("eo", "ir", "eo+ir")])
    return list(found.values())


def _changed(evaluation: Evaluation, condition: Condition) -> Row:
    scored = evaluation.tallies[condition].confusions
    rows = {
        row: row_of(evaluation.scores_under(condition, route)) if route in scored else None
        for row, route in ROWS.items()
    }
    return {"kind": condition.kind, "strength": condition.strength, "unit": condition.unit, **rows}


def _is_degradation(condition: Condition) -> bool:
    return condition.hit == (Modality.EO,) and condition.kind not in (ZERO, REGIONS)


def _degraded(evaluation: Evaluation, condition: Condition) -> Row:
    """Fused and EO-only under a degradation of EO; IR alone and undisturbed fused on the same frames."""
    frames = evaluation.tallies[condition].frames
    row = _changed(evaluation, condition)
    if Route.IR_ONLY in evaluation.clean:
        row["ir"] = row_of(evaluation.scores(Route.IR_ONLY, frames))
    if Route.FUSED in evaluation.clean:
        row["eo+ir_clean"] = row_of(evaluation.scores(Route.FUSED, frames))
    margin = _difference(row["eo+ir"], row["ir"], "miou_present")
    return {
        **row,
        "frames": len(frames),
        "margin_to_ir": margin,
        "below_ir": None if margin is None else margin < -TOLERANCE,
    }


def _eo_loss(rows: list[Row]) -> Row:
    """Whether fused stays within the tolerance of IR alone under darkness and loss of contrast."""
    found = [row for row in rows if row["kind"] in LOSS_KINDS and row["margin_to_ir"] is not None]
    worst = min(found, key=lambda row: row["margin_to_ir"], default=None)
    return {
        "kinds": list(LOSS_KINDS),
        "tolerance": TOLERANCE,
        "worst": worst and {key: worst[key] for key in ("kind", "strength", "margin_to_ir")},
        "holds": None if worst is None else not worst["below_ir"],
    }


def _mean(rows: list[Row]) -> Row:
    """Rows averaged figure by figure; None where one of them has none."""
    return {key: _mean_of([row[key] for row in rows]) for key in rows[0] if key != "frames"}


def _mean_of(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {key: _mean_of([value[key] for value in values]) for key in values[0]}
    return None if None in values else _plain(sum(values) / len(values))


def _difference(more: Row | None, less: Row | None, name: str) -> float | None:
    if more is None or less is None or more[name] is None or less[name] is None:
        return None
    return _plain(more[name] - less[name])


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _plain(value: float) -> float | None:
    """Rounded to a millionth; None for NaN, which JSON does not have."""
    return None if math.isnan(value) else round(value, 6)
