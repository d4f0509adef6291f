from __future__ import annotations

import pytest
import yaml

from csk_ros.cli.main import main
from csk_ros.share import share_path
from csk_ros.training.reading import read_settings

CONFIGS = ["scenes_mobilenet", "mfnet_small"]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_configs_name_every_setting_and_take_changes(name):
    path = share_path(f"config/train/{name}.yaml")
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
        (["--network.name", "cks"], "unknown network 'cks': use one of"),
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
