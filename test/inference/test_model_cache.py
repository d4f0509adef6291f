"""Models on disk: what is found again, what is not, and that nobody fails for a cache."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from csk_ros.inference.model_cache import KEPT, ModelCache, fingerprint
from csk_ros.labels import MFNET
from csk_ros.modality import Modality
from csk_ros.network import DEFAULT_NORMALISATION, Checkpoint, Normalisation, build_network

KEY = {"engine": "abacus", "size": (4, 6)}


def _write(text):
    return lambda folder: (folder / "model.bin").write_text(text)


@pytest.fixture
def cache(tmp_path):
    return ModelCache(tmp_path / "cache")


def test_a_model_is_found_by_all_it_depends_on(cache):
    assert cache.find(KEY) is None
    folder = cache.put(KEY, _write("beads"))
    assert cache.find({"size": [4, 6], "engine": "abacus"}) == folder
    assert (folder / "model.bin").read_text() == "beads"
    assert cache.find(KEY | {"size": (4, 7)}) is None


def test_what_is_there_is_not_replaced(cache):
    first = cache.put(KEY, _write("beads"))
    assert cache.put(KEY, _write("other")) == first
    assert (first / "model.bin").read_text() == "beads"
    assert [path.name for path in cache.folders[0].iterdir()] == [first.name]


@pytest.mark.parametrize("damage", ["cut", "missing", "manifest"])
def test_a_damaged_model_is_forgotten(cache, damage):
    folder = cache.put(KEY, _write("beads"))
    if damage == "cut":
        (folder / "model.bin").write_text("be")
    elif damage == "missing":
        (folder / "model.bin").unlink()
    else:
        (folder / "manifest.json").write_text("{")
    assert cache.find(KEY) is None
    assert not folder.exists()
    assert cache.put(KEY, _write("beads")) == folder


def test_a_writer_that_fails_leaves_nothing(cache):
    def full(folder):
        (folder / "model.bin").write_text("be")
        raise OSError(28, "No space left on device")

    assert cache.put(KEY, full) is None
    assert list(cache.folders[0].iterdir()) == []


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "file").write_text("no folder")
    cache = ModelCache(tmp_path / "file" / "cache")
    assert cache.put(KEY, _write("beads")) is None
    assert cache.find(KEY) is None


def test_the_second_folder_takes_what_the_first_cannot(tmp_path):
    """Root's models beside the checkpoint are read by all; a user's own are kept by the user."""
    (tmp_path / "file").write_text("no folder")
    unwritable, own = tmp_path / "file" / "cache", tmp_path / "own"
    cache = ModelCache(unwritable, own)
    folder = cache.put(KEY, _write("beads"))
    assert folder.parent == own
    assert cache.find(KEY) == folder
    assert ModelCache(tmp_path / "other", own).find(KEY) == folder
    assert ModelCache(own, tmp_path / "third").put(KEY, _write("other")) == folder
    assert not (tmp_path / "third").exists()
    cache.discard(KEY)
    assert cache.find(KEY) is None


def test_others_may_read_a_model(cache):
    assert cache.put(KEY, _write("beads")).stat().st_mode & 0o777 == 0o755


def test_the_longest_unused_are_forgotten(cache):
    folders = [cache.put(KEY | {"number": number}, _write("beads")) for number in range(KEPT)]
    for age, folder in enumerate(folders):
        os.utime(folder, (1e9 + age, 1e9 + age))
    assert cache.find(KEY | {"number": 0})  # used again
    cache.put(KEY | {"number": KEPT}, _write("beads"))
    assert folders[0].exists()
    assert not folders[1].exists()
    assert len(list(cache.folders[0].iterdir())) == KEPT


def test_what_a_killed_process_left_half_written_goes_after_an_hour(cache):
    cache.put(KEY, _write("beads"))
    dead, alive = (cache.folders[0] / name for name in (".new-dead", ".new-alive"))
    for half, age in ((dead, 7200), (alive, 60)):
        half.mkdir()
        (half / "model.bin").touch()
        os.utime(half, (time.time() - age,) * 2)
    cache.put(KEY | {"size": (8, 8)}, _write("more"))
    assert (dead.exists(), alive.exists()) == (False, True)


def test_its_place_is_beside_the_checkpoint_or_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    beside = tmp_path / ".csk_ros_cache"
    assert ModelCache.beside(tmp_path / "net.safetensors").folders == (beside, tmp_path / "xdg" / "csk_ros")
    monkeypatch.delenv("XDG_CACHE_HOME")
    users = Path.home() / ".cache" / "csk_ros"
    assert ModelCache.beside(tmp_path / "net.safetensors").folders == (beside, users)


def test_a_fingerprint_is_of_weights_architecture_and_normalisation():
    torch.manual_seed(0)
    network = build_network("single", num_classes=9, decoder_width=8, modality="ir").eval()

    def of(normalisation=DEFAULT_NORMALISATION):
        return fingerprint(Checkpoint(network, MFNET, normalisation, {}))

    first = of()
    assert of() == first
    other = {**DEFAULT_NORMALISATION, Modality.IR: Normalisation((0.4,), (0.5,))}
    assert of(other) != first
    with torch.no_grad():
        next(network.parameters()).flatten()[0] += 1
    assert of() != first
