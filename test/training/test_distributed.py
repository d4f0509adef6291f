"""Two processes train what one process trains with their joint batch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csk_ros.network import build_network, load_checkpoint
from csk_ros.training.run import train
from csk_ros.training.samplers import EpochSampler, ShareSampler
from csk_ros.training.settings import ContrastSettings, LoopSettings

TOLERANCE = 2e-5  # AdamW makes much of rounding where gradients are next to nothing


@settings(max_examples=50)
@given(
    length=st.integers(1, 60), batch=st.integers(1, 5), processes=st.integers(2, 4), used=st.integers(0, 3)
)
def test_processes_share_the_batches_of_one(length, batch, processes, used):
    joint = batch * processes
    alone = EpochSampler(length, 3, batch=joint, epoch=2, used=used)
    parts = [
        EpochSampler(length, 3, batch=batch, rank=rank, processes=processes, epoch=2, used=used)
        for rank in range(processes)
    ]
    whole = length // joint
    assert [len(part) for part in parts] == [whole * batch] * processes
    streams = [list(part) for part in parts]
    keys = list(alone)[: max(whole - used, 0) * joint]
    for step in range(max(whole - used, 0)):
        rows = [stream[step * batch : (step + 1) * batch] for stream in streams]
        assert list(chain(*rows)) == keys[step * joint : (step + 1) * joint]
    for sampler in (alone, *parts):  # what was used counts in its own epoch alone
        sampler.set_epoch(3)
    assert sorted(chain(*parts)) == sorted(list(alone)[: whole * joint])


@settings(max_examples=30)
@given(length=st.integers(1, 30), processes=st.integers(1, 5))
def test_shares_are_equally_long_and_hold_everything_once(length, processes):
    shares = [list(ShareSampler(length, rank, processes)) for rank in range(processes)]
    assert {len(share) for share in shares} == {-(-length // processes)}
    assert len(ShareSampler(length, 0, processes)) == len(shares[0])
    assert sorted(index for share in shares for index in share if index >= 0) == list(range(length))


def weights(run):
    return dict(load_checkpoint(Path(run.output) / "last.safetensors").network.state_dict())


def torchrun(run, processes):
    """Train in a process group of its own, of which nothing is left afterwards; gives what it printed."""
    config = Path(run.output).with_suffix(".yaml")
    config.write_text(json.dumps(run.to_dict()))  # which is YAML too
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    process = subprocess.Popen(
        [sys.executable, "-m", *launcher, "-m", "csk_ros.cli.main", "train", str(config)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=110)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0
    return printed


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(make_settings):
    """But for rounding, though class weights and unlabelled pixels differ between the processes."""
    base = make_settings(epochs=3)
    base = replace(
        base,
        data=replace(base.data, batch=4, train=["mfnet:{root}"] * 2, val=["mfnet:{root}"] * 2, crop=(48, 64)),
        loop=replace(base.loop, freeze_bn_stats="all", validate_every=3),
        optimizer=replace(base.optimizer, lr=1e-3),
    )
    alone = train(base)
    pair = replace(base, output=base.output + "_pair", data=replace(base.data, batch=2))
    assert torchrun(pair, processes=2).count("wrote") == 1

    run = Path(pair.output)
    assert [path.name for path in run.glob("logs/*")] == ["version_0"]
    training = load_checkpoint(run / "last.safetensors").training
    assert training["steps"] == 6
    for route, expected in alone.scores.items():
        assert training["scores"][route]["frames"] == expected["frames"] == 8
        assert training["scores"][route]["miou"] == pytest.approx(expected["miou"], abs=2e-3)

    torch.manual_seed(base.seed)
    start = build_network("csk", num_classes=9, **base.network.arguments).state_dict()
    one, two = weights(base), weights(pair)
    learnt = [key for key in one if "running" not in key and one[key].is_floating_point()]
    assert max(float((one[key] - start[key]).abs().max()) for key in learnt) > 2e-3
    assert max(float((one[key] - two[key]).abs().max()) for key in learnt) < TOLERANCE


@pytest.mark.slow
def test_two_processes_run_the_recipe_csk(make_settings):
    """Teacher first, then contrast before and after its warm-up."""
    base = make_settings(epochs=2)
    contrast = ContrastSettings(layer="layer2", warmup=0.5)
    run = replace(base, recipe="csk", contrast=contrast, data=replace(base.data, batch=1))
    assert torchrun(run, processes=2).count("wrote") == 1
    assert (Path(run.output) / "teacher" / "best.safetensors").is_file()
    assert load_checkpoint(Path(run.output) / "last.safetensors").training["steps"] == 4


def test_synchronised_batch_norms_need_cuda():
    with pytest.raises(ValueError, match=r"loop.sync_batchnorm is True: it needs loop.accelerator cuda"):
        LoopSettings(sync_batchnorm=True, accelerator="cpu")


def test_too_few_samples_for_the_processes_are_refused(make_settings, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.Trainer.world_size", 3)
    with pytest.raises(
        ValueError, match=r"data.train holds 4 samples, too few for data.batch 2 on each of 3"
    ):
        train(make_settings(epochs=1))
