from __future__ import annotations

from csk_ros.modality import Modality
from csk_ros.ros.refusal_log import EVERY_S, RefusalLog


def test_a_flood_gives_a_line_every_few_seconds_and_all_are_counted():
    lines, now = [], [0.0]
    log = RefusalLog(lines.append, clock=lambda: now[0])
    for n in range(1000):
        now[0] = n * 0.01
        log(Modality.IR, f"reason {n}")
    assert len(lines) == 10 / EVERY_S
    now[0] = 10.0
    log(Modality.IR, "the last")
    assert lines[0] == "ir image refused: reason 0"
    stood_for = [int(line.split("(")[1].split()[0]) for line in lines[1:]]
    assert sum(stood_for) + len(lines) == 1001


def test_one_stream_does_not_silence_the_other():
    lines = []
    log = RefusalLog(lines.append, clock=lambda: 0.0)
    for modality in (Modality.IR, Modality.IR, Modality.EO):
        log(modality, "broken")
    assert lines == ["ir image refused: broken", "eo image refused: broken"]
