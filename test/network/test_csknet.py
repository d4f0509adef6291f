"""The CSK-Net's promises: routes, cost, independence, private statistics, exchange and gate."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from csk_ros.modality import Modality, Route
from csk_ros.network import ARCHITECTURES, CSKNet, SingleNet, build_network, fold_batch_norms
from csk_ros.network.exchange import PAPER_STAGES
from csk_ros.network.gate import GatedSpectralUnit
from csk_ros.network.same_padding import PadFreeSameConv2d

EO, IR = Modality.EO, Modality.IR
EXCHANGE = {"exchange_stages": PAPER_STAGES}
DECODERS = ("light", "deeplabv3", "deeplabv3plus")


def _images(height=64, width=96, batch=1):
    return {"eo": torch.randn(batch, 3, height, width), "ir": torch.randn(batch, 1, height, width)}


def _macs(network, **images):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(**images)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18"])
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("modality", ["eo", "ir"])
def test_one_modality_costs_what_the_plain_network_costs(backbone, decoder, modality):
    parts = {"num_classes": 9, "backbone": backbone, "decoder": decoder, "decoder_width": 32}
    csk, single = (
        build_network("csk", **EXCHANGE, **parts),
        build_network("single", modality=modality, **parts),
    )
    image = {modality: _images()[modality]}
    macs = _macs(single, **image)
    assert macs > 1_000_000
    assert _macs(csk, **image) == macs
    assert _macs(csk, **_images()) > 2 * macs


@pytest.mark.parametrize(("modality", "other"), [("ir", "eo"), ("eo", "ir")])
def test_one_modality_hangs_on_nothing_of_the_other(scramble, modality, other):
    net = scramble(build_network("csk", num_classes=5, **EXCHANGE)).eval()
    image = {modality: _images()[modality]}
    head = {"ir": "IR_ONLY", "eo": "EO_ONLY"}[modality]
    with torch.no_grad():
        before = net(**image)
        changed = 0
        for name, value in [*net.named_parameters(), *net.named_buffers()]:
            parts = name.split(".")
            foreign = other in parts or parts[0] == "fusion" or (parts[0] == "heads" and parts[1] != head)
            if foreign and value.is_floating_point():
                value.fill_(float("nan"))
                changed += 1
        assert changed > 100
        assert torch.equal(net(**image), before)
        assert not torch.equal(net(**{modality: image[modality] + 1}), before)


def test_batch_norm_statistics_are_private():
    net = build_network("csk", num_classes=5).train()
    before = copy.deepcopy(net.state_dict())
    net(ir=_images(batch=2)["ir"])
    moved = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    assert moved
    assert all("ir" in key.split(".") for key in moved)
    encoder = {key for key in before if key.startswith("encoder.") and ".ir.running" in key}
    assert encoder <= moved


def test_convolutions_are_shared_and_norms_are_not(scramble):
    net = scramble(build_network("csk", num_classes=5)).eval()
    gray = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        features = net.forward_heads(eo=gray.expand(-1, 3, -1, -1), ir=gray).features
        assert not torch.allclose(features[EO].stages["layer1"], features[IR].stages["layer1"])
        for module in net.encoder.modules():
            if "eo" in dict(module.named_children()):
                module["ir"].load_state_dict(module["eo"].state_dict())
        features = net.forward_heads(eo=gray.expand(-1, 3, -1, -1), ir=gray).features
        for stage in features[EO].stages:
            torch.testing.assert_close(features[EO].stages[stage], features[IR].stages[stage])


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@pytest.mark.parametrize("size", [(64, 96), (33, 47), (5, 3), (1, 1)])
def test_logits_have_the_input_size(name, size):
    net = _small(name).eval()
    images = _images(*size)
    for route in net.routes:
        given = {modality.value: images[modality.value] for modality in route.modalities}
        with torch.no_grad():
            assert net(**given).shape == (1, 4, *size)


def _small(name, **more):
    extra = {"modality": "ir"} if name == "single" else {}
    return build_network(name, num_classes=4, **extra, **more)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_architecture_builds_the_network_again(name, scramble):
    net = scramble(_small(name, decoder_width=24)).eval()
    architecture = json.loads(json.dumps(net.architecture))
    again = build_network(architecture["name"], **architecture["arguments"]).eval()
    again.load_state_dict(net.state_dict())
    images = _images()
    given = {
        m.value: images[m.value] for m in max(net.routes, key=lambda route: len(route.modalities)).modalities
    }
    with torch.no_grad():
        assert torch.equal(again(**given), net(**given))


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_heads_agree_with_the_routes(name, scramble):
    net = scramble(_small(name)).eval()
    images = _images()
    with torch.no_grad():
        for route in net.routes:
            given = {m.value: images[m.value] for m in route.modalities}
            output = net.forward_heads(**given)
            assert torch.equal(output.logits[route], net(**given))
            assert all(logits.shape == (1, 4, 64, 96) for logits in output.logits.values())


def test_all_heads_and_features_are_handed_out():
    net = build_network("csk", num_classes=4, **EXCHANGE).eval()
    output = net.forward_heads(**_images())
    assert set(output.logits) == set(Route)
    for modality in Modality:
        features = output.features[modality]
        assert list(features.stages) == ["layer1", "layer2", "layer3", "layer4"]
        assert set(features.foreign) == {"layer1", "layer2"}
        assert features.aspp.shape == (1, 128, 2, 3)
        assert features.decoded.shape == (1, 64, 16, 24)
    assert set(net.forward_heads(ir=_images()["ir"]).logits) == {Route.IR_ONLY}


def test_late_fusion_averages_logits(scramble):
    net, images = scramble(_small("late")).eval(), _images()
    with torch.no_grad():
        mean = (net(eo=images["eo"]) + net(ir=images["ir"])) / 2
        torch.testing.assert_close(net(**images), mean)


def _foreign(kind, channel_rule, direction, receiver, *, shape, gammas):
    """The rules, feature by feature."""
    _, channels, height, width = shape
    mask = np.zeros((channels, height, width), bool)
    if direction == "ir_to_eo" and receiver is IR:
        return mask
    for c in range(channels):
        own_half = c < channels // 2 if receiver is EO else c >= channels // 2
        chosen = c % 2 == 0 if channel_rule == "alternate" else abs(gammas[c]) < 1.0
        for w in range(width):
            by_channel = kind in ("channel", "mixed") and own_half and chosen
            by_column = kind in ("spatial", "mixed") and w % 2 == 0
            mask[c, :, w] = by_channel or by_column
    return mask


@pytest.mark.parametrize("kind", ["channel", "spatial", "mixed"])
@pytest.mark.parametrize("rule", ["alternate", "gamma"])
@pytest.mark.parametrize("direction", ["both", "ir_to_eo"])
def test_exchange_follows_the_rules(scramble, kind, rule, direction):
    settings = {"exchange_channels": rule, "exchange_direction": direction, "exchange_threshold": 1.0}
    stages = ("none", kind, "none", "none")
    net = scramble(CSKNet(3, exchange_stages=stages, **settings)).eval()
    plain = CSKNet(3).eval()
    plain.load_state_dict(net.state_dict())
    images = _images(72, 56)
    with torch.no_grad():
        mixed, apart = net.forward_heads(**images).features, plain.forward_heads(**images).features
    norm = net.encoder.last_norm(1)
    for receiver, giver in ((EO, IR), (IR, EO)):
        own, other = (apart[m].stages["layer2"][0].numpy() for m in (receiver, giver))
        gammas = norm[receiver.value].weight.tolist()
        mask = _foreign(kind, rule, direction, receiver, shape=(1, *own.shape), gammas=gammas)
        assert np.array_equal(mixed[receiver].stages["layer2"][0].numpy(), np.where(mask, other, own))
        assert torch.equal(mixed[receiver].stages["layer1"], apart[receiver].stages["layer1"])
        stated = mixed[receiver].foreign.get("layer2", torch.zeros(1, 1, 1, 1, dtype=torch.bool))
        assert np.array_equal(stated.expand(1, *own.shape)[0].numpy(), mask)


def test_channel_exchange_never_loses_a_feature():
    net = CSKNet(3, exchange_stages=("channel",) * 4).eval()
    features = net.forward_heads(**_images()).features
    for stage, mask in features[EO].foreign.items():
        assert not (mask & features[IR].foreign[stage]).any()


def test_gamma_share_is_stated_and_survives_folding(scramble):
    net = scramble(CSKNet(3, **EXCHANGE, exchange_channels="gamma", exchange_threshold=1.0)).eval()
    shares = net.exchanged_share()
    assert set(shares) == {"layer1/eo", "layer1/ir", "layer2/eo", "layer2/ir"}
    masks = CSKNet(3, **EXCHANGE).exchanged_share()
    assert masks == {}
    gamma = net.encoder.last_norm(0)["eo"].weight
    assert shares["layer1/eo"] == (gamma[: len(gamma) // 2].abs() < 1.0).sum().item() / len(gamma)
    images = _images()
    with torch.no_grad():
        torch.testing.assert_close(fold_batch_norms(net)(**images), net(**images), rtol=1e-4, atol=1e-4)


def test_exchange_is_drawn_in_training_and_fixed_in_evaluation():
    net, images = CSKNet(3, **EXCHANGE, exchange_probability=0.5), _images(32, 32, batch=2)
    drawn = [bool(net.train().forward_heads(**images).features[EO].foreign) for _ in range(20)]
    assert 3 < sum(drawn) < 17
    assert all(net.eval().forward_heads(**images).features[EO].foreign for _ in range(5))
    assert not (
        CSKNet(3, **EXCHANGE, exchange_probability=0.0).train().forward_heads(**images).features[EO].foreign
    )


@pytest.mark.parametrize("gate", ["own", "concatenation"])
def test_gate_is_the_formula(gate):
    unit = GatedSpectralUnit(3, gate).double()
    eo, ir = torch.randn(2, 1, 3, 2, 2, dtype=torch.float64)
    expected = torch.zeros(3, 2, 2, dtype=torch.float64)
    for y in range(2):
        for x in range(2):
            inputs = {"o": eo[0, :, y, x], "i": ir[0, :, y, x], "s": eo[0, :, y, x] + ir[0, :, y, x]}
            for key, vector in inputs.items():
                seen = vector if gate == "own" else torch.cat([inputs["o"], inputs["i"]])
                w_z, w_h = unit.gate[key], unit.content[key]
                z = 1 / (1 + torch.exp(-(w_z.weight[:, :, 0, 0] @ seen + w_z.bias)))
                expected[:, y, x] += z * torch.tanh(w_h.weight[:, :, 0, 0] @ vector + w_h.bias)
    torch.testing.assert_close(unit(eo, ir)[0], expected)


@pytest.mark.parametrize(
    ("backbone", "decoder"),
    [
        ("mobilenet_v2", "light"),
        ("mobilenet_v2_slim", "light"),
        ("mobilenet_v2_shallow", "light"),
        ("resnet18", "deeplabv3"),
        ("resnet50", "deeplabv3plus"),
    ],
)
def test_folding_keeps_the_function(scramble, backbone, decoder):
    net = (
        scramble(CSKNet(3, **EXCHANGE, backbone=backbone, decoder=decoder, decoder_width=16)).double().eval()
    )
    folded = fold_batch_norms(net)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    images = {key: value.double() for key, value in _images(49, 64).items()}
    with torch.no_grad():
        for given in (images, {"ir": images["ir"]}, {"eo": images["eo"]}):
            torch.testing.assert_close(folded(**given), net(**given))


@pytest.mark.parametrize("kind", ["channel", "spatial"])
def test_folding_leaves_room_for_what_is_exchanged_last(scramble, kind):
    net = (
        scramble(CSKNet(3, exchange_stages=("none", "none", "none", kind), decoder_width=16)).double().eval()
    )
    images = {key: value.double() for key, value in _images(64, 96).items()}
    with torch.no_grad():
        torch.testing.assert_close(fold_batch_norms(net)(**images), net(**images))


@pytest.mark.parametrize("name", ["single", "early", "late"])
def test_folding_keeps_the_function_of_the_baselines(scramble, name):
    modality = {"modality": "ir"} if name == "single" else {}
    net = scramble(build_network(name, num_classes=3, **modality)).double().eval()
    images = {key: value.double() for key, value in _images(49, 64).items()}
    with torch.no_grad():
        for route in net.routes:
            given = {modality.value: images[modality.value] for modality in route.modalities}
            torch.testing.assert_close(fold_batch_norms(net)(**given), net(**given))


@pytest.mark.parametrize(
    ("backbone", "decoder_width", "saved"),
    [("mobilenet_v2", 64, 1), ("mobilenet_v2_slim", 64, 2), ("mobilenet_v2", 512, 0)],
)
def test_folding_merges_linear_convolutions_where_that_is_cheaper(backbone, decoder_width, saved):
    net = CSKNet(3, backbone=backbone, decoder_width=decoder_width).eval()
    counts = []
    for network in (net, fold_batch_norms(net)):
        ran = []
        for module in network.modules():
            if isinstance(module, nn.Conv2d | PadFreeSameConv2d):
                module.register_forward_hook(lambda *_, ran=ran: ran.append(1))
        with torch.no_grad():
            network(ir=torch.zeros(1, 1, 32, 32))
        counts.append(len(ran))
    assert counts[0] - counts[1] == saved


def test_every_parameter_learns():
    net = build_network("csk", num_classes=4, **EXCHANGE).train()
    logits = net.forward_heads(**_images(64, 64, batch=2)).logits
    sum(head.square().mean() for head in logits.values()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, "neither eo nor ir is given"),
        ({"ir": torch.zeros(1, 8, 8)}, r"ir must be \(N, 1, H, W\).*ir.unsqueeze\(0\)"),
        ({"eo": torch.zeros(1, 8, 8, 3)}, r"eo must be \(N, 3, H, W\).*eo.permute\(0, 3, 1, 2\)"),
        ({"ir": torch.zeros(1, 3, 8, 8)}, r"thermal has one channel: take ir\[:, :1\]"),
        (
            {"ir": torch.zeros(1, 1, 8, 8, dtype=torch.uint8)},
            "ir must be float and normalised, not torch.uint8",
        ),
        ({"ir": torch.zeros(1, 1, 0, 8)}, "ir is empty"),
        ({"eo": torch.zeros(1, 3, 8, 8), "ir": torch.zeros(1, 1, 8, 9)}, "resize eo to ir's size"),
    ],
)
def test_wrong_images_are_refused_with_the_fix(images, message):
    with pytest.raises(ValueError, match=message):
        build_network("csk", num_classes=2)(**images)


def test_a_route_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="SingleNet runs IR_ONLY, but the given images make EO_ONLY"):
        _small("single")(eo=_images()["eo"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be positive"),
        ({"decoder": "unet"}, "unknown decoder 'unet'"),
        ({"decoder_width": 0}, "decoder_width must be positive"),
        ({"gate": "no"}, "gate must be one of own, concatenation"),
        ({"exchange_stages": ["mixed"]}, "exchange stages: give four"),
        ({"exchange_stages": ["swap"] * 4}, "exchange stages: give four"),
        ({"exchange_channels": "odd"}, "exchange channels"),
        ({"exchange_direction": "eo_to_ir"}, "exchange direction"),
        ({"exchange_probability": 1.5}, "exchange probability"),
        ({"colour": "red"}, "network 'csk' cannot be built.*colour"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_network("csk", **{"num_classes": 3, **arguments})


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="unknown network 'unet': use one of csk, early, late, single"):
        build_network("unet", num_classes=3)


@pytest.mark.parametrize("modality", [EO, IR])
def test_a_single_network_can_be_taken_out_of_a_csk_net(modality):
    torch.manual_seed(0)
    network = build_network("csk", num_classes=4, decoder_width=16, **EXCHANGE).eval()
    single = SingleNet.from_csk(network, modality).eval()
    image = {modality.value: _images()[modality.value]}
    with torch.no_grad():
        torch.testing.assert_close(single(**image), network(**image))
    single.branch.head.bias.data.add_(1.0)
    with torch.no_grad():
        assert not torch.allclose(single(**image), network(**image))


@pytest.mark.parametrize("gradient", ["stop", "flow"])
def test_exchanged_features_pass_gradients_only_if_told_to(gradient):
    torch.manual_seed(0)
    settings = {"decoder_width": 16, "exchange_gradient": gradient, **EXCHANGE}
    network = build_network("csk", num_classes=4, **settings).train()
    images = _images(batch=2)
    network.forward_heads(**images).logits[Route.EO_ONLY].sum().backward()
    reached = [
        name
        for name, parameter in network.encoder.named_parameters()
        if ".ir." in name and parameter.grad is not None and parameter.grad.abs().max() > 0
    ]
    assert bool(reached) == (gradient == "flow")
