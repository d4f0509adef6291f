from __future__ import annotations

import pytest
import yaml

from csk_ros.cli.main import main
from csk_ros.share import share_path
from csk_ros.training.reading import read_settings

CONFIGS = sorted(share_path("config/train").glob("*.yaml"))
SETS = ("mfnet", "msrs", "fmb", "mvseg", "pst900")


def test_every_data_set_has_a_config_in_both_sizes():
    names = {path.stem for path in CONFIGS}
    assert names == {
        *SETS,
        *(f"{name}_small" for name in SETS),
        "scenes",
        "scenes_mobilenet",
        "scenes_shallow",
        "scenes_slim",
        "mfnet_shallow",
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_say_what_they_are_for(path):
    settings, _ = read_settings(str(path), ["--data.root", "somewhere"])
    kind = path.stem.partition("_")[0]
    assert all(spec.startswith(f"{kind}:") for spec in [*settings.data.train, *settings.data.val])
    assert settings.output == f"runs/{path.stem}"
    light = settings.network.arguments["backbone"].startswith("mobilenet_v2")
    assert light == path.stem.endswith(("_small", "_mobilenet", "_slim", "_shallow"))
    start = settings.network.checkpoint or settings.network.backbone_weights
    assert ("mobilenet" in start) == light
    assert settings.notice


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if "\nbase:" not in path.read_text()], ids=lambda path: path.stem
)
def test_the_configs_name_every_setting_and_take_changes(path):
    settings, resume = read_settings(str(path), ["--loop.epochs", "3", "--data.crop=[64,96]", "--resume"])
    assert resume
    assert settings.loop.epochs == 3
    assert settings.data.crop == (64, 96)
    named = yaml.safe_load(path.read_text())
    for section, values in settings.to_dict().items():
        if isinstance(values, dict):
            assert set(values) == set(named[section])
    assert set(named["network"]["arguments"]) >= {"exchange_direction", "exchange_stages", "gate", "padding"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--data.batchx", "4"], "batchx"),
        (["--data.batch", "many"], "data.batch"),
        (["--data.batch", "0"], "data.batch is 0: use 1 or more"),
        (["--data.val", "[]"], "data.val is []: name at least one data spec"),
        (["--loss.enet_offset", "1"], "loss.enet_offset is 1.0: use more than 1"),
        (["--loop.precision", "8"], "loop.precision"),
        (["--recipe", "supervised", "--network.name", "cks"], "unknown network 'cks': use one of"),
        (["--network.arguments.decoder", "heavy"], "unknown decoder 'heavy'"),
        (["--network.backbone_weights", "missing.safetensors"], "missing.safetensors"),
        (["--network.checkpoint", "other.safetensors"], "network.backbone_weights is set too"),
        (["--data.train", '["mfnet:{root}"]'], "data.root is not set"),
        (["--data.train", '["scenes:speed=3"]'], "speed"),
        (["--data.train", '["kitti:here"]'], "unknown data 'kitti:here'"),
    ],
)
def test_a_mistake_is_one_clear_line(changes, words, capsys, tmp_path):
    config = str(share_path("config/train/scenes_mobilenet.yaml"))
    assert main(["train", config, "--output", str(tmp_path / "run"), *changes]) == 1
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_missing_config_is_one_clear_line(capsys):
    assert main(["train", "nowhere.yaml"]) == 1
    message = capsys.readouterr().err
    assert "nowhere.yaml" in message
    assert message.count("\n") == 1


def test_a_base_is_read_first(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "base.yaml").write_text(
        "output: a\ndata: {train: [x], val: [y], batch: 3, workers: 0}\nnetwork: {arguments: {gate: own}}\n"
    )
    (tmp_path / "sub" / "middle.yaml").write_text("base: ../base.yaml\ndata: {batch: 4}\n")
    top = tmp_path / "sub" / "top.yaml"
    top.write_text("base: middle.yaml\nnetwork: {arguments: {decoder: light}}\n")
    settings, _ = read_settings(str(top), ["--data.workers", "5"])
    assert (settings.output, settings.data.batch, settings.data.workers) == ("a", 4, 5)
    assert settings.network.arguments == {"decoder": "light"}  # taken whole


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("base: other.yaml", [], "base .*other.yaml does not exist"),
        ("base: top.yaml", [], "leads back to itself"),
        ("a: [", [], "is not YAML"),
        ("seed: 1", ["--base=x"], "a base stands in a file"),
    ],
)
def test_a_wrong_base_is_one_clear_line(text, changes, words, tmp_path):
    (tmp_path / "top.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_settings(str(tmp_path / "top.yaml"), changes)
