from __future__ import annotations

import os
import sys

import pytest

from csk_ros.replay.node_process import NodeProcess, NodeProcessError, use_image_profile

_BODIES = {
    "tame": "try:\n    ready(); time.sleep(60)\nexcept KeyboardInterrupt:\n    print('bye')",
    "stubborn": "signal.signal(signal.SIGINT, signal.SIG_IGN); ready(); time.sleep(60)",
    "failing": "try:\n    ready(); time.sleep(60)\nexcept KeyboardInterrupt:\n    sys.exit('out of memory')",
    "short": "print('args', sys.argv[1:])",
}
_HEAD = "import signal, sys, time\ndef ready(): open(sys.argv[-1].split(':=')[1], 'w').close()\n"


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))

    def run(name, **options):
        (tmp_path / f"{name}_node.py").write_text(_HEAD + _BODIES[name])
        ready = tmp_path / "ready"
        return NodeProcess(tmp_path / "log", {"ready": str(ready)}, module=f"{name}_node", **options), ready

    return run


def _wait_for(condition):
    while not condition():
        pass


def test_it_ends_cleanly_on_sigint(start):
    process, ready = start("tame")
    with process:
        _wait_for(ready.exists)
        assert process.alive()
        process.stop()
        assert not process.alive()
    assert "bye" in process.tail()


def test_a_bad_exit_code_is_an_error(start):
    process, ready = start("failing")
    with process:
        _wait_for(ready.exists)
        with pytest.raises(NodeProcessError, match="exit code 1"):
            process.stop()
    assert process.tail() == "  node | out of memory\n"


def test_one_that_does_not_end_is_killed(start):
    process, ready = start("stubborn", stop_s=0.2)
    with process:
        _wait_for(ready.exists)
        with pytest.raises(NodeProcessError, match="did not end within"):
            process.stop()
        assert not process.alive()


def test_it_is_not_left_behind_by_an_error(start):
    process, ready = start("stubborn", stop_s=0.2)
    with pytest.raises(KeyboardInterrupt), process:  # noqa: PT012 (the context manager is what is tested)
        _wait_for(ready.exists)
        raise KeyboardInterrupt
    assert not process.alive()


def test_parameters_reach_it_as_ros_arguments(start):
    process, ready = start("short")
    with process:
        _wait_for(lambda: not process.alive())
    assert process.tail() == f"  node | args ['--ros-args', '-p', 'ready:={ready}']\n"


def test_the_image_profile_does_not_replace_the_users_own(monkeypatch):
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "mine.xml")
    use_image_profile()
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" not in os.environ
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "")
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "")
    use_image_profile()
    assert os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"].endswith("config/fastdds.xml")
