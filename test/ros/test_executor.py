from __future__ import annotations

import pytest
from rclpy.executors import SingleThreadedExecutor

from csk_ros.ros import executor
from csk_ros.ros.parameters import ParameterError


@pytest.mark.parametrize(
    ("kind", "built"),
    [
        ("auto", "EventsExecutor"),
        ("events", "EventsExecutor"),
        ("single_threaded", "SingleThreadedExecutor"),
    ],
)
def test_builds_what_was_named(kind, built):
    assert type(executor.build_executor(kind)).__name__ == built


def test_an_older_rclpy_gives_the_other_one_unless_events_was_named(monkeypatch):
    monkeypatch.setattr(executor, "EventsExecutor", None)
    assert isinstance(executor.build_executor("auto"), SingleThreadedExecutor)
    with pytest.raises(ParameterError, match=r"rclpy has from 7\.1\.4 on: use auto"):
        executor.build_executor("events")


def test_another_name_is_refused_with_those_there_are():
    with pytest.raises(ParameterError, match="'fast': use auto or events or single_threaded"):
        executor.build_executor("fast")
