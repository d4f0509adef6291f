"""Runs that are stopped, killed, resumed, ended early, and that write what people look at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from csk_ros.labels import MFNET
from csk_ros.modality import Route
from csk_ros.network import load_checkpoint
from csk_ros.training import callbacks
from csk_ros.training.callbacks import SaveBestAndLast, ShowProgress, StopOnInterrupt
from csk_ros.training.run import train
from csk_ros.training.supervised import SupervisedModule


@pytest.fixture
def make(make_settings):
    """Settings of eight small pictures an epoch, two a step, with dropout and exchange left to chance."""

    def settings(epochs=2, *, data=None, **loop):
        base = make_settings(epochs=epochs)
        arguments = {**base.network.arguments, "decoder": "deeplabv3plus", "exchange_probability": 0.5}
        return replace(
            base,
            data=replace(
                base.data,
                **{"train": ["mfnet:{root}"] * 2, "crop": (32, 32), "test": {}, "cache": "none"}
                | (data or {}),
            ),
            network=replace(base.network, arguments=arguments),
            loop=replace(base.loop, **{"overlays": 0} | loop),
        )

    return settings


def weights(settings, name="last"):
    return dict(load_checkpoint(Path(settings.output) / f"{name}.safetensors").network.state_dict())


def saved(settings):
    return torch.load(Path(settings.output) / "last.ckpt", weights_only=True)


@contextmanager
def signal_after(moment, step):
    """Ctrl-C comes at the end of the ``step``-th call of a callback's method."""
    original, calls = moment[0].__dict__[moment[1]], []

    def patched(self, *arguments, **keywords):
        result = original(self, *arguments, **keywords)
        calls.append(1)
        if len(calls) == step:
            signal.raise_signal(signal.SIGINT)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*moment, patched)
        yield


@pytest.fixture(scope="module")
def whole():
    """Weights of uninterrupted runs, by what was asked for."""
    return {}


MOMENTS = {
    "in a step": (SupervisedModule, "training_step"),
    "between two steps": (ShowProgress, "on_train_batch_end"),
    "while saving": (SaveBestAndLast, "on_train_batch_end"),
    "while validating": (SupervisedModule, "validation_step"),
}


@pytest.mark.parametrize(
    ("moment", "accumulate", "steps"),
    [
        ("between two steps", 1, 3),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("in a step", 3, 1),
                ("in a step", 1, 2),
                ("while saving", 1, 3),
                ("while validating", 1, 4),
                ("between two steps", 3, 1),
                ("while validating", 3, 2),
            )
        ),
    ],
)
def test_stopped_whenever_it_was_a_run_goes_on_to_the_same_weights(make, whole, moment, accumulate, steps):
    options = {"validate_every": 1, "accumulate": accumulate}
    if accumulate not in whole:
        settings = make(**options)
        train(settings)
        whole[accumulate] = weights(settings)
    settings = make(**options)
    with signal_after(MOMENTS[moment], step=2):
        result = train(settings)
    assert result.interrupted
    assert saved(settings)["global_step"] == steps
    assert not train(settings, resume=True).interrupted
    torch.testing.assert_close(weights(settings), whole[accumulate], rtol=0, atol=0)


def test_a_second_ctrl_c_stops_at_once_but_one_that_comes_twice_is_one(make, monkeypatch):
    monkeypatch.setattr(callbacks, "_ONCE_S", 0.2)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop = StopOnInterrupt()
    stop.on_fit_start(None, None)
    stop.on_train_start(None, None)
    try:
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        assert stop.interrupted
        time.sleep(0.25)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        stop.teardown(None, None, "fit")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def killed(settings):
    """Start the run as a process of its own and kill it as soon as it has saved within an epoch."""
    folder = Path(settings.output)
    config = folder.with_name("config.yaml")
    config.write_text(json.dumps(settings.to_dict()))  # which is YAML too
    command = [sys.executable, "-m", "csk_ros.cli.main", "train", str(config)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # sums in the order of this process
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        deadline = time.monotonic() + 100
        while not (folder / "last.ckpt").exists():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on_to_the_same_weights(make, workers):
    settings = make(epochs=2, data={"workers": workers, "train": ["mfnet:{root}"] * 6}, save_every=5)
    killed(settings)
    assert 0 < saved(settings)["global_step"] < 12
    assert not (Path(settings.output) / "last.safetensors").exists()
    resumed = train(settings, resume=True)
    undisturbed = replace(settings, output=settings.output + "_undisturbed")
    expected = train(undisturbed)
    torch.testing.assert_close(weights(settings), weights(undisturbed), rtol=0, atol=0)
    assert resumed.scores == expected.scores


@pytest.mark.parametrize("step", [3, 4])
@pytest.mark.slow
def test_loading_processes_go_on_in_the_right_epoch(make, step):
    settings = make(epochs=2, data={"workers": 1})
    with signal_after(MOMENTS["in a step"], step=step):
        train(settings)
    train(settings, resume=True)
    undisturbed = make(epochs=2)
    train(undisturbed)
    torch.testing.assert_close(weights(settings), weights(undisturbed), rtol=0, atol=0)


@pytest.mark.slow
def test_a_run_that_gets_no_better_ends_and_stays_ended(make):
    settings = make(epochs=9, validate_every=1, patience=2, freeze_bn_stats="all")
    settings = replace(settings, optimizer=replace(settings.optimizer, lr=1e-12))
    train(settings)
    assert saved(settings)["epoch"] == 2  # the first is the best, then two no better ones
    best = load_checkpoint(Path(settings.output) / "best.safetensors")
    assert best.training["epochs"] == 1
    before = weights(settings)
    result = train(settings, resume=True)
    assert saved(settings)["epoch"] == 2
    assert result.scores
    torch.testing.assert_close(weights(settings), before, rtol=0, atol=0)
    train(replace(settings, loop=replace(settings.loop, patience=3)), resume=True)
    assert saved(settings)["epoch"] == 3


@pytest.mark.slow
def test_steps_in_bfloat16_train(make):
    settings = make(epochs=1, precision="bf16-mixed")
    train(settings)
    start = make(epochs=1)
    train(start)
    ended, exact = weights(settings), weights(start)
    assert all(value.isfinite().all() for value in ended.values())
    assert any(not torch.equal(ended[key], exact[key]) for key in ended)
    assert {value.dtype for value in ended.values()} == {value.dtype for value in exact.values()}


def test_the_run_can_be_watched(make, monkeypatch):
    def knowing(module, batch):  # a network that answers with the labels, but for one route
        labels = np.where(batch["labels"] == 255, 3, batch["labels"]).astype(np.uint8)
        return {route: labels if route is not Route.EO_ONLY else 0 * labels for route in module.routes}

    monkeypatch.setattr(SupervisedModule, "answers", knowing)
    settings = make(epochs=1, overlays=2)
    train(settings)
    run = Path(settings.output)
    picture = cv2.cvtColor(cv2.imread(str(run / "samples" / "epoch_0001.png")), cv2.COLOR_BGR2RGB)
    assert picture.shape == (26 + 2 * 240 + 26, 6 * 320, 3)
    frames = picture[26:-26]
    _, ir, labels, fused, ir_only, eo_only = (frames[:, 320 * i : 320 * (i + 1)] for i in range(6))
    labelled = slice(60, 200)  # rows of the first frame; its first ones have no labels
    assert np.array_equal(labels[labelled], fused[labelled])
    assert np.array_equal(labels[labelled], ir_only[labelled])
    assert not np.array_equal(labels[labelled], eo_only[labelled])
    car = 0.65 * np.array(MFNET.colors[1]) + 0.35 * 160  # the class's colour over a grey of 160
    np.testing.assert_allclose(labels[120, 50], car, atol=2)
    assert tuple(ir[120, 50]) == (160, 160, 160)

    (version,) = run.glob("logs/version_*")
    assert (version / "metrics.csv").is_file()
    events = EventAccumulator(str(version)).Reload()
    assert {"miou", "miou/IR_ONLY", "miou/FUSED"} <= set(events.Tags()["scalars"])
    (shown,) = events.Images("samples")
    assert (shown.width, shown.height) == (picture.shape[1], picture.shape[0])


def test_without_overlays_nothing_is_drawn(make):
    settings = make(epochs=1)
    train(settings)
    assert not (Path(settings.output) / "samples").exists()
