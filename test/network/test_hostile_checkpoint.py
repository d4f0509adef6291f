"""Checkpoints of somebody who means harm: nothing executes, nothing is allocated on the word of a header."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from csk_ros.labels import MFNET
from csk_ros.network import (
    DEFAULT_NORMALISATION,
    CheckpointError,
    build_network,
    load_checkpoint,
    save_checkpoint,
)

MEGABYTES = 150


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def document(**arguments):
    """The header's document of a network with these arguments."""
    names = [str(n) for n in range(9)]
    return {
        "format": 1,
        "architecture": {"name": "csk", "arguments": {"num_classes": 9, **arguments}},
        "label_set": {"names": names, "colors": [[0, 0, 0]] * 9},
        "normalisation": {
            name: {"mean": [0.5] * n, "std": [0.5] * n} for name, n in (("eo", 3), ("ir", 1))
        },
        "training": {},
        "package_version": "0",
    }  # fmt: skip


def checkpoint(text):
    return save({"weight": torch.zeros(1)}, {"csk_ros": text})


def header(text, size=None):
    """A safetensors file that is nothing but a header."""
    return struct.pack("<Q", len(text) if size is None else size) + text.encode()


def wide(dtype, shape, end):
    return header(json.dumps({"weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}))


HOSTILE = {
    "header of 2^63 bytes": header("{}", (1 << 63) - 1),
    "header of 20 MB": header("{}" + " " * 20_000_000),
    "header nested 100000 deep": header('{"a":' * 100_000 + "1" + "}" * 100_000),
    "tensor of 2^60 bytes": wide("F32", [1 << 58], 1 << 60),
    "tensor of 2^62 x 2^62": wide("F32", [1 << 62, 1 << 62], 4),
    "document nested 100000 deep": checkpoint("[" * 100_000 + "]" * 100_000),
    "document is a number of 10000 digits": checkpoint('{"format":' + "9" * 10_000 + "}"),
    "document is a list": checkpoint("[1]"),
    "decoder of a million channels": checkpoint(json.dumps(document(decoder_width=10**6))),
    "decoder of a gigabyte": checkpoint(json.dumps(document(decoder="deeplabv3", decoder_width=3000))),
    "decoder of 10^30 channels": checkpoint(json.dumps(document(decoder_width=10**30))),
    "a billion classes": checkpoint(json.dumps(document(num_classes=10**9))),
    "minus one classes": checkpoint(json.dumps(document(num_classes=-1))),
    "classes not a number": checkpoint(json.dumps(document(num_classes=float("nan")))),
    "a name of a megabyte": checkpoint(json.dumps(document(backbone="b" * 1_000_000))),
    "an argument of a megabyte": checkpoint(json.dumps(document(**{"a" * 1_000_000: 1}))),
    "tensors of another network": checkpoint(json.dumps(document())),
}

MEASURE = """
import sys, time
from csk_ros.network import CheckpointError, build_network, load_checkpoint

def memory(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

build_network("csk", num_classes=9)
for path in sys.argv[1:]:
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    before, start = memory("VmRSS"), time.process_time()
    try:
        load_checkpoint(path)
    except CheckpointError as error:
        reason = str(error)
    print(memory("VmHWM") - before, time.process_time() - start, ascii(reason), sep="\\t")
"""


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    """Peak megabytes, CPU seconds and reason of each file, measured in a process of its own."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = [folder / f"{number}.safetensors" for number in range(len(HOSTILE))]
    for path, content in zip(paths, HOSTILE.values(), strict=True):
        path.write_bytes(content)
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert not run.returncode, run.stderr
    lines = [line.split("\t") for line in run.stdout.splitlines()]
    return {
        name: (float(megabytes), float(seconds), reason)
        for name, (megabytes, seconds, reason) in zip(HOSTILE, lines, strict=True)
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_short_line(costs, name):
    megabytes, seconds, reason = costs[name]
    assert ".safetensors: " in reason
    assert "\\n" not in reason
    assert len(reason) < 700, reason
    assert megabytes < MEGABYTES, costs[name]
    assert seconds < 5, costs[name]


def test_a_network_too_large_to_be_meant_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "large.safetensors"
    network = build_network("single", num_classes=9, modality="ir", decoder_width=8)
    save_checkpoint(path, network, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    monkeypatch.setattr("csk_ros.network.checkpoint._MAX_WEIGHTS", 1000)
    monkeypatch.setattr("csk_ros.network.checkpoint.read_tensors", None)
    with pytest.raises(CheckpointError, match="weights, and at most 1000 are read"):
        load_checkpoint(path)


@pytest.mark.parametrize("kind", ["pickle", "torch.save", "old torch.save", "zip"])
def test_a_pickle_is_refused_unread(tmp_path, kind):
    made, path = tmp_path / "made", tmp_path / "model.safetensors"
    payload = Touch(str(made))
    if kind == "pickle":
        path.write_bytes(pickle.dumps(payload))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(payload))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=kind == "torch.save")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_checkpoint(path)
    assert not made.exists()
    pickle.loads(pickle.dumps(payload))
    assert made.exists(), "the payload works where it is unpickled"


def test_a_colour_that_is_none_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(
        checkpoint(json.dumps(document() | {"label_set": {"names": ["a"], "colors": [[0, 0, 256]]}}))
    )
    with pytest.raises(CheckpointError, match="is no RGB color"):
        load_checkpoint(path)
