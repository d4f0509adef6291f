from __future__ import annotations

import subprocess
import sys

import pytest

from csk_ros import __version__
from csk_ros.cli import bag
from csk_ros.cli.main import main


def _csk(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "csk_ros.cli.main", *arguments], check=False, capture_output=True, text=True
    )


def _failing(monkeypatch, error):
    def run(_):
        raise error

    monkeypatch.setattr(bag, "run", run)


def test_help_lists_the_commands_and_loads_nothing_heavy():
    script = (
        "import sys; from csk_ros.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: code = stop.code\n"
        "heavy = {'torch', 'rosbags', 'rclpy', 'cv2', 'matplotlib', 'lightning'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("bag", "bench", "compare", "compare-reports", "demo", "doctor", "evaluate", "train"):
        assert command in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["bag"], "{make,info,cut,extract,label}"),
        (["bag", "info"], "bag"),
        (["bag", "make", "out"], "data"),
        (["bag", "info", "a", "b"], "b"),
        (["bag", "make", "out", "--data", "x", "--storage", "tape"], "tape"),
        (["train"], "config"),
        (["evaluate"], "checkpoint"),
        (["evaluate", "--checkpoint", "a", "--data", "b", "--out", "c", "--limit", "few"], "limit"),
        (["demo", "--rate", "fast"], "rate"),
        (["bench", "--rounds", "many"], "rounds"),
        (["doctor", "--seconds", "long"], "seconds"),
        (["doctor", "--eo-transport", "telepathy"], "telepathy"),
    ],
)
def test_wrong_arguments_are_usage_errors(arguments, reason, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_missing_extra_is_named_with_the_way_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rosbags.rosbag2", None)
    for module in [name for name in sys.modules if name.startswith("csk_ros.replay.")]:
        monkeypatch.delitem(sys.modules, module)
    assert main(["bag", "info", "some_bag"]) == 1
    assert capsys.readouterr().err == (
        "csk: error: this command needs rosbags, which is not installed: pip install 'csk_ros[replay]'\n"
    )


def test_expected_errors_are_one_line(capsys):
    assert main(["bag", "info", "no_such_bag"]) == 1
    assert capsys.readouterr().err == "csk: error: there is no bag at no_such_bag: check the path\n"


def test_a_traceback_on_request(monkeypatch):
    _failing(monkeypatch, ValueError("bad file"))
    monkeypatch.setenv("CSK_TRACEBACK", "1")
    with pytest.raises(ValueError, match="bad file"):
        main(["bag", "info", "x"])


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), ModuleNotFoundError("x", name="no_extra_brings_me")]
)
def test_bugs_keep_their_traceback(monkeypatch, error):
    _failing(monkeypatch, error)
    with pytest.raises(type(error)):
        main(["bag", "info", "x"])


def test_interrupt(monkeypatch, capsys):
    _failing(monkeypatch, KeyboardInterrupt)
    assert main(["bag", "info", "x"]) == 130
    assert capsys.readouterr().err == "csk: interrupted\n"


@pytest.mark.parametrize(
    "command",
    [
        ["bag", "make"],
        ["bag", "info"],
        ["bench"],
        ["compare"],
        ["data", "check"],
        ["demo"],
        ["doctor"],
        ["evaluate"],
        ["train"],
    ],
)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "usage: csk" in capsys.readouterr().out


def test_run_as_a_module():
    done = _csk("bag", "info", "no_such_bag")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "csk: error: there is no bag at no_such_bag: check the path\n"
