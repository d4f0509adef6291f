"""Calibrated networks travel in one file, serve every size, and are taken where that is faster."""

from __future__ import annotations

import copy
import json
import shutil
import sys
import zipfile
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from csk_ros.inference import EngineError, int8_models
from csk_ros.inference.engines import EngineOptions, build_engine
from csk_ros.inference.engines.openvino_engine import OpenVINOEngine
from csk_ros.inference.int8_models import SUFFIX, find_int8, keep_int8, write_int8
from csk_ros.inference.model_cache import ModelCache, fingerprint
from csk_ros.modality import Modality, Route
from csk_ros.network import load_checkpoint
from csk_ros.network.base import CHANNELS
from csk_ros.share import share_path

if find_spec("openvino") is None:
    pytest.skip("needs pip install 'csk_ros[openvino]'", allow_module_level=True)

CPU = torch.device("cpu")
CALIBRATED = (32, 64)
pytestmark = pytest.mark.usefixtures("_one_thread")


@pytest.fixture(scope="module")
def in_memory(make_checkpoint):
    return make_checkpoint("single", modality="ir", padding="same")


@pytest.fixture
def thermal(in_memory, tmp_path):
    """A network of thermal alone, as if read from a file."""
    return replace(in_memory, path=tmp_path / "net.safetensors")


@pytest.fixture
def fast(monkeypatch):
    """A processor with int8 instructions."""
    monkeypatch.setattr("csk_ros.inference.engines.openvino_engine.cpu_is_fast_in_int8", lambda: True)


def _calibrated(checkpoint, bias):
    """Models that differ from the checkpoint's network by a known bias, as calibrated ones do by little."""
    with torch.no_grad():
        changed = copy.deepcopy(checkpoint)
        list(changed.network.parameters())[-1].add_(bias)
    return {Route.IR_ONLY: OpenVINOEngine(changed, CPU).convert(Route.IR_ONLY, CALIBRATED)}


@pytest.fixture(scope="module")
def packed(in_memory, tmp_path_factory):
    """The file of the thermal network with a bias; each is made once."""

    @cache
    def pack(bias):
        path = tmp_path_factory.mktemp("packed") / f"net{SUFFIX}"
        write_int8(path, fingerprint(in_memory), _calibrated(in_memory, bias), "40 frames of a drive")
        return path

    return pack


@pytest.fixture
def beside(thermal, packed):
    """Put the file of a bias beside the checkpoint."""
    return lambda bias=0.0: Path(shutil.copy(packed(bias), thermal.path.with_suffix(SUFFIX)))


def _image(size=(32, 48)):
    return {Modality.IR: torch.randint(0, 256, (1, *size, 1), generator=torch.manual_seed(0)).byte()}


def _logits(checkpoint, precision="int8", cache=None, size=(32, 48)):
    engine = build_engine("openvino", checkpoint, CPU, EngineOptions(precision, cache=cache))
    return engine.logits(_image(size)).clone()


@pytest.mark.parametrize("size", [CALIBRATED, (32, 48), (45, 71)])
def test_one_file_beside_the_checkpoint_serves_every_size(thermal, beside, size):
    beside(1.0)
    plain = _logits(thermal, "float32", size=size)
    assert torch.allclose(_logits(thermal, size=size), plain + 1, atol=1e-3)


def test_a_new_calibration_counts_at_once_though_the_old_one_was_compiled(thermal, beside, packed, tmp_path):
    kept = ModelCache(tmp_path / "cache")
    plain = _logits(thermal, "float32")
    beside(1.0)
    assert torch.allclose(_logits(thermal, cache=kept), plain + 1, atol=1e-3)
    for bias in (2.0, 3.0):  # the user's own in the cache goes before what came along
        assert keep_int8(kept, fingerprint(thermal), packed(bias))
        assert torch.allclose(_logits(thermal, cache=kept), plain + bias, atol=1e-3)


def test_a_network_in_memory_has_none(thermal):
    assert find_int8(fingerprint(thermal), None, None) is None
    with pytest.raises(
        EngineError, match="there is no int8 model of this checkpoint: make it with csk export"
    ):
        _logits(replace(thermal, path=None))


def test_what_was_written_is_never_written_over(thermal, beside):
    path = beside()
    with pytest.raises(FileExistsError):
        write_int8(path, fingerprint(thermal), {}, "")


def _cut(path):
    path.write_bytes(path.read_bytes()[:-300])


def _flip(path):
    """Change a byte of a member, which its checksum shows."""
    with zipfile.ZipFile(path) as file:
        place = file.getinfo("IR_ONLY.bin").header_offset + 2000
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)


def _header(path, **changes):
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    header = json.loads(parts["int8.json"]) | changes
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (parts | {"int8.json": json.dumps(header)}).items():
            file.writestr(name, content)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_cut, r"net\.int8\.zip cannot be read \(BadZipFile: .*\): calibrate again"),
        (_flip, r"net\.int8\.zip cannot be read \((BadZipFile: Bad CRC-32|error: ).*\): calibrate again"),
        (lambda path: path.write_bytes(b""), r"net\.int8\.zip cannot be read"),
        (lambda path: _header(path, routes=["SIDEWAYS"]), "cannot be read .*SIDEWAYS"),
        (
            lambda path: _header(path, format=7),
            "is of format 7, and this csk_ros reads up to 2: update csk_ros",
        ),
        (lambda path: _header(path, checkpoint="0"), "calibrated from other weights than those beside it"),
        (lambda path: _header(path, routes=["EO_ONLY"]), "holds EO_ONLY in int8 and not IR_ONLY: calibrate"),
        (lambda path: _header(path, routes=["IR_ONLY", "FUSED"]), None),
    ],
)
def test_a_file_that_does_not_fit_is_one_line_that_says_what_to_do(thermal, beside, harm, message):
    harm(beside())
    if message is None:
        _logits(thermal)
        return
    with pytest.raises(EngineError, match=message) as caught:
        _logits(thermal)
    assert "\n" not in str(caught.value)


@pytest.fixture
def told():
    """What the engine reports."""
    return []


def _auto(checkpoint, told, name="openvino"):
    options = EngineOptions("auto", report=told.append)
    return build_engine(name, checkpoint, CPU, options).precision


@pytest.mark.usefixtures("fast")
def test_auto_takes_int8_where_it_is_calibrated_and_says_so(thermal, beside, told):
    assert _auto(thermal, told) == "float32"
    assert "csk export --to openvino --precision int8 calibrates these weights" in told.pop()
    beside()
    assert _auto(thermal, told, "auto") == "int8"
    assert told == ["openvino: precision int8, calibrated on 40 frames of a drive"]
    assert _auto(thermal, told, "torch") == "float32"


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: _header(path, checkpoint="0"), "other weights"),
        (_cut, "cannot be read"),
        (_flip, "cannot be read"),
    ],
)
def test_auto_says_why_it_does_not_take_what_is_there(thermal, beside, told, harm, reason):
    harm(beside())
    assert _auto(thermal, told) == "float32"
    assert "precision float32, since" in told[0]
    assert reason in told[0]


@pytest.mark.usefixtures("fast")
def test_auto_wants_every_route(thermal, told):
    write_int8(thermal.path.with_suffix(SUFFIX), fingerprint(thermal), {}, "no frames")
    assert _auto(thermal, told) == "float32"


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("fpu avx2 avx512_vnni", "int8"), ("fpu avx_vnni", "int8"), ("fpu avx2", "float32"), (None, "float32")],
)
def test_auto_takes_int8_only_on_a_processor_made_for_it(
    thermal, beside, told, tmp_path, monkeypatch, flags, precision
):
    facts = tmp_path / "cpuinfo"
    if flags:
        facts.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: avx512_vnni\n")
    monkeypatch.setattr(int8_models, "_CPU_FACTS", facts)
    int8_models.cpu_is_fast_in_int8.cache_clear()
    try:
        beside()
        assert _auto(thermal, told) == precision
        assert f"precision {precision}" in told[0]
    finally:
        int8_models.cpu_is_fast_in_int8.cache_clear()


@pytest.mark.usefixtures("fast")
def test_auto_needs_no_openvino(thermal, beside, told, monkeypatch):
    beside()
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert _auto(thermal, told, "auto") == "float32"


@pytest.mark.parametrize("name", sorted(path.name for path in share_path("models").glob("*.safetensors")))
def test_the_weights_that_come_along_are_calibrated_for_every_route(name):
    checkpoint = load_checkpoint(share_path("models") / name)
    models = find_int8(fingerprint(checkpoint), checkpoint.path, None)
    assert models
    assert models.routes == checkpoint.network.routes
    for route in models.routes:
        shapes = [list(given.shape) for given in models.read(route).inputs]
        assert shapes == [[1, 480, 640, CHANNELS[modality]] for modality in route.modalities]
