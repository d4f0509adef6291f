"""What a comparison trains: the runs that a specification file describes, in the order of their start."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csk_ros.modality import Route
from csk_ros.training.reading import Document, changed, parse_document, read_document, read_layers
from csk_ros.training.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*")
_REFERENCE = re.compile(r"\{run:([^}]*)\}")
_PLACE = re.compile(r"\{(?:run:([^}]*)|(variant|fold|seed))\}")
_OWN_KEYS = ("like", "seeds", "folds")


@dataclass(frozen=True)
class Claim:
    """What the table is expected to show: ``better`` beats every one of ``than``.

    Attributes:
        better: a variant.
        route: of ``better``.
        than: a variant, or several.
        than_route: of ``than``; None takes ``route`` where it has that, else its only route.
        by: at least so many points of mIoU; below 0, at most so many fewer.
    """

    better: str
    route: Route
    than: str | list[str]
    than_route: Route | None = None
    by: float = 0.0

    @property
    def others(self) -> list[str]:
        """``than`` as a list."""
        return [self.than] if isinstance(self.than, str) else self.than


@dataclass(frozen=True)
class SpecFile:
    """The keys of a specification file.

    Attributes:
        base: a file of settings as ``csk train`` takes it, relative to the specification or to the
            working directory.
        output: folder of the comparison.
        variants: changes by dotted key; beside them ``like`` (a variant to start from), and ``seeds`` and
            ``folds`` to run.
        settings: changes for all variants.
        seeds: one run each.
        folds: changes by name; one run each.
        tests: data specs by name, in place of ``data.test`` of the base.
        baseline: the variant that differences are taken to, for all routes or by route.
        claims: what is checked.
    """

    base: str
    output: str
    variants: dict[str, dict[str, Any] | None]
    settings: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])
    folds: dict[str, dict[str, Any] | None] = field(default_factory=lambda: {"all": None})
    tests: dict[str, str] | None = None
    baseline: str | dict[str, str] | None = None
    claims: list[Claim] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """One training run of a comparison.

    Attributes:
        variant: what is trained.
        fold: on which part of the data.
        seed: of its random choices.
        document: its settings without ``output`` and ``seed``; ``{run:NAME}``, ``{variant}``, ``{fold}`` and
            ``{seed}`` not yet filled in.
        needs: the variants whose weights it starts from or learns from.
        root: folder of the comparison.
    """

    variant: str
    fold: str
    seed: int
    document: Document = field(hash=False)
    needs: tuple[str, ...]
    root: Path

    @property
    def name(self) -> str:
        """What messages call it; its folder below the comparison's."""
        return f"{self.variant}/{self.fold}/seed{self.seed}"

    @property
    def folder(self) -> Path:
        """Where its log and result lie."""
        return self.root / self.name

    @property
    def training(self) -> Path:
        """Its run folder, as :func:`csk_ros.training.run.train` makes it."""
        return self.folder / "training"

    @property
    def weights(self) -> Path:
        """The last weights, which are scored."""
        return self.training / "last.safetensors"

    def needed(self, variant: str) -> Path:
        """The weights of another variant of the same fold and seed."""
        return self.root / variant / self.fold / f"seed{self.seed}" / "training" / "last.safetensors"

    @property
    def settings(self) -> TrainSettings:
        """What is trained, with nothing filled in; raises ValueError if it means nothing."""
        # Without the seed, so that runs that differ in nothing else are parsed once.
        return replace(
            parse_document(TrainSettings, {**self.document, "output": ""}, self.name), seed=self.seed
        )

    def filled(self) -> Document:
        """The settings of the run's training, everything filled in."""
        names = {"variant": self.variant, "fold": self.fold, "seed": str(self.seed)}

        def fill(match: re.Match[str]) -> str:
            return names[match[2]] if match[2] else str(self.needed(match[1]))

        filled: Document = _mapped(self.document, lambda text: _PLACE.sub(fill, text))
        return {**filled, "output": str(self.training), "seed": self.seed}


@dataclass(frozen=True)
class Comparison:
    """A specification, read.

    Attributes:
        output: its folder.
        runs: in the order of their start: by seed, then fold, then variant, needed ones first.
        variants: in the order of the specification.
        folds: in that order.
        seeds: in that order.
        baseline: variant by route.
        claims: what is checked.
    """

    output: Path
    runs: tuple[Run, ...]
    variants: tuple[str, ...]
    folds: tuple[str, ...]
    seeds: tuple[int, ...]
    baseline: dict[Route, str]
    claims: tuple[Claim, ...]

    def chosen(self, variants: Sequence[str] | None, seeds: Sequence[int] | None) -> list[Run]:
        """The runs of some variants and seeds, and those that they need.

        Raises:
            ValueError: for names or seeds that the specification does not have.
        """
        _require_known("--only", variants or (), self.variants)
        _require_known("--seeds", seeds or (), self.seeds)
        wanted = {
            run.name
            for run in self.runs
            if (variants is None or run.variant in variants) and (seeds is None or run.seed in seeds)
        }
        for run in reversed(self.runs):  # what a run needs stands before it
            if run.name in wanted:
                wanted |= {f"{variant}/{run.fold}/seed{run.seed}" for variant in run.needs}
        return [run for run in self.runs if run.name in wanted]


def read_comparison(
    path: Path, changes: Mapping[str, Any] | None = None, output: str | None = None
) -> Comparison:
    """Read a specification file.

    Args:
        path: the file.
        changes: to the settings of all runs; what a fold or variant changes itself stays its own.
        output: the folder of the comparison, in place of the file's.

    Raises:
        FileNotFoundError: the file or its base does not exist.
        ValueError: unknown keys or names, settings that mean nothing, or runs that need each other.
    """
    spec = parse_document(SpecFile, read_document(path), str(path))
    spec = replace(spec, output=output or spec.output)
    try:
        return _comparison(spec, _base(path, spec.base), changes or {})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _base(path: Path, base: str) -> Document:
    beside = path.parent / base
    return read_layers(beside if beside.is_file() else Path(base))


def _comparison(spec: SpecFile, base: Document, changes: Mapping[str, Any]) -> Comparison:
    _check_names(spec, changes)
    shared = changed(base, spec.settings)
    if spec.tests is not None:
        shared = changed(shared, {"data.test": spec.tests})
    shared = changed(shared, changes)
    runs: list[Run] = []
    for seed, (fold, fold_changes) in product(spec.seeds, spec.folds.items()):
        group = []
        for variant in spec.variants:
            if _covers(spec, variant, seed, fold):
                document = shared
                for layer in (fold_changes or {}, *_layers(spec, variant)):
                    document = changed(document, layer)
                for key in ("output", "seed"):
                    document.pop(key, None)
                group.append(_run(document, variant, fold, seed, Path(spec.output)))
        runs += _ordered(group)
    return Comparison(
        output=Path(spec.output),
        runs=tuple(runs),
        variants=tuple(spec.variants),
        folds=tuple(spec.folds),
        seeds=tuple(spec.seeds),
        baseline=_baseline(spec),
        claims=tuple(spec.claims),
    )


def _run(document: Document, variant: str, fold: str, seed: int, root: Path) -> Run:
    needs = tuple(sorted({name for text in _texts(document) for name in _REFERENCE.findall(text)}))
    run = Run(variant, fold, seed, document, needs, root)
    if not run.settings.data.test:
        raise ValueError(f"{run.name} has no tests: name data specs under tests:")
    return run


def _check_names(spec: SpecFile, changes: Mapping[str, Any]) -> None:
    for kind, names in (("variant", spec.variants), ("fold", spec.folds)):
        if not names:
            raise ValueError(f"{kind}s: name at least one")
        for name in names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{kind} {name!r}: use letters, digits and _ . + - in names")
    if not spec.seeds or len(set(spec.seeds)) < len(spec.seeds):
        raise ValueError(f"seeds are {spec.seeds}: give one or more, each once")
    for variant, entries in spec.variants.items():
        own = entries or {}
        _require_known(f"{variant}.like", [own["like"]] if "like" in own else (), spec.variants)
        _require_known(f"{variant}.seeds", own.get("seeds", ()), spec.seeds)
        _require_known(f"{variant}.folds", own.get("folds", ()), spec.folds)
    everywhere = [spec.settings, changes, *spec.folds.values(), *spec.variants.values()]
    for key in ("seed", "output"):
        if any(key in (entries or {}) for entries in everywhere):
            raise ValueError(f"{key} is set by the comparison itself: take it out")
    for claim in spec.claims:
        _require_known("claims", [claim.better, *claim.others], spec.variants)


def _require_known(where: str, names: Iterable[Any], known: Iterable[Any]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise ValueError(f"{where}: there is no {name!r}, only {', '.join(map(str, known))}")


def _covers(spec: SpecFile, variant: str, seed: int, fold: str) -> bool:
    own = spec.variants[variant] or {}
    return seed in own.get("seeds", [seed]) and fold in own.get("folds", [fold])


def _layers(spec: SpecFile, variant: str, below: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The changes of a variant, those that it starts from first."""
    if variant in below:
        raise ValueError(f"variants are like each other in a circle: {' -> '.join([*below, variant])}")
    own = spec.variants[variant] or {}
    inherited = _layers(spec, own["like"], (*below, variant)) if "like" in own else []
    return [*inherited, {key: value for key, value in own.items() if key not in _OWN_KEYS}]


def _ordered(runs: list[Run]) -> list[Run]:
    """Runs of one fold and seed, each behind those that it needs, else in the given order."""
    left, order = list(runs), []
    for run in runs:
        for variant in run.needs:
            if variant not in {other.variant for other in runs}:
                raise ValueError(
                    f"{run.name} needs {variant!r}, which has no run of fold {run.fold} with seed {run.seed}"
                )
    while left:
        waiting = {run.variant for run in left}
        ready = next((run for run in left if not waiting.intersection(run.needs)), None)
        if ready is None:
            raise ValueError(f"variants need each other in a circle: {', '.join(sorted(waiting))}")
        order.append(ready)
        left.remove(ready)
    return order


def _baseline(spec: SpecFile) -> dict[Route, str]:
    if spec.baseline is None:
        return {}
    named = dict.fromkeys(Route, spec.baseline) if isinstance(spec.baseline, str) else spec.baseline
    _require_known("baseline", named, [route.value for route in Route])
    _require_known("baseline", named.values(), spec.variants)
    return {Route(route): variant for route, variant in named.items()}


def _texts(value: Any) -> list[str]:
    """All strings in nested mappings and lists."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for entry in value for text in _texts(entry)]
    return [value] if isinstance(value, str) else []


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """``value`` with ``change`` made to all strings in nested mappings and lists."""
    if isinstance(value, dict):
        return {key: _mapped(entry, change) for key, entry in value.items()}
    if isinstance(value, list):
        return [_mapped(entry, change) for entry in value]
    return change(value) if isinstance(value, str) else value
