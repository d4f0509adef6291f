from __future__ import annotations

import pytest

from csk_ros.replay.run_folder import RunFolder, RunFolderError

ASKED = {"bag": "drive", "route": "auto"}


def write(folder, size):
    folder.partial.mkdir()
    (folder.partial / "masks.mcap").write_bytes(b"x" * size)


def test_a_replay_that_ended_leaves_its_masks_and_is_not_run_again(tmp_path):
    folder = RunFolder(tmp_path / "out", ASKED)
    write(folder, 5)
    folder.finish(interrupted=False)
    assert {path.name for path in folder.path.iterdir()} == {"masks", "replay.json"}
    with pytest.raises(RunFolderError, match="holds a finished replay: give another --out"):
        RunFolder(tmp_path / "out", ASKED)


def test_a_replay_that_was_interrupted_or_killed_hands_on_its_masks(tmp_path):
    first = RunFolder(tmp_path / "out", ASKED)
    assert first.earlier is None
    write(first, 5)
    first.finish(interrupted=True)
    second = RunFolder(tmp_path / "out", ASKED)
    assert (second.earlier / "masks.mcap").read_bytes() == b"x" * 5
    write(second, 9)  # and killed
    third = RunFolder(tmp_path / "out", ASKED)
    assert (third.earlier / "masks.mcap").read_bytes() == b"x" * 9
    write(third, 2)  # killed while it catches up
    fourth = RunFolder(tmp_path / "out", ASKED)
    assert (fourth.earlier / "masks.mcap").read_bytes() == b"x" * 9
    fourth.go_back()
    assert (fourth.masks / "masks.mcap").read_bytes() == b"x" * 9
    fifth = RunFolder(tmp_path / "out", ASKED)
    write(fifth, 20)
    fifth.finish(interrupted=False)
    assert {path.name for path in fifth.path.iterdir()} == {"masks", "replay.json"}


def test_a_replay_of_which_nothing_came_leaves_nothing(tmp_path):
    RunFolder(tmp_path / "out", ASKED).go_back()
    assert not (tmp_path / "out").exists()


def test_another_replay_is_not_gone_on_with(tmp_path):
    RunFolder(tmp_path / "out", ASKED)
    with pytest.raises(RunFolderError, match=r"was asked for otherwise \(route\)"):
        RunFolder(tmp_path / "out", ASKED | {"route": "fused"})


@pytest.mark.parametrize(
    ("name", "text"), [("notes.txt", "mine"), ("replay.json", "{}"), ("replay.json", "[")]
)
def test_what_is_no_replay_is_left_alone(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(RunFolderError, match="give another --out"):
        RunFolder(tmp_path, ASKED)
    assert (tmp_path / name).read_text() == text
