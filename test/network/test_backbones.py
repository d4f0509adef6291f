"""The backbones against what is known about torchvision's, and padding against a slow reference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from csk_ros.modality import Modality
from csk_ros.network.backbones import build_encoder
from csk_ros.network.modality_layers import ModalityBatchNorm2d
from csk_ros.network.pretrained import public_key
from csk_ros.network.same_padding import PadFreeSameConv2d, SameConv2d

BOTH = (Modality.EO, Modality.IR)

# torchvision's published parameter totals, and those of its classifiers (plus MobileNetV2's last convolution)
TOTALS = {
    "resnet18": (11_689_512, 512 * 1000 + 1000),
    "resnet34": (21_797_672, 512 * 1000 + 1000),
    "resnet50": (25_557_032, 2048 * 1000 + 1000),
    "resnet101": (44_549_160, 2048 * 1000 + 1000),
    "mobilenet_v2": (3_504_872, 1280 * 1000 + 1000 + 320 * 1280 + 2 * 1280),
}


@pytest.mark.parametrize("backbone", TOTALS)
def test_one_modality_has_torchvisions_parameters(backbone):
    total, classifier = TOTALS[backbone]
    encoder = build_encoder(backbone, (Modality.IR,))
    assert sum(parameter.numel() for parameter in encoder.parameters()) + classifier == total


def _resnet_shapes(depths, expansion):
    def norm(name, channels):
        return {
            **{f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")},
            f"{name}.num_batches_tracked": (),
        }

    shapes = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    inputs = 64
    for layer, (depth, width) in enumerate(zip(depths, (64, 128, 256, 512), strict=True), start=1):
        for number in range(depth):
            block, outputs = f"layer{layer}.{number}", width * expansion
            kernels = (3, 3) if expansion == 1 else (1, 3, 1)
            widths = (width, width) if expansion == 1 else (width, width, outputs)
            reads = inputs
            for index, (kernel, channels) in enumerate(zip(kernels, widths, strict=True), start=1):
                shapes[f"{block}.conv{index}.weight"] = (channels, reads, kernel, kernel)
                shapes.update(norm(f"{block}.bn{index}", channels))
                reads = channels
            if number == 0 and (layer > 1 or inputs != outputs):
                shapes[f"{block}.downsample.0.weight"] = (outputs, inputs, 1, 1)
                shapes.update(norm(f"{block}.downsample.1", outputs))
            inputs = outputs
    return shapes


@pytest.mark.parametrize(
    ("backbone", "depths", "expansion"),
    [
        ("resnet18", (2, 2, 2, 2), 1),
        ("resnet34", (3, 4, 6, 3), 1),
        ("resnet50", (3, 4, 6, 3), 4),
        ("resnet101", (3, 4, 23, 3), 4),
    ],
)
def test_resnet_has_torchvisions_keys_and_shapes(backbone, depths, expansion):
    encoder = build_encoder(backbone, BOTH)
    shapes = {public_key(key): tuple(value.shape) for key, value in encoder.state_dict().items()}
    assert shapes == _resnet_shapes(depths, expansion)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenet_v2"])
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_stages_have_the_stated_strides_and_channels(backbone, output_stride):
    encoder = build_encoder(backbone, BOTH, output_stride=output_stride).eval()
    with torch.no_grad():
        x = encoder.stem(torch.rand(1, 3, 64, 96), Modality.EO)
        for index, channels in enumerate(encoder.channels):
            x = encoder.stage(index, x, Modality.EO)
            stride = min(4 * 2**index, output_stride)
            assert x.shape == (1, channels, 64 // stride, 96 // stride)


@pytest.mark.parametrize(
    ("backbone", "padding", "offset"),
    [("resnet18", None, 0), ("resnet50", None, 0), ("mobilenet_v2", "torch", 0), ("mobilenet_v2", "same", 1)],
)
def test_dilation_keeps_the_receptive_field(backbone, padding, offset):
    """Where only striding is replaced by dilation, the strided grid's values reappear in the dense map."""
    torch.manual_seed(1)
    strided = build_encoder(backbone, BOTH, output_stride=32, padding=padding).double().eval()
    dense = build_encoder(backbone, BOTH, output_stride=16, padding=padding).double().eval()
    dense.load_state_dict(strided.state_dict())
    image = torch.rand(1, 3, 128, 128, dtype=torch.float64)

    def run(encoder):
        x = encoder.stem(image, Modality.EO)
        for index in range(4):
            x = encoder.stage(index, x, Modality.EO)
        return x

    with torch.no_grad():
        torch.testing.assert_close(run(dense)[..., offset::2, offset::2], run(strided))


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenet_v2"])
def test_last_norm_is_on_the_main_path(backbone):
    encoder = build_encoder(backbone, BOTH)
    for index, channels in enumerate(encoder.channels):
        norm = encoder.last_norm(index)
        assert isinstance(norm, ModalityBatchNorm2d)
        before = [x.clone() for x in _stages(encoder)]
        nn.init.constant_(norm["eo"].bias, 3.0)
        after = _stages(encoder)
        assert norm["eo"].num_features == channels
        assert all(torch.equal(a, b) for a, b in zip(before[:index], after[:index], strict=True))
        assert not torch.equal(before[index], after[index])


@torch.no_grad()
def _stages(encoder):
    encoder.eval()
    torch.manual_seed(0)
    x, stages = encoder.stem(torch.rand(1, 3, 32, 32), Modality.EO), []
    for index in range(4):
        x = encoder.stage(index, x, Modality.EO)
        stages.append(x)
    return stages


def test_unknown_choices_are_refused():
    with pytest.raises(ValueError, match=r"unknown backbone 'vgg'.*resnet18"):
        build_encoder("vgg", BOTH)
    with pytest.raises(ValueError, match="output_stride must be 8, 16 or 32"):
        build_encoder("resnet18", BOTH, output_stride=4)
    with pytest.raises(ValueError, match="padding must be one of same, torch"):
        build_encoder("mobilenet_v2", BOTH, padding="valid")
    with pytest.raises(ValueError, match="knows padding 'torch' only"):
        build_encoder("resnet18", BOTH, padding="same")


def _same_reference(image, weight, stride):
    """TensorFlow's definition, output pixel by output pixel, for one channel."""
    height, width = image.shape
    rows, columns = -(-height // stride), -(-width // stride)
    top = max((rows - 1) * stride + 3 - height, 0) // 2
    left = max((columns - 1) * stride + 3 - width, 0) // 2
    out = torch.zeros(rows, columns, dtype=image.dtype)
    for row in range(rows):
        for column in range(columns):
            for i in range(3):
                for j in range(3):
                    y, x = row * stride - top + i, column * stride - left + j
                    if 0 <= y < height and 0 <= x < width:
                        out[row, column] += weight[i, j] * image[y, x]
    return out


@settings(max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(0, 9999))
def test_same_padding_is_tensorflows(height, width, stride, seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(height, width, dtype=torch.float64, generator=generator)
    conv = SameConv2d(1, 1, 3, stride=stride).double()
    expected = _same_reference(image, conv.weight[0, 0], stride) + conv.bias
    with torch.no_grad():
        torch.testing.assert_close(conv(image[None, None])[0, 0], expected)
        assert PadFreeSameConv2d.fits(conv) == (stride == 2)
        if stride == 2:
            torch.testing.assert_close(PadFreeSameConv2d(conv)(image[None, None])[0, 0], expected)


def test_pad_free_serves_depthwise():
    conv = SameConv2d(6, 6, 3, stride=2, groups=6)
    x = torch.rand(2, 6, 10, 13)
    with torch.no_grad():
        torch.testing.assert_close(PadFreeSameConv2d(conv)(x), conv(x))
