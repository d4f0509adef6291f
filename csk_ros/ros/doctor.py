"""``csk doctor``: observes the machine, ROS and the engine, and says what is wrong and how to cure it.

What may crash or hang runs in processes of its own, each with a time limit; here nothing of ROS or torch is
imported, so a report comes out whatever is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csk_ros import __version__
from csk_ros.ros.doctor_checks import (
    check_checkpoint,
    check_cpu,
    check_engine,
    check_failures,
    check_parameters,
    check_ros,
    check_transport,
)
from csk_ros.ros.doctor_facts import Facts, Finding, Level, read_facts
from csk_ros.ros.doctor_machine import observe_machine
from csk_ros.ros.doctor_start import Start
from csk_ros.ros.doctor_streams import check_streams

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS = ("ros", "streams", "transport", "engine")
"""What can be skipped; without ``ros`` there are no streams and no transport either."""

SCHEMA = 1
"""Of the JSON report; counts up when a key changes its meaning or goes."""

ROS_LIMIT_S = 60.0
"""Time for everything of ROS beside the listening itself."""

ENGINE_LIMIT_S = 120.0
_LAST_LINES = 3
_COMPLAINT = re.compile(r"\[(?:RTPS|XMLPARSER|SHM|DDS)\w* Error\]\s*(.*?)(?:\s*->.*)?$")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_COMPLAINTS = 2
_ENGINE_DEFAULTS = {
    "checkpoint": "",
    "engine": "auto",
    "device": "auto",
    "threads": 0,
    "precision": "auto",
    "height": 0,
    "width": 0,
}


@dataclass(frozen=True)
class Options:
    """What to look at.

    Attributes:
        eo_topic: of the raw optical images, as the launch file takes it.
        ir_topic: of the raw thermal images.
        namespace: of the node.
        seconds: how long to listen, 0.5 to 60.
        params_file: of the node, or empty.
        parameters: further parameters of the node, by name; they win over the file.
        skip: some of :data:`PARTS`.

    Raises:
        ValueError: if ``seconds`` or ``skip`` mean nothing.
    """

    eo_topic: str = "eo/image"
    ir_topic: str = "ir/image"
    namespace: str = ""
    seconds: float = 5.0
    params_file: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if not 0.5 <= self.seconds <= 60:
            raise ValueError(f"seconds is {self.seconds:g}: give 0.5 to 60")
        unknown = sorted(self.skip - set(PARTS))
        if unknown:
            raise ValueError(f"cannot skip {', '.join(unknown)}: there are {', '.join(PARTS)}")


@dataclass(frozen=True)
class Report:
    """All findings of one run, and how long it took in seconds."""

    findings: list[Finding]
    seconds: float

    def count(self, level: Level) -> int:
        """How many findings have a level."""
        return sum(finding.level is level for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """1 if there are errors, else 0."""
        return int(self.count(Level.ERROR) > 0)

    def text(self, width: int = 100) -> str:
        """The report for people; cures are never broken, so that they can be copied."""
        lines = [line for finding in self.findings for line in _lines(finding, width)]
        errors, warnings = self.count(Level.ERROR), self.count(Level.WARN)
        summary = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
        return "\n".join([*lines, "", f"{summary} in {self.seconds:.0f} s"])

    def json(self) -> str:
        """The report for machines; docs/doctor.md has its keys."""
        document = {
            "schema": SCHEMA,
            "csk_ros": __version__,
            "errors": self.count(Level.ERROR),
            "warnings": self.count(Level.WARN),
            "seconds": round(self.seconds, 1),
            "findings": [
                {
                    "level": finding.level.value,
                    "code": finding.code,
                    "message": finding.message,
                    "cure": finding.cure,
                    "note": finding.note,
                    "values": dict(finding.values),
                }
                for finding in self.findings
            ],
        }
        return json.dumps(document, indent=2)


def diagnose(options: Options) -> Report:
    """Observe and judge; takes at most ``seconds`` + 180 s, usually ``seconds`` + 10 s."""
    started = time.monotonic()
    facts = observe(options)
    return Report(judge(facts, options), time.monotonic() - started)


def observe(options: Options) -> Facts:
    """Everything that can be observed here."""
    facts = Facts(observe_machine())
    if "ros" not in options.skip:
        _run_child("ros", _ros_options(options), options.seconds + ROS_LIMIT_S, facts)
    if "engine" not in options.skip:
        _run_child("engine", _engine_options(options, facts), ENGINE_LIMIT_S, facts)
    return facts


def judge(facts: Facts, options: Options) -> list[Finding]:
    """The findings, in the order in which they are best cured."""
    topics = {"eo": options.eo_topic, "ir": options.ir_topic}
    launch = not (facts.ros and facts.ros.wheels)
    start = Start(topics, options.namespace, options.params_file, launch)
    namespace = options.namespace.strip("/")
    node = f"/{namespace}/segment" if namespace else "/segment"
    return [
        *check_ros(facts),
        *check_failures(facts),
        *check_parameters(facts, options.params_file, node),
        *check_transport(facts),
        *check_streams(facts, start),
        *check_checkpoint(facts),
        *check_engine(facts),
        *check_cpu(facts),
    ]


def _ros_options(options: Options) -> dict[str, Any]:
    return {
        "eo_topic": options.eo_topic,
        "ir_topic": options.ir_topic,
        "namespace": options.namespace,
        "seconds": options.seconds,
        "params_file": options.params_file,
        "parameters": dict(options.parameters),
        "streams": "streams" not in options.skip,
        "transport": "transport" not in options.skip,
    }


def _engine_options(options: Options, facts: Facts) -> dict[str, Any]:
    """What the node's parameters say, as far as they could be read, and the size of its anchor's images."""
    read = facts.parameters.values if facts.parameters else {}
    values = {name: read.get(name, value) for name, value in _ENGINE_DEFAULTS.items()}
    values |= {name: value for name, value in options.parameters.items() if name in values}
    pictures = [stream.picture for stream in facts.streams.values() if stream.picture]
    return values | {"size": [pictures[-1].height, pictures[-1].width] if pictures else None}


def _run_child(part: str, options: dict[str, Any], limit_s: float, facts: Facts) -> None:
    """Observe a part in a process of its own; whatever becomes of it, what it found is kept."""
    with tempfile.TemporaryDirectory(prefix="csk_doctor_") as folder:
        out, errors = Path(folder) / "facts", Path(folder) / "errors"
        command = [sys.executable, "-m", "csk_ros.ros.doctor_child", part, json.dumps(options), str(out)]
        with errors.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            process.wait(limit_s)
            failure = _ending(process.returncode)
        except subprocess.TimeoutExpired:
            failure = f"it was stopped after {limit_s:.0f} s"
        finally:
            _kill_group(process)
        for fact in read_facts(out):
            facts.add(fact)
        printed = _ANSI.sub("", errors.read_text(encoding="utf-8", errors="replace")).splitlines()
    if failure:
        last = next((line.strip() for line in reversed(printed) if line.strip()), "")
        facts.failures[part] = f"{failure}: {last}" if last else failure
    found = [match[1] for match in map(_COMPLAINT.search, printed) if match]
    facts.complaints += list(dict.fromkeys(found))[:_COMPLAINTS]


def _ending(code: int) -> str:
    if code == 0:
        return ""
    return f"it ended with exit code {code}" if code > 0 else f"it died of {signal.Signals(-code).name}"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started."""
    with contextlib.suppress(ProcessLookupError):  # all of it has ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _lines(finding: Finding, width: int) -> list[str]:
    """The finding, then its cure on a line of its own, then the note."""
    head = f"{finding.level.value:<5}  {finding.area:<10} "
    lines = _wrap(finding.message, width, head, " " * len(head))
    margin = " " * 7
    if finding.cure:
        lines.append(f"{margin}cure: {finding.cure}")
    if finding.note:
        lines += _wrap(
            finding.note, width, f"{margin}      " if finding.cure else f"{margin}cure: ", f"{margin}      "
        )
    return lines


def _wrap(text: str, width: int, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
