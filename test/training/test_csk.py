"""The recipe csk on four small pictures: what is taught to whom, and what is left of it afterwards."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from csk_ros.labels import MFNET, LabelSet
from csk_ros.modality import Modality, Route
from csk_ros.network import DEFAULT_NORMALISATION, build_network, load_checkpoint, save_checkpoint
from csk_ros.network.exchange import NO_STAGES, PAPER_STAGES
from csk_ros.training.csk import CskModule, load_teacher, teacher_settings
from csk_ros.training.run import train
from csk_ros.training.settings import (
    ContrastSettings,
    DistillationSettings,
    NetworkSettings,
    TeacherSettings,
)
from csk_ros.training.start import make_network, start_from_teacher
from csk_ros.training.supervised import SupervisedModule

SMALL = {"decoder_width": 16, "output_stride": 32}


@pytest.fixture
def csk_settings(make_settings):
    def make(epochs: int = 1, **sections):
        base = make_settings(epochs=epochs)
        return replace(base, recipe="csk", contrast=ContrastSettings(layer="layer2", warmup=0.0), **sections)

    return make


def module_with_teacher(settings, **exchange):
    torch.manual_seed(0)
    teacher = build_network("single", num_classes=9, modality="eo", **SMALL).eval()
    exchange = {"exchange_stages": PAPER_STAGES, **exchange}
    network = build_network("csk", num_classes=9, **SMALL, **exchange).train()
    return CskModule(
        network,
        settings,
        teacher=teacher,
        label_set=MFNET,
        normalisation=DEFAULT_NORMALISATION,
        class_weights=None,
    )


def batch():
    generator = torch.Generator().manual_seed(0)
    return {
        "eo": torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=generator),
        "ir": torch.randint(0, 256, (2, 1, 64, 96), dtype=torch.uint8, generator=generator),
        "labels": torch.randint(0, 3, (2, 64, 96), generator=generator),
    }


def norms(network, modality: Modality):
    return {name: p for name, p in network.encoder.named_parameters() if f".{modality.value}." in name}


def touched(parameters) -> set[str]:
    return {n for n, p in parameters.items() if p.grad is not None and p.grad.abs().sum() > 0}


@pytest.mark.parametrize("direction", ["ir_to_eo", "both"])
@pytest.mark.parametrize("part", ["pixel", "feature"])
def test_distillation_teaches_eo_and_the_shared_convolutions_but_no_ir_norm(csk_settings, direction, part):
    distillation = DistillationSettings(**{"pixel": 0.0, "feature": 0.0, part: 1.0})
    module = module_with_teacher(csk_settings(distillation=distillation), exchange_direction=direction)
    data = batch()
    output = module.network.forward_heads(**module.inputs(data, (Modality.EO, Modality.IR)))
    losses = module._distillation(output, data)
    assert set(losses) == {part}
    losses[part].backward()
    network = module.network
    assert touched(norms(network, Modality.EO))
    assert touched(norms(network, Modality.IR)) == set()
    assert touched(dict(network.decoders["ir"].named_parameters())) == set()
    assert touched({n: p for n, p in network.encoder.named_parameters() if p.ndim == 4})
    assert all(p.grad is None for p in module._teacher[0].parameters())


def test_with_flowing_gradients_the_ir_norms_would_be_taught(csk_settings):
    module = module_with_teacher(csk_settings(), exchange_direction="ir_to_eo", exchange_gradient="flow")
    data = batch()
    output = module.network.forward_heads(**module.inputs(data, (Modality.EO, Modality.IR)))
    module._distillation(output, data)["pixel"].backward()
    assert touched(norms(module.network, Modality.IR))


def test_the_fusion_head_teaches_both_others_and_learns_nothing_from_it(csk_settings):
    settings = csk_settings(distillation=DistillationSettings(pixel=0.0, feature=0.0, fused=1.0))
    module = module_with_teacher(settings, exchange_stages=NO_STAGES)
    output = module.network.forward_heads(**module.inputs(batch(), (Modality.EO, Modality.IR)))
    module._from_fused(output).backward()
    heads = {route: module.network.heads[route.value].weight.grad for route in Route}
    assert heads[Route.FUSED] is None
    assert all(heads[route].abs().sum() > 0 for route in (Route.EO_ONLY, Route.IR_ONLY))
    assert all(parameter.grad is None for parameter in module.network.fusion.parameters())
    assert not settings.distillation.wants_teacher


def test_a_run_trains_its_teacher_once_and_leaves_no_trace_in_what_is_deployed(csk_settings):
    settings = csk_settings(epochs=2, teacher=TeacherSettings(epochs=1))
    result = train(settings)
    folder = Path(settings.output)
    teacher = load_checkpoint(folder / "teacher" / "best.safetensors")
    assert teacher.network.routes == {Route.EO_ONLY}
    assert teacher.training["steps"] == 2
    checkpoint = load_checkpoint(result.checkpoint)
    assert checkpoint.training["recipe"] == "csk"
    assert checkpoint.training["settings"]["distillation"]["pixel"] == 2.0
    plain = build_network(**{"name": "csk", **checkpoint.network.architecture["arguments"]})
    with safe_open(result.checkpoint, "pt") as file:
        assert set(file.keys()) == set(plain.state_dict())
    resume = torch.load(folder / "last.ckpt", weights_only=True)
    assert not any("teacher" in name for name in resume["state_dict"])
    assert any(name.startswith("contrast.project") for name in resume["state_dict"])


def test_a_run_stopped_in_its_teacher_goes_on_there(csk_settings):
    settings = csk_settings(teacher=TeacherSettings(epochs=2))
    original, seen = SupervisedModule.training_step, []

    def counted(self, data, index):
        seen.append(type(self).__name__)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, data, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SupervisedModule, "training_step", counted)
        assert train(settings).interrupted
        result = train(settings, resume=True)
    assert not result.interrupted
    assert seen == ["SupervisedModule"] * 4 + ["CskModule"] * 2


def test_a_teacher_that_is_there_is_taken(csk_settings, tmp_path):
    path = tmp_path / "eo.safetensors"
    network = build_network("single", num_classes=9, modality="eo", **SMALL)
    save_checkpoint(path, network, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    settings = csk_settings(teacher=TeacherSettings(checkpoint=str(path)))
    result = train(settings)
    assert not (Path(settings.output) / "teacher").exists()
    assert (
        load_checkpoint(result.checkpoint).training["settings"]["teacher"]["checkpoint"] == "eo.safetensors"
    )


def test_teachers_that_cannot_teach_are_refused(csk_settings, tmp_path):
    path = tmp_path / "t.safetensors"
    eo = DEFAULT_NORMALISATION[Modality.EO]
    thermal = build_network("single", num_classes=9, modality="ir", **SMALL)
    save_checkpoint(path, thermal, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    with pytest.raises(ValueError, match="does not run on EO alone"):
        load_teacher(str(path), MFNET, eo)
    optical = build_network("single", num_classes=9, modality="eo", **SMALL)
    save_checkpoint(path, optical, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    other = LabelSet(tuple("abcdefghi"), MFNET.colors)
    with pytest.raises(ValueError, match="same classes"):
        load_teacher(str(path), other, eo)
    with pytest.raises(ValueError, match="eo_mean"):
        load_teacher(str(path), MFNET, replace(eo, mean=(0.1, 0.2, 0.3)))
    with pytest.raises(ValueError, match=r"recipe is .csk.: it trains network\.name csk, not early"):
        replace(csk_settings(), network=NetworkSettings(name="early"))


@pytest.mark.slow
def test_contrast_waits_for_its_warm_up_and_can_be_switched_off(csk_settings):
    half = ContrastSettings(layer="layer2", warmup=0.5)
    distillation = DistillationSettings(pixel=0.0, feature=0.0)
    settings = replace(csk_settings(epochs=2, distillation=distillation), contrast=half)
    on = []
    original = CskModule.extra_losses

    def spied(self, output, data):
        losses = original(self, output, data)
        on.append("contrast" in losses and float(losses["contrast"].detach()) > 0)
        return losses

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CskModule, "extra_losses", spied)
        train(settings)
        assert on == [False, False, True, True]
        assert not (Path(settings.output) / "teacher").exists()
        on.clear()
        off = replace(half, weight=0.0)
        result = train(replace(settings, output=settings.output + "_off", contrast=off))
        assert on == [False] * 4
    kept = torch.load(result.checkpoint.with_name("last.ckpt"), weights_only=True)["state_dict"]
    assert not any("contrast" in name for name in kept)


def test_a_teacher_may_start_from_the_eo_branch_of_a_csk_net(csk_settings, tmp_path):
    path = tmp_path / "csk.safetensors"
    network = build_network("csk", num_classes=9, **SMALL, exchange_stages=PAPER_STAGES)
    save_checkpoint(path, network, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    base = csk_settings()
    settings = replace(base, network=replace(base.network, checkpoint=str(path)))
    teacher = make_network(teacher_settings(settings, "there").network, MFNET, dict)
    torch.testing.assert_close(teacher.branch.head.weight, network.heads["EO_ONLY"].weight)
    student = make_network(settings.network, MFNET, dict)  # which exchanges nothing
    torch.testing.assert_close(student.state_dict(), network.state_dict())


def test_the_teacher_s_settings_are_the_run_s_but_for_eo_alone(csk_settings):
    settings = csk_settings(teacher=TeacherSettings(epochs=7))
    made = teacher_settings(settings, "there")
    assert made.network.name == "single"
    assert made.network.arguments == {"modality": "eo", **SMALL}
    assert made.loop.epochs == 7
    assert made.optimizer == settings.optimizer
    assert made.output == "there"


@pytest.mark.slow
def test_a_network_may_start_from_its_teacher(csk_settings, tmp_path):
    torch.manual_seed(1)
    teacher = build_network("single", num_classes=9, modality="eo", **SMALL).eval()
    path = tmp_path / "teacher.safetensors"
    save_checkpoint(path, teacher, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    settings = csk_settings(teacher=TeacherSettings(checkpoint=str(path), start=True))
    network = make_network(settings.network, MFNET, dict).eval()
    start_from_teacher(network, load_checkpoint(path).network)
    data = batch()
    eo = data["eo"].float()
    with torch.no_grad():
        torch.testing.assert_close(network(eo=eo), teacher(eo=eo))
        gray = data["ir"].float()
        torch.testing.assert_close(network(ir=gray), teacher(eo=gray.expand(-1, 3, -1, -1)))
    assert not teacher_settings(settings, "there").teacher.start
    assert replace(settings, distillation=DistillationSettings(pixel=0.0, feature=0.0)).wants_teacher
    still = replace(settings.optimizer, lr=1e-12)
    result = train(replace(settings, optimizer=still))
    trained = load_checkpoint(result.checkpoint).network
    learnt = dict(trained.encoder.named_parameters())
    assert all(torch.allclose(learnt[key], value) for key, value in teacher.branch.encoder.named_parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": "first.safetensors"}, "teacher.start and network.checkpoint both say"),
        ({"arguments": {**SMALL, "decoder_width": 8}}, "use the same backbone, decoder and widths"),
    ],
)
def test_a_start_that_cannot_be_is_refused(csk_settings, changes, message):
    base = csk_settings()
    teacher = build_network("single", num_classes=9, modality="eo", **SMALL)
    changed = replace(base.network, **changes)
    with pytest.raises(ValueError, match=message):
        _start(replace(base, network=changed), teacher)


def _start(settings, teacher):
    settings = replace(settings, teacher=TeacherSettings(start=True))
    start_from_teacher(make_network(settings.network, MFNET, dict), teacher)


def test_a_network_of_one_modality_may_start_from_the_other_s(csk_settings, tmp_path):
    torch.manual_seed(1)
    eo = build_network("single", num_classes=9, modality="eo", **SMALL).eval()
    path = tmp_path / "eo.safetensors"
    save_checkpoint(path, eo, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    arguments = {"modality": "ir", **SMALL}
    settings = replace(csk_settings().network, name="single", arguments=arguments, checkpoint=str(path))
    ir = make_network(settings, MFNET, dict).eval()
    gray = batch()["ir"].float()
    with torch.no_grad():
        torch.testing.assert_close(ir(ir=gray), eo(eo=gray.expand(-1, 3, -1, -1)))


SLIM = {"backbone": "mobilenet_v2_slim", "decoder_width": 8, "output_stride": 32}
SHALLOW = {**SLIM, "backbone": "mobilenet_v2_shallow"}


def saved(name, tmp_path, **arguments):
    """A file of an untrained network of full width."""
    path = tmp_path / f"{name}.safetensors"
    network = build_network(name, num_classes=9, **arguments)
    save_checkpoint(path, network, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(("full", "slim"), [(SMALL, SLIM), (SLIM, SHALLOW)])
def test_a_slim_network_is_cut_out_of_a_full_one_and_trained(full, slim, csk_settings, tmp_path):
    base = csk_settings(distillation=DistillationSettings(pixel=0.0, feature=0.0))
    network = replace(base.network, checkpoint=saved("csk", tmp_path, **full), arguments=slim)
    still = replace(base.optimizer, lr=1e-12)
    result = train(replace(base, network=network, optimizer=still))
    trained = load_checkpoint(result.checkpoint)
    assert trained.network.architecture["arguments"]["backbone"] == slim["backbone"]
    assert trained.training["started_from"]["file"] == "csk.safetensors"
    # filters are taken over as they are
    rows = trained.network.encoder.stem_conv.weight.flatten(1)
    full = load_checkpoint(network.checkpoint).network.encoder.stem_conv.weight.flatten(1)
    assert (rows[:, None] - full).abs().amax(2).amin(1).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("early", SLIM), ("csk", {**SLIM, "padding": "torch"}), ("csk", {"backbone": "resnet18"})],
)
def test_a_slim_network_is_cut_out_of_nothing_else(name, arguments, csk_settings, tmp_path):
    base = csk_settings()
    full = saved(name, tmp_path, **SMALL)
    settings = replace(base.network, name=name, checkpoint=full, arguments=arguments)
    with pytest.raises(ValueError, match=r"use the same network.name, arguments and classes"):
        make_network(settings, MFNET, dict)
