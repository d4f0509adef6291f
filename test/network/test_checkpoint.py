"""The checkpoint file: what goes in comes out, and every bad file is one clear error."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import csk_ros
from csk_ros.labels import MFNET, LabelSet
from csk_ros.modality import Modality
from csk_ros.network import (
    DEFAULT_NORMALISATION,
    CheckpointError,
    Normalisation,
    build_network,
    load_checkpoint,
    save_checkpoint,
)
from csk_ros.network.exchange import PAPER_STAGES

TRAINING = {"recipe": "csk", "seed": 3, "scores": {"miou": 0.5}}


def _save(path, network, **changes):
    parts = {"label_set": MFNET, "normalisation": DEFAULT_NORMALISATION, "training": TRAINING, **changes}
    save_checkpoint(path, network, **parts)
    return path


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return build_network(
        "csk", num_classes=9, decoder_width=16, exchange_stages=PAPER_STAGES, exchange_probability=0.5
    )


@pytest.fixture(scope="module")
def good(net, tmp_path_factory):
    return _save(tmp_path_factory.mktemp("good") / "net.safetensors", net)


def _rewrite(good, path, change):
    """A copy of a good file after ``change(tensors, document)``."""
    with safe_open(good, "pt") as file:
        document = json.loads(file.metadata()["csk_ros"])
    tensors = load_file(good)
    change(tensors, document)
    save_file(tensors, path, {"csk_ros": json.dumps(document)})
    return path


def test_what_goes_in_comes_out(net, good):
    checkpoint = load_checkpoint(good)
    assert checkpoint.label_set == MFNET
    assert checkpoint.normalisation == DEFAULT_NORMALISATION
    assert checkpoint.training == TRAINING
    assert checkpoint.package_version == csk_ros.__version__
    assert checkpoint.path == good
    assert checkpoint.network.architecture == net.architecture
    assert not checkpoint.network.training
    state = checkpoint.network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", ["early", "late", "single"])
def test_baselines_are_kept_too(name, tmp_path):
    more = {"modality": "eo"} if name == "single" else {}
    net = build_network(name, num_classes=9, **more)
    assert load_checkpoint(_save(tmp_path / "x.safetensors", net)).network.architecture == net.architecture


def test_the_file_appears_whole_or_not_at_all(net, tmp_path, monkeypatch):
    path = tmp_path / "deep" / "net.safetensors"
    _save(path, net)
    before = path.read_bytes()

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr("csk_ros.network.checkpoint.os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        _save(path, net, training={})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), tail=st.integers(1, 64))
def test_a_truncated_file_is_refused(good, tmp_path, share, tail):
    content = good.read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in (int(share * len(content)), int(share * 100), len(content) - tail):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"cut\.safetensors: not a safetensors file, or cut short"):
            load_checkpoint(path)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_garbage_is_refused(tmp_path, content):
    path = tmp_path / "garbage.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"garbage\.safetensors"):
        load_checkpoint(path)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_header_with_a_wrong_value_is_refused_or_harmless(good, tmp_path, data):
    """Whatever stands at one place of the document, loading gives a checkpoint or the one error."""
    places = [
        ("format",), ("architecture",), ("architecture", "name"), ("architecture", "arguments"),
        ("architecture", "arguments", "num_classes"), ("architecture", "arguments", "backbone"),
        ("architecture", "arguments", "decoder_width"), ("architecture", "arguments", "exchange_stages"),
        ("architecture", "arguments", "exchange_probability"), ("label_set",), ("label_set", "names"),
        ("normalisation",), ("normalisation", "eo"), ("normalisation", "ir", "mean"), ("training",),
        ("package_version",),
    ]  # fmt: skip
    place = data.draw(st.sampled_from(places))
    value = data.draw(
        st.none()
        | st.integers(-3, 40)
        | st.text(max_size=4)
        | st.lists(st.integers(), max_size=3)
        | st.just({})
    )

    def change(_, document):
        for key in place[:-1]:
            document = document[key]
        document[place[-1]] = value

    path = _rewrite(good, tmp_path / "odd.safetensors", change)
    try:
        load_checkpoint(path)
    except CheckpointError as error:
        assert "odd.safetensors" in str(error)  # noqa: PT017 (either outcome is right)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(CheckpointError, match="there is no such file"):
            load_checkpoint(path)


def test_foreign_weights_are_refused(shared):
    path = shared / "weights" / "mobilenet_v2_imagenet.safetensors"
    with pytest.raises(CheckpointError, match=r"not a csk_ros checkpoint.*load_backbone"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, d: d.pop("label_set"), "lacks 'label_set'"),
        (lambda t, d: d.pop("architecture"), "lacks 'architecture'"),
        (lambda t, d: d.update(format=99), "format 99, but this csk_ros"),
        (lambda t, d: d["architecture"].update(name="unet"), "unknown network 'unet'"),
        (lambda t, d: d["architecture"]["arguments"].update(colour=1), "colour"),
        (lambda t, d: d["label_set"]["names"].pop(), "8 names but 9 colors"),
        (lambda t, d: d["architecture"]["arguments"].update(num_classes=8), "8 classes, the label set 9"),
        (lambda t, d: d["normalisation"].pop("ir"), "normalisation of ir needs 1 channel"),
        (lambda t, d: d["normalisation"]["ir"].update(std=[0.0]), "stds positive"),
        (lambda t, d: d["normalisation"].update(lidar={}), "lidar"),
        (lambda t, d: t.pop("heads.FUSED.bias"), "misses heads.FUSED.bias"),
        (lambda t, d: t.update(extra=torch.zeros(1)), "has unknown extra"),
        (lambda t, d: t.update({"heads.FUSED.bias": torch.zeros(3)}), "has misshapen heads.FUSED.bias"),
        (lambda t, d: t["heads.FUSED.bias"].fill_(float("inf")), "non-finite values in heads.FUSED.bias"),
        (
            lambda t, d: t.update({"heads.FUSED.bias": torch.zeros(9, dtype=torch.int64)}),
            "heads.FUSED.bias is torch.int64",
        ),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(good, tmp_path, change, message):
    path = _rewrite(good, tmp_path / "odd.safetensors", change)
    with pytest.raises(CheckpointError, match=message) as raised:
        load_checkpoint(path)
    assert str(path) in str(raised.value)


def test_a_header_that_is_no_json_is_refused(good, tmp_path):
    path = tmp_path / "odd.safetensors"
    save_file(load_file(good), path, {"csk_ros": "{"})
    with pytest.raises(CheckpointError, match="header cannot be used"):
        load_checkpoint(path)


def test_bad_parts_are_refused_before_writing(net, tmp_path):
    path = tmp_path / "x.safetensors"
    two = LabelSet(("a", "b"), ((0, 0, 0), (1, 1, 1)))
    with pytest.raises(ValueError, match="9 classes, the label set 2"):
        _save(path, net, label_set=two)
    with pytest.raises(ValueError, match="training provenance must be JSON"):
        _save(path, net, training={"when": object()})
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        _save(tmp_path / "x.pt", net)
    with pytest.raises(ValueError, match="normalisation of eo needs 3"):
        _save(path, net, normalisation=dict.fromkeys(Modality, Normalisation((0.5,), (0.5,))))
    broken = build_network("csk", num_classes=9)
    torch.nn.init.constant_(broken.heads["FUSED"].bias, float("nan"))
    with pytest.raises(ValueError, match=r"non-finite values in heads\.FUSED\.bias"):
        _save(path, broken)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_written_over_changes_no_loaded_network(net, tmp_path):
    path = _save(tmp_path / "net.safetensors", net)
    network = load_checkpoint(path).network
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with path.open("r+b") as file:  # in place, as cp does it
        file.truncate(0)
        file.write(b"\xff" * 1_000_000)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


def test_loading_imports_nothing_that_takes_seconds(good):
    code = (
        "import sys\nfrom csk_ros.network import load_checkpoint\nload_checkpoint(sys.argv[1])\n"
        "print([name for name in ('sympy', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(good)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
