"""Public weights into the encoders."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from csk_ros.modality import Modality
from csk_ros.network import CheckpointError, build_network, load_backbone
from csk_ros.network.pretrained import public_key


@pytest.fixture
def weights(shared):
    return shared / "weights" / "mobilenet_v2_imagenet.safetensors"


def test_shared_weights_fill_both_modalities(weights):
    net = build_network("csk", num_classes=2)
    load_backbone(net, weights)
    public = load_file(weights)
    state = net.encoder.state_dict()
    assert {public_key(key) for key in state} == {
        key for key in public if not key.startswith(("classifier.", "features.18."))
    }
    for key, value in state.items():
        assert torch.equal(value, public[public_key(key)]), key
    norms = [key for key in state if ".eo." in key]
    assert len(norms) == 51 * 5  # 52 batch norms in torchvision's, less the one of the last convolution
    assert {key.replace(".eo.", ".ir.") for key in norms} <= set(state)


def test_features_are_the_published_ones(weights):
    """The stem and first block by plain functions from the file, with TensorFlow's padding."""
    net = build_network("single", num_classes=2, modality="eo").eval()
    load_backbone(net, weights)
    w = load_file(weights)
    image = torch.rand(1, 3, 32, 48) * 2 - 1

    def norm(x, key):
        stats = (w[f"{key}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return torch.nn.functional.batch_norm(x, *stats, eps=1e-5)

    conv = torch.nn.functional.conv2d
    x = torch.nn.functional.pad(image, (0, 1, 0, 1))
    x = norm(conv(x, w["features.0.0.weight"], stride=2), "features.0.1").clamp(0, 6)
    x = norm(conv(x, w["features.1.conv.0.0.weight"], padding=1, groups=32), "features.1.conv.0.1").clamp(
        0, 6
    )
    x = norm(conv(x, w["features.1.conv.1.weight"]), "features.1.conv.2")
    with torch.no_grad():
        torch.testing.assert_close(net.branch.encoder.stem(image, Modality.EO), x)


def test_early_fusion_gets_the_mean_filter_for_thermal(weights):
    net = build_network("early", num_classes=2)
    load_backbone(net, weights)
    stem = net.branch.encoder.stem_conv.weight
    filters = load_file(weights)["features.0.0.weight"]
    assert torch.equal(stem[:, :3], filters)
    torch.testing.assert_close(stem[:, 3], filters.mean(1))


@pytest.fixture
def resnet_file(tmp_path):
    donor = build_network("single", num_classes=2, modality="eo", backbone="resnet18")
    tensors = {public_key(key): value.clone() for key, value in donor.branch.encoder.state_dict().items()}
    tensors["fc.weight"] = torch.zeros(1000, 512)
    return tensors, tmp_path / "resnet18.safetensors"


def test_a_file_without_counters_loads(resnet_file):
    tensors, path = resnet_file
    save_file({key: value for key, value in tensors.items() if "num_batches" not in key}, path)
    net = build_network("late", num_classes=2, backbone="resnet18")
    load_backbone(net, path)
    for branch in net.branches.values():
        assert torch.equal(branch.encoder.conv1.weight, tensors["conv1.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("layer1.0.bn1.running_var"), "misses layer1.0.bn1.running_var"),
        (lambda t: t.update({"layer9.weight": torch.zeros(1)}), "has unknown layer9.weight"),
        (lambda t: t.update({"conv1.weight": torch.zeros(64, 1, 7, 7)}), "has misshapen conv1.weight"),
        (lambda t: t["bn1.bias"].fill_(float("nan")), "has non-finite values in bn1.bias"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(resnet_file, change, message):
    tensors, path = resnet_file
    change(tensors)
    save_file(tensors, path)
    net = build_network("csk", num_classes=2, backbone="resnet18")
    before = net.encoder.conv1.weight.clone()
    with pytest.raises(CheckpointError, match=f"resnet18.safetensors: {message}"):
        load_backbone(net, path)
    assert torch.equal(net.encoder.conv1.weight, before)


def test_a_network_without_encoder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Linear has no encoder"):
        load_backbone(torch.nn.Linear(1, 1), tmp_path / "x.safetensors")


def test_a_slim_backbone_wants_a_network_of_full_width():
    net = build_network("csk", num_classes=2, backbone="mobilenet_v2_slim")
    with pytest.raises(ValueError, match=r"name the result in network\.checkpoint"):
        load_backbone(net, "any.safetensors")
