from __future__ import annotations

import csv
import hashlib
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from csk_ros.labels import MFNET, LabelSet
from csk_ros.modality import Route
from csk_ros.network import build_network, load_checkpoint
from csk_ros.network.encoder import Encoder
from csk_ros.training.callbacks import StopOnInterrupt
from csk_ros.training.run import train
from csk_ros.training.start import make_network
from csk_ros.training.supervised import SupervisedModule, poly_with_warmup


def logged(run: Path, column: str) -> list[float]:
    values = []
    for path in sorted(run.glob("logs/version_*/metrics.csv")):
        with path.open() as file:
            values += [float(row[column]) for row in csv.DictReader(file) if row.get(column)]
    return values


def test_four_pictures_are_learnt_by_heart_and_the_checkpoint_says_how(make_settings):
    settings = make_settings(epochs=35)
    result = train(settings)
    assert not result.interrupted
    assert {route.value for route in Route} == set(result.scores)
    assert result.scores["FUSED"]["miou"] > 0.75
    assert result.scores["IR_ONLY"]["miou"] > 0.75
    assert set(result.scores["FUSED"]["iou"]) == {"background", "car", "person"}
    checkpoint = load_checkpoint(result.checkpoint)
    assert checkpoint.label_set == MFNET
    assert checkpoint.training["seed"] == 1
    assert checkpoint.training["steps"] == 70
    assert checkpoint.training["epochs"] == 35
    assert checkpoint.training["recipe"] == "supervised"
    assert checkpoint.training["scores"] == result.scores
    assert checkpoint.training["settings"]["optimizer"]["lr"] == 5e-3
    assert checkpoint.training["versions"]["torch"] == torch.__version__
    run = Path(settings.output)
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["batch"] == 2
    card = yaml.safe_load((run / "best.yaml").read_text())
    assert card["sha256"] == hashlib.sha256(result.checkpoint.read_bytes()).hexdigest()
    assert card["notice"] == checkpoint.training["notice"] == "made up"
    assert card["test"]["all"]["IR_ONLY"]["frames"] == 4
    assert card["test"]["all"]["IR_ONLY"]["miou"] == pytest.approx(
        result.scores["IR_ONLY"]["miou"], abs=2e-3
    )  # the same pictures, through the deployed Segmenter


def test_the_run_folder_is_never_overwritten(make_settings):
    settings = make_settings(epochs=1)
    Path(settings.output).mkdir()
    (Path(settings.output) / "keep").write_text("mine")
    with pytest.raises(FileExistsError, match=r"run.*--resume.*--output"):
        train(settings)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        train(settings, resume=True)


@pytest.fixture(scope="module")
def whole(make_settings):
    return train(make_settings(epochs=3))


@pytest.mark.parametrize(
    "step", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_resumed_run_equals_an_uninterrupted_one(make_settings, whole, step):
    part = make_settings(epochs=3)
    train_until(part, step=step)
    last = torch.load(Path(part.output) / "last.ckpt", weights_only=True)
    assert last["global_step"] == step
    resumed, steps = train_until(part, resume=True)
    assert steps == 6 - step
    first, second = (load_checkpoint(r.checkpoint) for r in (whole, resumed))
    assert second.training["steps"] == first.training["steps"] == 6
    for (name, a), b in zip(
        first.network.state_dict().items(), second.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, msg=name)


def train_until(settings, step=None, *, resume=False):
    """Train, press Ctrl-C in the given step, and count the steps."""
    original = SupervisedModule.training_step
    seen = []

    def counted(self, batch, index):
        seen.append(index)
        if len(seen) == step:
            signal.raise_signal(signal.SIGINT)  # os.kill may be answered a step later
        return original(self, batch, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SupervisedModule, "training_step", counted)
        result = train(settings, resume=resume)
    assert result.interrupted == (step is not None)
    return result, len(seen)


def test_ctrl_c_saves_and_is_given_back(make_settings):
    before = signal.getsignal(signal.SIGINT)
    result, _ = train_until(make_settings(epochs=5), step=3)
    assert signal.getsignal(signal.SIGINT) is before
    assert load_checkpoint(result.checkpoint).training["steps"] == 3


def test_going_on_from_a_checkpoint_starts_with_its_weights(make_settings):
    done = train(make_settings(epochs=1))
    settings = make_settings(epochs=1, checkpoint=str(done.checkpoint))
    torch.testing.assert_close(
        make_network(settings.network, MFNET, dict).state_dict(),
        dict(load_checkpoint(done.checkpoint).network.state_dict()),
    )
    make_network(
        settings.network, LabelSet(MFNET.names, ((1, 2, 3),) * len(MFNET)), dict
    )  # colours do not matter
    other = replace(settings.network, arguments={"decoder_width": 32})
    with pytest.raises(ValueError, match=r"network.checkpoint.*same network"):
        make_network(other, MFNET, dict)


@pytest.mark.parametrize("freeze", ["backbone", "all", "none"])
def test_frozen_statistics_stay_while_their_weights_learn(make_settings, freeze):
    settings = make_settings(epochs=1)
    settings = replace(settings, loop=replace(settings.loop, freeze_bn_stats=freeze))
    start = {k: v.clone() for k, v in seeded_network(settings).state_dict().items()}
    train(settings)
    end = load_checkpoint(Path(settings.output) / "last.safetensors").network
    encoder = next(m for m in end.modules() if isinstance(m, Encoder)).state_dict()
    moved = {
        kind: any(not torch.equal(v, start[f"encoder.{k}"]) for k, v in encoder.items() if k.endswith(kind))
        for kind in ("running_mean", "eo.weight", "ir.weight")
    }
    assert moved == {"running_mean": freeze == "none", "eo.weight": True, "ir.weight": True}
    decoder = end.state_dict()
    decoders = [k for k in start if "decoders" in k and "running" in k]
    assert any(not torch.equal(decoder[k], start[k]) for k in decoders) == (freeze != "all")


def seeded_network(settings):
    torch.manual_seed(settings.seed)
    return build_network("csk", num_classes=len(MFNET), **settings.network.arguments)


def test_the_learning_rate_rises_and_falls_to_zero(make_settings):
    settings = replace(make_settings(epochs=1).optimizer, warmup_steps=10, power=0.9)
    factors = [poly_with_warmup(step, 100, settings) for step in range(101)]
    assert np.all(np.diff(factors[:11]) > 0)
    assert np.all(np.diff(factors[10:]) < 0)
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5**0.9)
    assert factors[100] == 0


def test_ctrl_c_outside_the_main_thread_is_left_alone():
    before = signal.getsignal(signal.SIGINT)
    stop = StopOnInterrupt()

    def listen():
        stop.on_fit_start(None, None)
        stop.on_train_start(None, None)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before
