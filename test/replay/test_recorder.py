from __future__ import annotations

import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from csk_ros.modality import Modality
from csk_ros.replay.bag import BagWriter
from csk_ros.replay.live import LiveSession
from csk_ros.replay.recorder import Recorder


@pytest.fixture
def heard(tmp_path):
    """A recorder of ``/front/segment``, and what says something on /diagnostics until it is heard."""
    with LiveSession("front/segment") as session, BagWriter(tmp_path / "masks") as bag:
        publisher = session.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        recorder = Recorder(session.node, bag, session.segment)
        assert session.wait(publisher.get_subscription_count, 10)

        def say(statuses, node="front/segment", until=lambda reports: True):
            message = DiagnosticArray(
                status=[
                    DiagnosticStatus(
                        name=f"{node}: {name}",
                        values=[KeyValue(key=k, value=str(v)) for k, v in values.items()],
                    )
                    for name, values in statuses.items()
                ]
            )
            publisher.publish(message)
            assert session.wait(lambda: until(recorder.reports()), 10)

        yield recorder, say
        recorder.stop()


def frames(received, **others):
    return {"frames": {"ir_received": received, "answered": received} | others}


def test_counts_are_of_the_run_alone_and_go_on_over_a_restart(heard):
    recorder, say = heard
    say(frames(100, in_hand=1), until=lambda reports: reports.account)
    recorder.begin()
    say(frames(107), until=lambda reports: reports.account["ir_received"] == 7)
    assert recorder.reports().restarts == 0
    say(frames(2), until=lambda reports: reports.restarts)
    say(frames(5, in_hand=1), until=lambda reports: reports.account["ir_received"] == 12)
    reports = recorder.reports()
    assert reports.account == {"ir_received": 12, "answered": 12, "in_hand": 1}
    assert reports.restarts == 1


def test_what_the_node_says_of_itself_its_streams_and_its_speed(heard):
    recorder, say = heard
    recorder.begin()
    say(
        {
            "node": {"engine": "torch", "device": "cuda", "memory_mib": "512", "gpu_memory_mib": "300"},
            "eo": {"state": "unusable", "rate_hz": "9.90", "reason": "frozen"},
            "ir": {"state": "awaited"},
            "speed": {"network_p50_ms": "81.5", "network_p95_ms": "99.0"},
        },
        until=lambda reports: reports.facts,
    )
    reports = recorder.reports()
    assert reports.facts == {"engine": "torch", "device": "cuda"}
    assert reports.streams[Modality.EO][0][1:] == ("UNUSABLE", 9.9, "frozen")
    assert reports.streams[Modality.IR][0][1:] == ("AWAITED", 0.0, "")
    assert reports.stages_ms == {"network": (81.5,)}
    assert reports.memory[0][1:] == (None, 512.0, None, 300.0)


def test_other_nodes_are_not_listened_to(heard):
    recorder, say = heard
    recorder.begin()
    say(frames(3), node="segment")
    say(frames(4), until=lambda reports: reports.account)
    assert recorder.reports().account["ir_received"] == 4


def test_waiting_ends_when_everything_is_accounted_for_or_nothing_changes(heard):
    recorder, say = heard
    recorder.begin()
    say({"frames": {"ir_received": 5, "answered": 0, "in_hand": 0}}, until=lambda reports: reports.account)
    assert recorder.wait_for_account({Modality.IR: 5}, timeout_s=60)
    say({"ir": {"state": "stale"}, **frames(5)}, until=lambda reports: reports.account["answered"])
    assert recorder.reports().streams[Modality.IR] == ()
    started = time.monotonic()
    assert not recorder.wait_for_account({Modality.IR: 6}, timeout_s=100)
    assert time.monotonic() - started < 90
