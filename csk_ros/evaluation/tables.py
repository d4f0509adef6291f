"""The figures of an evaluation as text for a terminal: percent with one decimal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csk_ros.evaluation.report import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NONE = "\N{EN DASH}"
_LABELS = {"eo+ir": "EO+IR", "eo": "EO", "ir": "IR", "mean": "mean"}
_COLUMNS = {
    "mIoU": "miou_present",
    "no bg": "miou_present_foreground",
    "mIoU all": "miou",
    "mAcc": "macc_present",
    "mF1": "mf1_present",
    "pixels": "pixel_accuracy",
    "gap": "gap_miou_present",
}


def format_metrics(document: dict[str, Any]) -> str:
    """All of :func:`csk_ros.evaluation.report.metrics` that is worth reading at once."""
    return "\n\n".join("\n".join(block) for block in _blocks(document))


def format_speed(document: dict[str, Any]) -> str:
    """What :func:`csk_ros.evaluation.report.speed` holds."""
    height, width = document["size"]
    title = (
        f"Latency, ms: {document['engine']} on {document['device']} ({document['device_name']}), "
        f"{document['precision']}, {height}x{width}, {document['threads']} threads"
    )
    found = {name: latency for name, latency in document["latency"].items() if latency}
    rows = [
        [_LABELS[n], f"{at['median_ms']:.1f}", f"{at['p95_ms']:.1f}", str(at["runs"])]
        for n, at in found.items()
    ]
    return "\n".join([title, *format_table(["", "median", "p95", "runs"], rows)])


def percent(value: float | None, *, signed: bool = False) -> str:
    """A share in percent with one decimal; a dash for None."""
    if value is None:
        return NONE
    text = f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
    return text.replace("-0.0", "0.0").replace("+0.0", "0.0")


def _blocks(document: dict[str, Any]) -> Iterator[list[str]]:
    data, run = document["data"], document["run"]
    frames = f"{data['frames']} frames of {data['spec'] or 'the samples'}"
    split = f", split {data['split']}" if data["split"] else ""
    yield [f"{frames}{split}; engine {run['engine']} on {run['device']}; percent"]
    if "modalities" in document:
        yield ["Modalities, the missing one not run", *_modalities(document["modalities"])]
        if "zero_filled" in document:
            yield ["Modalities, the missing one black", *_modalities(document["zero_filled"])]
        yield ["IoU by class", *_classes(document)]
        if document["light"]:
            yield ["mIoU by light", *_light(document["light"])]
    if "missing" in document:
        yield ["Expected mIoU, each modality missing with probability p", *_expected(document)]
        yield ["mIoU of EO+IR, regions missing", *_regions(document["missing"]["regions"])]
    if document.get("noise"):
        yield ["mIoU under noise in both images", *_changed(document["noise"])]
    if "degradations" in document:
        yield ["mIoU under degraded EO; IR as it is", *_degradations(document)]
    yield ["Cost", *_cost(document["cost"])]


def _modalities(table: dict[str, Any]) -> list[str]:
    rows = [
        [
            _LABELS[name],
            *(percent(row and row.get(key), signed=key.startswith("gap")) for key in _COLUMNS.values()),
        ]
        for name, row in table.items()
    ]
    return format_table(["", *_COLUMNS], rows)


def _classes(document: dict[str, Any]) -> list[str]:
    table, pixels = document["modalities"], document["data"]["pixels"]
    labelled = max(sum(pixels.values()), 1)
    rows = [
        [
            name,
            percent(count / labelled) if count else NONE,
            *(percent(row["iou"][name]) if (row := table[key]) else NONE for key in ROWS),
        ]
        for name, count in pixels.items()
    ]
    return format_table(["", "pixels", *(_LABELS[key] for key in ROWS)], rows)


def _light(light: dict[str, Any]) -> list[str]:
    rows = [
        [name, *(percent(row and row["miou_present"]) for row in table.values())]
        for name, table in light.items()
    ]
    return format_table(["", *_LABELS.values()], rows)


def _expected(document: dict[str, Any]) -> list[str]:
    modes = document["missing"]["expected"]
    probabilities = list(next(iter(modes.values())))
    rows = [
        [{"drop": "not run", "zero": "black"}[mode]]
        + [percent(row and row["miou_present"]) for row in found.values()]
        for mode, found in modes.items()
    ]
    return format_table(["", *(f"p={p}" for p in probabilities)], rows)


def _regions(regions: list[dict[str, Any]]) -> list[str]:
    columns = {"eo": "in EO", "ir": "in IR", "eo+ir": "in both", "mean": "mean"}
    rows = [
        [f"{row['share']:.0%}", *(percent(row[key]["miou_present"]) for key in columns)] for row in regions
    ]
    return format_table(["", *columns.values()], rows)


def _changed(found: list[dict[str, Any]]) -> list[str]:
    rows = [
        [row["kind"].replace("_", " "), f"{row['strength']:g}"]
        + [percent(row[key] and row[key]["miou_present"]) for key in ROWS]
        for row in found
    ]
    return format_table(["", "density", *(_LABELS[key] for key in ROWS)], rows)


def _degradations(document: dict[str, Any]) -> list[str]:
    rows = [
        [row["kind"].replace("_", " "), f"{row['strength']:g} {row['unit']}", str(row["frames"])]
        + [percent(row[key] and row[key]["miou_present"]) for key in ROWS]
        + [percent(row["margin_to_ir"], signed=True), "below IR" if row["below_ir"] else ""]
        for row in document["degradations"]
    ]
    header = ["", "strength", "frames", *(_LABELS[key] for key in ROWS), "to IR", ""]
    return [*format_table(header, rows), _verdict(document["eo_loss"])]


def _verdict(loss: dict[str, Any]) -> str:
    if loss["holds"] is None:
        return "Fused is not compared with IR alone: the checkpoint does not have both."
    worst = loss["worst"]
    return (
        f"Under {', '.join(loss['kinds'])} fused {'stays' if loss['holds'] else 'does NOT stay'} within "
        f"{100 * loss['tolerance']:g} mIoU of IR alone; worst {percent(worst['margin_to_ir'], signed=True)} "
        f"({worst['kind']} {worst['strength']:g})."
    )


def _cost(cost: dict[str, Any]) -> list[str]:
    rows = [
        [
            _LABELS[name],
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['macs'] / 1e9:.2f} G",
            "x".join(map(str, row["size"])),
        ]
        for name, row in cost.items()
        if row
    ]
    return format_table(["", "parameters", "MACs", "at"], rows)


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column flush left and the others flush right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines
