from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import yaml

from csk_ros.cli.compare import read_flags
from csk_ros.cli.main import main
from csk_ros.evaluation.routes import score_routes
from csk_ros.modality import Route
from csk_ros.network import load_checkpoint
from csk_ros.share import share_path
from csk_ros.training import comparison_run
from csk_ros.training.comparison import check_claims, run_all
from csk_ros.training.comparison_progress import Progress
from csk_ros.training.comparison_spec import read_comparison
from csk_ros.training.comparison_state import complete_settings, refuse_changed, result_of
from csk_ros.training.files import sha256, write_json
from csk_ros.training.samples import JoinedSamples
from csk_ros.training.supervised import SupervisedModule

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"decoder_width": 16, "output_stride": 32}
VARIANTS = {
    "csk": {"recipe": "csk", "network.name": "csk", "teacher.checkpoint": "{run:single_eo}"},
    "csk_plain": {"like": "csk", "contrast.weight": 0, "seeds": [1], "folds": ["day"]},
    "single_eo": {"network.name": "single", "network.arguments": {"modality": "eo", **SMALL}},
}


@pytest.fixture
def write_spec(squares, tmp_path):
    """Writes base.yaml and a specification with changes, and gives the latter's path."""

    def write(**changes) -> Path:
        base = {
            "output": "elsewhere",
            "data": {
                "train": ["mfnet:{root}"],
                "val": ["mfnet:{root}"],
                "train_split": "train",
                "val_split": "val",
                "root": str(squares),
                "crop": [64, 96],
                "augmentation": None,
                "batch": 2,
                "workers": 0,
                "cache": "ram",
            },
            "network": {"arguments": {**SMALL, "exchange_direction": "ir_to_eo"}},
            "optimizer": {"lr": 5e-3, "warmup_steps": 2},
            "loop": {"epochs": 2, "validate_every": 2, "accelerator": "cpu"},
        }
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
        spec = {
            "base": "base.yaml",
            "output": str(tmp_path / "out"),
            "seeds": [0, 1],
            "folds": {"day": None, "night": {"data.train_split": "val"}},
            "tests": {"all": "mfnet:{root}"},
            "variants": VARIANTS,
            **changes,
        }
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump(spec, sort_keys=False))
        return path

    return write


def names(runs) -> list[str]:
    return [run.name for run in runs]


def test_runs_are_ordered_by_seed_then_fold_and_behind_what_they_need(write_spec):
    comparison = read_comparison(write_spec())
    assert names(comparison.runs) == [
        "single_eo/day/seed0",
        "csk/day/seed0",
        "single_eo/night/seed0",
        "csk/night/seed0",
        "single_eo/day/seed1",
        "csk/day/seed1",
        "csk_plain/day/seed1",
        "single_eo/night/seed1",
        "csk/night/seed1",
    ]
    assert names(comparison.chosen(["csk"], [1])) == [
        "single_eo/day/seed1",
        "csk/day/seed1",
        "single_eo/night/seed1",
        "csk/night/seed1",
    ]
    with pytest.raises(ValueError, match="--only: there is no 'cks', only csk"):
        comparison.chosen(["cks"], None)


def test_settings_are_those_of_base_fold_variant_and_flags(write_spec):
    spec = write_spec(
        settings={
            "optimizer.lr": "1e-3",
            "optimizer": {"clip": 2.0},
            "network.arguments.gate": "concatenation",
            "network.checkpoint": "{variant}-{fold}-{seed}",
        }
    )
    comparison = read_comparison(spec, {"data.batch": 4, "optimizer.lr": 7e-3, "contrast.weight": 0.5})
    plain = next(run for run in comparison.runs if run.variant == "csk_plain")
    assert plain.settings.recipe == "csk"
    assert plain.settings.contrast.weight == 0  # the variant's own
    assert plain.settings.seed == 1
    assert plain.settings.data.batch == 4
    assert plain.settings.optimizer.lr == 7e-3
    assert plain.settings.optimizer.clip == 2
    assert plain.settings.optimizer.warmup_steps == 2  # a section is changed, not replaced
    assert plain.settings.data.test == {"all": "mfnet:{root}"}
    assert plain.settings.network.arguments["exchange_direction"] == "ir_to_eo"
    assert plain.settings.network.arguments["gate"] == "concatenation"
    elsewhere = read_comparison(spec, output="elsewhere")
    assert {run.folder.parts[0] for run in elsewhere.runs} == {"elsewhere"}
    with pytest.raises(ValueError, match="seed is set by the comparison itself"):
        read_comparison(spec, {"seed": 3})
    filled = plain.filled()
    assert filled["teacher"]["checkpoint"] == str(
        comparison.output / "single_eo/day/seed1/training/last.safetensors"
    )
    assert filled["network"]["checkpoint"] == "csk_plain-day-1"
    assert filled["seed"] == 1
    single = comparison.runs[2]
    assert single.name == "single_eo/night/seed0"
    assert single.settings.network.arguments == {"modality": "eo", **SMALL}  # a mapping is replaced
    assert single.settings.data.train_split == "val"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"variants": {"a": {"like": "b"}}}, "a.like: there is no 'b', only a"),
        ({"variants": {"a": {"like": "b"}, "b": {"like": "a"}}}, "like each other in a circle: a -> b -> a"),
        ({"variants": {"a": {"seeds": [7]}}}, "a.seeds: there is no 7, only 0, 1"),
        ({"variants": {"a": {"folds": ["dusk"]}}}, "a.folds: there is no 'dusk'"),
        ({"variants": {"a": {"seed": 3}}}, "seed is set by the comparison itself"),
        ({"variants": {"a/b": None}}, "variant 'a/b': use letters"),
        ({"variants": {}}, "variants: name at least one"),
        ({"seeds": [0, 0]}, "seeds are"),
        ({"seeds": ["many"]}, "seeds"),
        ({"tests": {}}, "has no tests"),
        ({"variants": {"a": {"optimizer.speed": 1}}}, "a/day/seed0: "),
        ({"variants": {"a": {"data.batch": 0}}}, "data.batch is 0: use 1 or more"),
        ({"variants": {"a": {"data.batch.x": 0}}}, "cannot set batch.x: batch is 2"),
        ({"variants": {"a": {"network.checkpoint": "{run:b}"}}}, "a/day/seed0 needs 'b'"),
        (
            {"variants": {"a": {"network.checkpoint": "{run:b}"}, "b": {"seeds": [0]}}},
            "a/day/seed1 needs 'b', which has no run of fold day with seed 1",
        ),
        (
            {"variants": {"a": {"network.checkpoint": "{run:b}"}, "b": {"teacher.checkpoint": "{run:a}"}}},
            "need each other in a circle: a, b",
        ),
        ({"claims": [{"better": "x", "route": "FUSED", "than": "csk"}]}, "claims: there is no 'x'"),
        ({"claims": [{"better": "csk", "route": "fused", "than": "csk"}]}, "claims"),
        ({"baseline": {"FUSED": "x"}}, "baseline: there is no 'x'"),
        ({"baseline": {"fused": "csk"}}, "baseline: there is no 'fused'"),
        ({"base": "no.yaml"}, "no.yaml"),
        ({"variant": {}}, "variant"),
    ],
)
def test_a_wrong_specification_is_one_clear_line_before_anything_runs(changes, words, write_spec, capsys):
    spec = write_spec(**changes)
    assert main(["compare", str(spec)]) == 1
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not (spec.parent / "out").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network.arguments": {"speed": 3}}, "single_eo/day/seed0: network 'single' cannot be built"),
        ({"data.root": "nowhere"}, "nowhere is not a folder"),
        ({"data.test_split": "tset"}, "unknown split 'tset'"),
        (
            {"network.backbone_weights": "no.safetensors"},
            "backbone_weights: there is no file no.safetensors: name another, or run first what",
        ),
    ],
)
def test_networks_data_and_files_are_checked_before_anything_runs(changes, words, write_spec, capsys):
    variants = {"single_eo": {**VARIANTS["single_eo"], **changes}}
    spec = write_spec(variants=variants)
    assert main(["compare", str(spec)]) == 1
    assert words in capsys.readouterr().err
    assert not (spec.parent / "out").exists()


def test_claims_about_routes_that_a_network_lacks_are_refused(write_spec):
    ambiguous = {"better": "single_eo", "route": "EO_ONLY", "than": "csk", "than_route": "IR_ONLY"}
    check_claims(read_comparison(write_spec(claims=[ambiguous])))
    for wrong in ({"route": "FUSED"}, {"better": "csk", "than": "single_eo", "than_route": "IR_ONLY"}):
        with pytest.raises(ValueError, match=r"names a route that one of them lacks"):
            check_claims(read_comparison(write_spec(claims=[{**ambiguous, **wrong}])))


@pytest.mark.parametrize("name", ["scenes", pytest.param("mfnet", marks=pytest.mark.slow)])
def test_the_shipped_specifications_can_be_read(name):
    comparison = read_comparison(share_path(f"config/compare/{name}.yaml"), {"data.root": "somewhere"})
    check_claims(comparison)
    single = next(run for run in comparison.runs if run.variant == "single_ir").settings
    assert single.network.arguments["modality"] == "ir"
    for run in comparison.runs:
        assert run.settings.loop == single.loop
        assert run.settings.optimizer == single.optimizer
        if name == "mfnet":  # one of four blocks is left out
            blocks = run.settings.data.train_split.split("+")
            assert len({*blocks, run.settings.data.test_split}) == 4
            assert run.settings.data.val_split in blocks


def test_flags_are_read_as_yaml():
    assert read_flags(["--a.b", "3", "--c=[1, x]", "--d", "null"]) == {"a.b": 3, "c": [1, "x"], "d": None}
    for wrong in (["a"], ["--a"], ["--a", "[1"]):
        with pytest.raises(ValueError, match="a"):
            read_flags(wrong)


# What is done already.


def pretend_trained(run) -> None:
    run.training.mkdir(parents=True)
    (run.training / "last.ckpt").write_bytes(b"")
    run.weights.write_text(run.name)
    needs = {variant: sha256(run.needed(variant)) for variant in run.needs}
    job = {"settings": complete_settings(run), "needs": needs}
    write_json(run.folder / "run.json", job)
    write_json(run.folder / "result.json", {**job, "tests": {}})


def test_a_changed_specification_is_refused_with_run_and_key(write_spec):
    comparison = read_comparison(write_spec())
    for run in comparison.runs[:2]:
        pretend_trained(run)
    read = partial(read_comparison, write_spec())
    refuse_changed(read().runs)
    refuse_changed(read({"data.root": "moved", "data.workers": 2}).runs)
    with pytest.raises(ValueError, match=r"single_eo/day/seed0 was trained with optimizer.lr = 0.005.* 0.1:"):
        refuse_changed(read({"optimizer.lr": 0.1}).runs)
    with pytest.raises(ValueError, match=r"network.arguments.gate = nothing, now .* own"):
        refuse_changed(read({"network.arguments.gate": "own"}).runs)
    (single,) = (run for run in read({"contrast.temperature": 0.07}).runs[:1] if run.variant == "single_eo")
    refuse_changed([single])  # it has no contrast
    variants = {**VARIANTS, "csk": {**VARIANTS["csk"], "contrast.temperature": 0.07}}
    with pytest.raises(ValueError, match=r"csk/day/seed0 was trained with contrast.temperature = 0.1"):
        refuse_changed(read_comparison(write_spec(variants=variants)).runs)


def test_settings_that_came_into_being_later_count_with_their_defaults(write_spec):
    runs = read_comparison(write_spec()).runs
    pretend_trained(runs[0])
    stored = json.loads((runs[0].folder / "run.json").read_text())
    del stored["settings"]["contrast"]
    write_json(runs[0].folder / "run.json", stored)
    refuse_changed(runs)


def test_other_weights_of_a_needed_run_are_refused(write_spec):
    runs = read_comparison(write_spec()).runs
    for run in runs[:2]:
        pretend_trained(run)
    runs[0].weights.write_text("other")
    with pytest.raises(ValueError, match=r"csk/day/seed0 was trained from weights of single_eo"):
        refuse_changed(runs)


def test_changed_tests_are_a_reason_to_score_again_not_to_refuse(write_spec):
    run = read_comparison(write_spec()).runs[0]
    pretend_trained(run)
    assert result_of(run) is not None
    changed = read_comparison(write_spec(tests={"all": "mfnet:{root}", "more": "mfnet:{root}"})).runs[0]
    refuse_changed([changed])
    assert result_of(changed) is None


# The processes.


class Lines(Progress):
    """Keeps what it is told, and presses Ctrl-C when asked to."""

    def __init__(self, runs, jobs, interrupt_at=None):
        super().__init__(runs, jobs)
        self.lines = []
        self.most = 0
        self.interrupt_at = interrupt_at

    def note(self, text):
        self.lines.append(text)

    def show(self):
        self.most = max(self.most, len(self._going))
        if self.interrupt_at and self.interrupt_at.exists():
            raise KeyboardInterrupt


def shell(script, run):
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            ["sh", "-c", script.format(variant=run.variant, folder=run.folder, out=run.root)],
            stdin=subprocess.PIPE,
            stdout=log,
            start_new_session=True,
        )


def test_runs_wait_for_what_they_need_and_for_a_free_job(write_spec):
    runs = read_comparison(write_spec()).runs[:4]
    progress = Lines(runs, 2)
    ended = []
    script = "echo {folder} >> {out}/order; sleep 0.1; touch {folder}/done"
    assert run_all(runs, 2, partial(shell, script), progress, ended=lambda: ended.append(1)) == {}
    order = (runs[0].root / "order").read_text().split()
    assert sorted(order[:2]) == [str(runs[i].folder) for i in (0, 2)]
    assert sorted(order[2:]) == [str(runs[i].folder) for i in (1, 3)]
    assert progress.most == 2
    assert len(ended) == 4


def test_a_failing_run_shows_its_log_and_leaves_the_others_alone(write_spec):
    runs = read_comparison(write_spec(variants={**VARIANTS, "early": {"network.name": "early"}})).runs[:3]
    assert names(runs) == ["single_eo/day/seed0", "csk/day/seed0", "early/day/seed0"]
    progress = Lines(runs, 1)
    script = "[ {variant} = early ] && exit 0; for i in $(seq 40); do echo line $i; done; echo boom; exit 3"
    failed = run_all(runs, 1, partial(shell, script), progress, ended=lambda: None)
    assert failed == {"single_eo/day/seed0": "exit code 3", "csk/day/seed0": "needs single_eo/day/seed0"}
    told = "\n".join(progress.lines)
    assert "single_eo/day/seed0 failed with exit code 3" in told
    assert "line 40\n  boom" in told
    assert "line 20\n" not in told
    assert "csk/day/seed0 is left out: it needs single_eo/day/seed0, which failed" in told


def test_ctrl_c_lets_the_runs_save(write_spec):
    run = read_comparison(write_spec()).runs[0]
    script = "touch {folder}/going; cat > /dev/null; sleep 0.3; touch {folder}/saved"
    progress = Lines([run], 1, interrupt_at=run.folder / "going")
    with pytest.raises(KeyboardInterrupt):
        run_all([run], 1, partial(shell, script), progress, ended=lambda: None)
    assert (run.folder / "saved").exists()


def test_a_second_ctrl_c_kills_them(write_spec, monkeypatch):
    run = read_comparison(write_spec()).runs[0]
    progress = Lines([run], 1, interrupt_at=run.folder / "going")
    monkeypatch.setattr(progress, "note", lambda text: os.kill(os.getpid(), signal.SIGINT))
    script = "touch {folder}/going; sleep 60"
    progress._live = True  # as on a terminal: starts and ends are no lines
    monkeypatch.setattr(progress, "close", lambda: None)
    begun = time.monotonic()
    processes = []

    def start(run):
        processes.append(shell(script, run))
        return processes[0]

    with pytest.raises(KeyboardInterrupt):
        run_all([run], 1, start, progress, ended=lambda: None)
    assert processes[0].wait() == -signal.SIGKILL
    assert time.monotonic() - begun < 20


def test_time_left_is_told_from_runs_of_the_same_variant(write_spec):
    runs = read_comparison(write_spec()).runs[:4]
    assert Progress(runs, 1).seconds_left() is None
    for run, wall in ((runs[0], 100.0), (runs[1], 300.0)):
        pretend_trained(run)
        result = json.loads((run.folder / "result.json").read_text())
        result["seconds"] = {"train": {"wall": wall}, "score": {"wall": 20.0}}
        write_json(run.folder / "result.json", result)
    assert Progress(runs, 1).seconds_left() == pytest.approx(120 + 320)
    assert Progress(runs, 2).seconds_left() == pytest.approx((120 + 320) / 2)
    assert Progress(runs, 1).text() == "2/4 runs finished; about 7 min left"


# One run.


def write_job(run) -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    job = {
        "run": {"variant": run.variant, "fold": run.fold, "seed": run.seed},
        "settings": complete_settings(run),
        "filled": run.filled(),
        "needs": {},
        "threads": 1,
    }
    write_json(run.folder / "run.json", job)


def test_a_run_scores_its_last_weights_and_goes_on_after_a_stop(write_spec, squares):
    spec = write_spec(tests={"a": "mfnet:{root}", "b": "mfnet:{root}"}, settings={"loop.epochs": 3})
    run = read_comparison(spec).runs[0]
    write_job(run)
    run.training.mkdir()
    (run.training / "config.yaml").write_text("of a run that was killed before it saved")
    assert stopped_at(3, run.folder) == comparison_run.INTERRUPTED
    assert not (run.folder / "result.json").exists()
    assert torch.load(run.training / "last.ckpt", weights_only=True)["global_step"] == 3
    assert comparison_run.finish(run.folder) == 0
    result = json.loads((run.folder / "result.json").read_text())
    assert result["run"] == {"variant": "single_eo", "fold": "day", "seed": 0}
    budget = result["budget"]
    assert (budget["steps"], budget["batch"], budget["samples_seen"], budget["crop"]) == (6, 2, 12, [64, 96])
    checkpoint = load_checkpoint(run.weights)
    assert budget["parameters"] == sum(p.numel() for p in checkpoint.network.parameters())
    assert result["weights"]["sha256"] == sha256(run.weights) != sha256(run.training / "best.safetensors")
    (truth,) = score_routes(checkpoint, JoinedSamples.open([f"mfnet:{squares}"], None), device="cpu").values()
    assert list(result["tests"]) == ["a", "b"]
    for test in result["tests"].values():
        assert list(test["routes"]) == ["EO_ONLY"]
        assert test["sizes"] == [[64, 96]]
        np.testing.assert_array_equal(test["routes"]["EO_ONLY"]["confusion"], truth.confusion)
        assert test["routes"]["EO_ONLY"]["miou_present"] == truth.miou_present()
    # A run that was trained is only scored.
    (run.folder / "result.json").unlink()
    assert stopped_at(1, run.folder) == 0
    assert result_of(run) is not None


def stopped_at(step: int, folder: Path) -> int:
    """Finish a run with Ctrl-C in the given step."""
    original = SupervisedModule.training_step
    seen = []

    def counted(self, batch, index):
        seen.append(index)
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SupervisedModule, "training_step", counted)
        return comparison_run.finish(folder)


# The whole.


def csk(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "csk_ros.cli.main", "compare", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        **options,
    )


def wait_for(path: Path, process) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_comparison_that_is_stopped_goes_on_to_the_same_table(write_spec, stop):
    variants = {
        "csk": {**VARIANTS["csk"], "contrast.dimensions": 8, "loop.epochs": 12},
        "single_eo": VARIANTS["single_eo"],
        "broken": {"network.checkpoint": str(write_spec())},
    }
    spec = write_spec(variants=variants, folds={"all": None}, seeds=[0])
    out = spec.parent / "out"
    runs = read_comparison(spec).runs
    first = csk(spec, "--jobs", 2)
    wait_for(out / "csk/all/seed0/training/last.ckpt", first)
    first.send_signal(stop)
    first.communicate()
    assert first.returncode == (130 if stop == signal.SIGINT else -signal.SIGKILL)
    lock = csk(spec)  # runs of a killed comparison save before anything else may start
    while "still saving" in (text := lock.communicate())[1]:
        time.sleep(0.5)
        lock = csk(spec)
    assert lock.returncode == 1, text
    assert "broken/all/seed0 failed with exit code 1" in text[1]
    assert "1 of 3 runs failed: broken/all/seed0" in text[1]
    assert "| csk | 1/1 |" in text[0]
    table = json.loads((out / "table.json").read_text())["variants"]
    assert table["csk"]["finished"] == table["single_eo"]["finished"] == 1
    assert set(table["csk"]["routes"]) == {route.value for route in Route}
    result = json.loads((out / "csk/all/seed0/result.json").read_text())
    assert result["budget"]["steps"] == 24
    assert result["needs"] == {"single_eo": sha256(runs[0].weights)}
    again = csk(spec, "--table-only")
    assert "| csk | 1/1 |" in again.communicate()[0]
    assert again.returncode == 0
