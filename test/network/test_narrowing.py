"""Slim encoders cut out of full ones: nothing is lost that others can stand in for."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from csk_ros.data import open_samples
from csk_ros.modality import Modality
from csk_ros.network import build_network, load_checkpoint
from csk_ros.network.backbones import build_encoder
from csk_ros.network.encoder import STAGES
from csk_ros.network.mobilenet import HIDDEN, InvertedResidual, is_part_of
from csk_ros.network.narrowing import narrow_network
from csk_ros.share import share_path

SLIM, SHALLOW = "mobilenet_v2_slim", "mobilenet_v2_shallow"
BOTH = (Modality.EO, Modality.IR)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def lively(network):
    """The network with batch norms that differ between channels and modalities."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def noise(modalities=BOTH, count=2, height=64, width=96):
    channels = {Modality.EO: 3, Modality.IR: 1}
    return {m: torch.randn(count, channels[m], height, width) for m in modalities}


def features(network, images):
    """The stages of each modality."""
    with torch.no_grad():
        output = network.forward_heads(**{m.value: image for m, image in images.items()})
    return {(m, stage): output.features[m].stages[stage] for m in images for stage in STAGES}


def blocks(network, name="encoder"):
    """Of each block the layers that make its hidden channels, and the convolution that reads them."""
    layers = network.get_submodule(name).features
    for before, block in pairwise(layers):
        first = block is layers[1]
        yield [*([before] if first else []), *block.conv[:-2]], block.conv[-2]


def test_channels_that_nothing_reads_are_left_out_and_decoders_come_along():
    wide = lively(build_network("csk", num_classes=3))
    slim = build_network("csk", num_classes=3, backbone=SLIM)
    for (_, reader), width in zip(blocks(wide), HIDDEN[SLIM], strict=True):
        unread = torch.randperm(reader.in_channels)[width:]
        reader.weight.data[:, unread] = 0
    images, kept = noise(), copy.deepcopy(wide.state_dict())
    narrow_network(wide, slim, images)
    torch.testing.assert_close(wide.state_dict(), kept, rtol=0, atol=0)
    for key, value in slim.state_dict().items():
        if not key.startswith("encoder."):
            assert torch.equal(value, kept[key]), key
    before, after = features(wide, images), features(slim, images)
    for key, value in before.items():
        assert (after[key] - value).std() < 1e-3 * value.std(), key  # the ridge's


def test_one_of_two_equal_channels_stands_in_for_both_and_another_decoder_stays():
    wide = lively(build_network("single", num_classes=3, modality="ir"))
    slim = build_network("single", num_classes=3, modality="ir", backbone=SLIM, decoder_width=16)
    own = copy.deepcopy(slim.state_dict())
    for (makers, _), width in zip(blocks(wide, "branch.encoder"), HIDDEN[SLIM], strict=True):
        for layer in makers:
            for value in layer.state_dict().values():
                if value.ndim:
                    value.copy_(value[torch.arange(len(value)) % width])
    images = noise([Modality.IR])
    narrow_network(wide, slim, images)
    for key, value in slim.state_dict().items():
        if not key.startswith("branch.encoder."):
            assert torch.equal(value, own[key]), key
    before, after = features(wide, images), features(slim, images)
    for key, value in before.items():
        assert (after[key] - value).std() < 1e-3 * value.std(), key


@pytest.mark.parametrize("seen", [BOTH, (Modality.IR,)])
def test_a_block_that_adds_nothing_is_left_out(seen):
    wide = lively(build_network("csk", num_classes=3, backbone=SLIM))
    for block, width in zip(wide.encoder.features[1:], HIDDEN[SHALLOW], strict=True):
        if not width:
            block.conv[-2].weight.data.zero_()
            for norm in block.conv[-1].values():
                norm.weight.data.zero_()
                norm.bias.data.zero_()
    shallow = build_network("csk", num_classes=3, backbone=SHALLOW)
    images = noise(seen)
    narrow_network(wide, shallow, images)
    before, after = features(wide, images), features(shallow, images)
    for key, value in before.items():
        assert (after[key] - value).std() < 1e-3 * value.std(), key


def test_what_a_block_added_is_made_up_for_by_the_next():
    wide = lively(build_network("csk", num_classes=3, backbone=SLIM))
    added = wide.encoder.features[9].conv[-1]
    for norm in added.values():  # the same everywhere, so that the next one's batch norm can give it
        norm.weight.data.zero_()
        norm.bias.data.fill_(3.0)
    for number in (6, 10, 15, 16):
        for norm in wide.encoder.features[number].conv[-1].values():
            norm.weight.data.zero_()
            norm.bias.data.zero_()
    shallow = build_network("csk", num_classes=3, backbone=SHALLOW)
    images = noise()
    narrow_network(wide, shallow, images)
    before, after = features(wide, images), features(shallow, images)
    for key, value in before.items():
        assert torch.corrcoef(torch.stack([value.flatten(), after[key].flatten()]))[0, 1] > 0.9, key


@pytest.mark.parametrize(("file", "backbone"), [("scenes", SLIM), ("slim_scenes", SHALLOW)])
def test_the_shipped_weights_keep_most_of_what_they_see(file, backbone):
    wide = load_checkpoint(share_path(f"models/csk_mobilenet_v2_{file}.safetensors")).network
    slim = build_network("csk", num_classes=9, backbone=backbone)
    samples = open_samples("scenes:seed=1,drives=6,frames=1,light=random")

    def images(indices):
        taken = [samples[index] for index in indices]
        eo = torch.stack([torch.from_numpy(sample.eo[::2, ::2].copy()) for sample in taken])
        ir = torch.stack([torch.from_numpy(sample.ir[::2, ::2].copy()) for sample in taken])
        return {
            Modality.EO: eo.permute(0, 3, 1, 2) / 127.5 - 1,
            Modality.IR: ir[:, None] / 127.5 - 1,
        }

    narrow_network(wide, slim, images([0, 1, 2, 3]))
    unseen = images([4, 5])
    before, after = features(wide, unseen), features(slim, unseen)
    for key, value in before.items():
        assert torch.corrcoef(torch.stack([value.flatten(), after[key].flatten()]))[0, 1] > 0.75, key


def test_the_first_block_has_no_shortcut_though_its_channels_are_as_many():
    encoder = build_encoder(SLIM, BOTH)
    assert encoder.features[0][0].out_channels == 16
    assert not encoder.features[1].shortcut
    assert [block.shortcut for block in encoder.features[1:]] == [
        block.shortcut for block in build_encoder("mobilenet_v2", BOTH).features[1:]
    ]


def test_shallow_is_slim_with_twelve_of_its_blocks_in_their_places():
    slim, shallow = (build_encoder(name, BOTH) for name in (SLIM, SHALLOW))
    assert sum(isinstance(block, InvertedResidual) for block in shallow.features) == 12
    own, others = shallow.state_dict(), slim.state_dict()
    assert all(others[key].shape == value.shape for key, value in own.items())
    # what is left out is a repetition: the first block of each shape stays
    for block, other in zip(shallow.features[1:], slim.features[1:], strict=True):
        assert isinstance(block, InvertedResidual) or other.shortcut


def test_what_can_be_cut_out_of_what():
    order = ("mobilenet_v2", SLIM, SHALLOW)
    for at, slim in enumerate(order):
        assert [is_part_of(slim, wide) for wide in order] == [other < at for other in range(3)]


def test_slim_has_less_than_half_of_the_parameters():
    counts = [
        sum(parameter.numel() for parameter in build_encoder(name, BOTH).parameters())
        for name in ("mobilenet_v2", SLIM)
    ]
    assert counts[1] < 0.45 * counts[0]
