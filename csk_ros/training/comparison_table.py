"""The table of a comparison: means and spreads over seeds and folds, paired differences, claims, budget."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from csk_ros.evaluation.metrics import Scores
from csk_ros.labels import LabelSet
from csk_ros.modality import Route
from csk_ros.training.comparison_state import result_of
from csk_ros.training.files import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from csk_ros.training.comparison_spec import Claim, Comparison

Points = dict[tuple[str, int], float]
"""mIoU in points, 0 to 100, by fold and seed."""

_METHOD = (
    "mIoU in points (0 to 100) over the classes that the test labels hold, from one confusion matrix over "
    "all tests of a run. Scored are the last weights: none are chosen by validation. Mean over folds of the "
    "mean over seeds ± sample standard deviation over seeds; differences are paired by seed and fold."
)


@dataclass(frozen=True)
class Summary:
    """Figures of several runs as one.

    Attributes:
        mean: over folds of the mean over seeds.
        spread: sample standard deviation, over the seeds that have all folds, of their means over folds; None
            with fewer than two of these.
        runs: how many went in.
    """

    mean: float
    spread: float | None
    runs: int

    def text(self, *, signed: bool = False) -> str:
        """For people, with one decimal."""
        mean = f"{self.mean:+.1f}" if signed else f"{self.mean:.1f}"
        return mean if self.spread is None else f"{mean} ± {self.spread:.1f}"


def summarise(points: Points) -> Summary | None:
    """The summary of some runs; None without any."""
    if not points:
        return None
    folds = list(dict.fromkeys(fold for fold, _ in points))
    seeds = list(dict.fromkeys(seed for _, seed in points))
    means = [fmean(value for (f, _), value in points.items() if f == fold) for fold in folds]
    whole = [s for s in seeds if all((fold, s) in points for fold in folds)]
    by_seed = [fmean(points[fold, seed] for fold in folds) for seed in whole]
    return Summary(fmean(means), stdev(by_seed) if len(by_seed) > 1 else None, len(points))


def differences(first: Points, second: Points) -> Points:
    """First minus second, where both have a run."""
    return {key: first[key] - second[key] for key in first if key in second}


class Results:
    """The finished runs of a comparison.

    Args:
        comparison: what was to run.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.planned = {v: sum(run.variant == v for run in comparison.runs) for v in comparison.variants}
        self.documents: dict[str, dict[tuple[str, int], dict[str, Any]]] = {
            variant: {} for variant in comparison.variants
        }
        for run in comparison.runs:
            if (document := result_of(run)) is not None:
                self.documents[run.variant][run.fold, run.seed] = document

    def routes(self, variant: str) -> list[Route]:
        """The routes that a variant was scored on; none before its first run has finished."""
        tests = [test for one in self.documents[variant].values() for test in one["tests"].values()]
        return [route for route in Route if any(route.value in test["routes"] for test in tests)]

    def points(self, variant: str, route: Route, test: str | None = None) -> Points:
        """The mIoU of every finished run of a variant on a route, of all its tests or of one."""
        points = {}
        for key, document in self.documents[variant].items():
            tests = [t for name, t in document["tests"].items() if test in (None, name)]
            confusions = [t["routes"][route.value]["confusion"] for t in tests if route.value in t["routes"]]
            if confusions:
                label_set = LabelSet.from_dict(document["label_set"])
                confusion = np.sum(np.array(confusions, dtype=np.int64), axis=0)
                points[key] = 100 * Scores(label_set, confusion, 0).miou_present()
        return points

    def tests(self) -> list[str]:
        """The names of all tests."""
        every = [document for runs in self.documents.values() for document in runs.values()]
        return list(dict.fromkeys(name for document in every for name in document["tests"]))

    def against_baseline(self, variant: str, route: Route) -> Summary | None:
        """How much better than the route's baseline a variant is; None without common runs."""
        baseline = self.comparison.baseline.get(route)
        if baseline in (None, variant):
            return None
        return summarise(differences(self.points(variant, route), self.points(str(baseline), route)))


@dataclass(frozen=True)
class Check:
    """One claim against one variant.

    Attributes:
        better: variant and route that shall be better.
        than: variant and route that it is compared with.
        by: by at least so many points.
        difference: what was found; None before there are common runs.
        runs: the runs that both are to have.
    """

    better: str
    than: str
    by: float
    difference: Summary | None
    runs: int

    @property
    def holds(self) -> bool | None:
        """Whether the mean difference is large enough; None if nothing can be said yet."""
        return None if self.difference is None else self.difference.mean >= self.by

    def text(self) -> str:
        """One line for people."""
        verdict = {True: "pass", False: "FAIL", None: "open"}[self.holds]
        found = "no common runs yet" if self.difference is None else self.difference.text(signed=True)
        missing = self.runs - (self.difference.runs if self.difference else 0)
        rest = f", {missing} of {self.runs} pairs not finished" if missing else ""
        return f"{verdict}: {self.better} - {self.than} = {found}, wanted ≥ {self.by:+.1f}{rest}"


def check(results: Results, claim: Claim) -> list[Check]:
    """A claim against each of the variants that it names."""
    checks = []
    runs = results.comparison.runs
    first = results.points(claim.better, claim.route)
    for other in claim.others:
        route = than_route(claim, results.routes(other))
        second = results.points(other, route) if route else {}
        keys = [{(run.fold, run.seed) for run in runs if run.variant == v} for v in (claim.better, other)]
        checks.append(
            Check(
                f"{claim.better} {claim.route.value}",
                f"{other} {route.value if route else ''}".strip(),
                claim.by,
                summarise(differences(first, second)),
                len(keys[0] & keys[1]),
            )
        )
    return checks


def than_route(claim: Claim, routes: Sequence[Route]) -> Route | None:
    """The route of the other variant that a claim means, of those that it has; None if it is unclear."""
    wanted = claim.than_route or claim.route
    if wanted in routes:
        return wanted
    return routes[0] if claim.than_route is None and len(routes) == 1 else None


def write_table(comparison: Comparison) -> str:
    """Write ``table.md`` and ``table.json`` of what is finished; returns the former's text."""
    results = Results(comparison)
    checks = [one for claim in comparison.claims for one in check(results, claim)]
    text = _markdown(results, checks)
    comparison.output.mkdir(parents=True, exist_ok=True)
    (comparison.output / "table.md").write_text(text, encoding="utf-8")
    write_json(comparison.output / "table.json", _document(results, checks))
    return text


def _markdown(results: Results, checks: list[Check]) -> str:
    parts = [_main_table(results)]
    folds, tests = results.comparison.folds, results.tests()
    for title, names, points in (
        ("fold", folds, _fold_points),
        ("test", tests, Results.points),
    ):
        if len(names) > 1:
            for route in Route:
                columns = [
                    {v: summarise(points(results, v, route, name)) for v in results.comparison.variants}
                    for name in names
                ]
                parts.append(_part_table(f"{route.value} by {title}", names, columns))
    parts += ["\n".join(_budget_lines(results)), _METHOD]
    if checks:
        parts.append("Claims:\n\n" + "\n".join(f"- {one.text()}" for one in checks))
    return "\n\n".join(part for part in parts if part) + "\n"


def _fold_points(results: Results, variant: str, route: Route, fold: str) -> Points:
    return {key: value for key, value in results.points(variant, route).items() if key[0] == fold}


def _main_table(results: Results) -> str:
    baseline = results.comparison.baseline
    routes = [r for r in Route if any(r in results.routes(v) for v in results.comparison.variants)]
    header = ["variant", "runs"]
    for route in routes:
        header += [route.value, *([f"- {baseline[route]}"] if route in baseline else [])]
    rows = []
    for variant in results.comparison.variants:
        row = [variant, f"{len(results.documents[variant])}/{results.planned[variant]}"]
        for route in routes:
            row.append(_text(summarise(results.points(variant, route))))
            if route in baseline:
                row.append(_text(results.against_baseline(variant, route), signed=True))
        rows.append(row)
    return _table(header, rows)


def _part_table(title: str, names: Sequence[str], columns: Sequence[Mapping[str, Summary | None]]) -> str:
    """Variants by folds or tests; nothing for a route that no variant has."""
    rows = [
        [variant, *(_text(column[variant]) for column in columns)]
        for variant in columns[0]
        if any(column[variant] for column in columns)
    ]
    return _table([title, *names], rows) if rows else ""


def _text(summary: Summary | None, *, signed: bool = False) -> str:
    return "" if summary is None else summary.text(signed=signed)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _budget_lines(results: Results) -> list[str]:
    documents = {v: list(runs.values()) for v, runs in results.documents.items() if runs}
    if not documents:
        return ["No run has finished yet."]
    every = [document for runs in documents.values() for document in runs]
    budget = {key: _span([d["budget"][key] for d in every]) for key in every[0]["budget"]}
    sizes = _span([size for d in every for test in d["tests"].values() for size in test["sizes"]])
    means = [
        f"{v} {runs[0]['budget']['parameters'] / 1e6:.2f} M parameters, "
        f"{fmean(d['seconds']['train']['wall'] for d in runs):.0f} s of training "
        f"({fmean(d['seconds']['train']['cpu'] for d in runs):.0f} s CPU)"
        for v, runs in documents.items()
    ]
    run = (
        f"Budget of a run: {budget['steps']} steps of {budget['batch']} samples ({budget['epochs']} epochs, "
        f"{budget['samples_seen']} samples seen), crops of {budget['crop']}, tested at {sizes}; "
        f"{budget['device']}, threads: {budget['threads']}."
    )
    return [run, "", f"Means per run: {'; '.join(means)}."]


def _span(values: list[Any]) -> str:
    """One text for equal values, a range for numbers that differ, a list for others."""
    texts = [" x ".join(map(str, value)) if isinstance(value, list) else str(value) for value in values]
    different = list(dict.fromkeys(texts))
    if len(different) > 1 and all(isinstance(value, int) for value in values):
        return f"{min(values)} to {max(values)}"
    return " or ".join(different)


def _document(results: Results, checks: list[Check]) -> dict[str, Any]:
    comparison = results.comparison
    variants = {}
    for variant in comparison.variants:
        routes = {}
        for route in results.routes(variant):
            points = results.points(variant, route)
            routes[route.value] = {
                "miou": _plain(summarise(points)),
                "baseline": comparison.baseline.get(route),
                "difference": _plain(results.against_baseline(variant, route)),
                "runs": {f"{fold}/seed{seed}": value for (fold, seed), value in points.items()},
                "folds": {
                    fold: _plain(summarise(_fold_points(results, variant, route, fold)))
                    for fold in comparison.folds
                },
                "tests": {
                    test: _plain(summarise(results.points(variant, route, test))) for test in results.tests()
                },
            }
        variants[variant] = {
            "finished": len(results.documents[variant]),
            "planned": results.planned[variant],
            "routes": routes,
        }
    return {
        "unit": _METHOD,
        "budget": _budget_lines(results),
        "variants": variants,
        "claims": [
            {**asdict(one), "difference": _plain(one.difference), "holds": one.holds} for one in checks
        ],
    }


def _plain(summary: Summary | None) -> dict[str, Any] | None:
    return None if summary is None else asdict(summary)
