"""Settings and resume files of somebody who means harm: nothing executes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from csk_ros.training.reading import parse_document, read_settings
from csk_ros.training.run import train
from csk_ros.training.settings import TrainSettings


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("save", ["torch.save", "pickle"])
def test_a_resume_file_that_holds_code_is_refused_and_not_run(make_settings, tmp_path, save):
    settings, made = make_settings(1), tmp_path / "made"
    last = Path(settings.output) / "last.ckpt"
    last.parent.mkdir(parents=True)
    payload = {"state_dict": {}, "callbacks": Touch(str(made))}
    if save == "pickle":
        last.write_bytes(pickle.dumps(payload))
    else:
        torch.save(payload, last)
    with pytest.raises(ValueError, match=r"last\.ckpt is no file to resume from"):
        train(settings, resume=True)
    assert not made.exists()


@pytest.mark.parametrize(
    "text",
    [
        "output: !!python/object/apply:os.mkdir ['{made}']",
        "output: !!python/name:planted.Settings",
        "network: {{class_path: planted.Settings}}",
        "network: planted.Settings",
        "data: {{train: [{{class_path: planted.Settings}}]}}",
    ],
)
def test_settings_that_name_code_are_refused_and_import_nothing(tmp_path, monkeypatch, text):
    made, config = tmp_path / "made", tmp_path / "config.yaml"
    (tmp_path / "planted.py").write_text(
        f"import pathlib\npathlib.Path({str(made)!r}).touch()\nSettings = dict\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config.write_text(text.format(made=made))
    with pytest.raises(ValueError, match=r"is not YAML|names code"):
        read_settings(str(config), [])
    assert not made.exists()


def test_a_document_that_names_code_is_refused(tmp_path, monkeypatch):
    made = tmp_path / "made"
    (tmp_path / "planted_too.py").write_text(f"import pathlib\npathlib.Path({str(made)!r}).touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="names code"):
        parse_document(TrainSettings, {"loop": {"class_path": "planted_too.x"}}, "here")
    assert not made.exists()
