"""``csk doctor`` against misconfigurations that are planted for real; docs/doctor.md has them as a table."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from csk_ros.ros import doctor
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

if TYPE_CHECKING:
    from collections.abc import Mapping

CAMERAS = Path(__file__).with_name("faulty_cameras.py")
LIMIT_S = 300
EO, IR = {"encoding": "rgb8", "node": "eo_driver"}, {"node": "ir_driver"}
SMALL_SEGMENT = """<?xml version="1.0" encoding="UTF-8" ?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>small</transport_id><type>SHM</type><segment_size>262144</segment_size>
    </transport_descriptor>
    <transport_descriptor><transport_id>udp</transport_id><type>UDPv4</type></transport_descriptor>
  </transport_descriptors>
  <participant profile_name="small" is_default_profile="true">
    <rtps>
      <userTransports><transport_id>small</transport_id><transport_id>udp</transport_id></userTransports>
      <useBuiltinTransports>false</useBuiltinTransports>
    </rtps>
  </participant>
</profiles>
"""


class Scenario(NamedTuple):
    """Cameras in a namespace of their own, and how the doctor is called."""

    cameras: Mapping[str, dict[str, Any]] = MappingProxyType({})
    arguments: tuple[str, ...] = ("--skip", "engine,transport")
    environment: Mapping[str, str] = MappingProxyType({})


class Planted(NamedTuple):
    """What the doctor must say."""

    scenario: str
    code: str
    level: str
    says: str
    cure: str


SCENARIOS = {
    "swapped": Scenario({"eo/image": IR, "ir/image": EO}),
    "clocks": Scenario({"eo/image": EO | {"offset_s": -1.3}, "ir/image": IR}),
    "stamps": Scenario({"eo/image": EO | {"stamp": "zero"}, "ir/image": IR | {"stamp": "stuck"}}),
    "names": Scenario(
        {"eo/image": EO | {"kind": "CompressedImage"}, "thermal/image_raw": IR},
        (
            *("--params-file", "{files}/unknown.yaml", "--checkpoint", "{files}/cut.safetensors"),
            *("--engine", "openvino", "--skip", "transport"),
        ),
        {"PYTHONPATH": "{files}/no_openvino"},
    ),
    "types": Scenario(
        {"eo/image": EO | {"frozen": True}, "ir/image": {"kind": "String"}},
        ("--params-file", "{files}/nobody.yaml", "--skip", "engine,transport"),
    ),
    "double": Scenario(
        {"eo/image": EO | {"silent": True}, "ir/image": IR, "/double/ir/image": {"node": "ir_driver_too"}},
        ("--params-file", "{files}/sim_time.yaml", "--skip", "engine,transport"),
    ),
    "qos": Scenario(
        {"eo/image": EO | {"encoding": "no_such_encoding"}, "ir/image": IR | {"reliable": False}},
        ("--params-file", "{files}/qos.yaml", "--skip", "engine,transport"),
    ),
    "compressed": Scenario(
        {"eo/image/compressed": EO | {"kind": "CompressedImage"}, "ir/image": EO},
        environment={"FASTRTPS_DEFAULT_PROFILES_FILE": "{files}/nowhere.xml"},
    ),
    "nothing": Scenario(environment={"PYTHONPATH": "{files}/no_ros"}),
    "middleware": Scenario(environment={"RMW_IMPLEMENTATION": "rmw_nowhere_cpp"}),
}
FILES = {
    # two free-running cameras of 5 Hz
    "good.yaml": {"/**": {"ros__parameters": {"slop": 0.11}}},
    "unknown.yaml": {"/**/segment": {"ros__parameters": {"max_wiat": 0.2}}},
    "nobody.yaml": {"/segmenter": {"ros__parameters": {"slop": 0.02}}},
    "sim_time.yaml": {"/**": {"ros__parameters": {"use_sim_time": True}}},
    "qos.yaml": {
        "/**": {"ros__parameters": {"qos_overrides./qos/ir/image.subscription.reliability": "reliable"}}
    },
}

PLANTED = {
    "EO and IR topics swapped": Planted(
        "swapped", "pairing.swapped", "ERROR", "topics are swapped", "eo/image:=ir/image"
    ),
    "unsynchronised clocks": Planted("clocks", "pairing.clocks", "ERROR", " s behind", "eo_time_offset: "),
    "a clock far off": Planted("clocks", "eo.clock", "WARN", "behind this machine's clock", "chronyc"),
    "zero stamps": Planted("stamps", "eo.no_stamps", "ERROR", "no stamp", "header.stamp"),
    "stamps that stand still": Planted("stamps", "ir.stamps_stuck", "ERROR", "same stamp", "header.stamp"),
    "no IR, remapping forgotten": Planted(
        "names",
        "ir.no_publisher",
        "ERROR",
        "/names/thermal/image_raw",
        "-r ir/image:=/names/thermal/image_raw",
    ),
    "CompressedImage on the raw topic": Planted(
        "names", "eo.type", "ERROR", "CompressedImage", "-p eo_transport:=compressed"
    ),
    "unknown parameter": Planted("names", "parameters.unknown", "ERROR", "max_wiat", "max_wait"),
    "truncated checkpoint": Planted(
        "names", "checkpoint.unusable", "ERROR", "cut.safetensors", "checkpoint:"
    ),
    "engine not installed": Planted("names", "engine.unusable", "ERROR", "openvino", "pip install"),
    "another type of message": Planted(
        "types", "ir.type", "ERROR", "std_msgs/msg/String", "ros2 topic find sensor_msgs/msg/Image"
    ),
    "frozen camera": Planted("types", "eo.frozen", "WARN", "are the same", "restart"),
    "params file for another node": Planted(
        "types", "parameters.unmatched", "ERROR", "/segmenter", "/**/segment:"
    ),
    "two publishers on one topic": Planted(
        "double", "ir.publishers", "WARN", "/ir_driver_too", "ros2 topic info -v /double/ir/image"
    ),
    "a driver that sends nothing": Planted("double", "eo.silent", "ERROR", "/eo_driver", "restart"),
    "use_sim_time without /clock": Planted("double", "parameters.no_clock", "ERROR", "/clock", "--clock"),
    "unknown encoding": Planted("qos", "eo.unreadable", "ERROR", "no_such_encoding", "rgb8"),
    "qos_overrides that no camera fits": Planted(
        "qos", "ir.qos", "ERROR", "/ir_driver", "remove qos_overrides"
    ),
    "compressed only": Planted(
        "compressed", "eo.transport", "ERROR", "/compressed", "eo_transport:=compressed"
    ),
    "coloured thermal images": Planted("compressed", "ir.colour", "WARN", "coloured", "palette"),
    "profile that is not there": Planted(
        "compressed", "ros.profile", "ERROR", "nowhere.xml", "export FASTRTPS_DEFAULT_PROFILES_FILE="
    ),
    "no ROS": Planted("nothing", "ros.missing", "ERROR", "rclpy", "pip install 'csk_ros[ros]'"),
    "no such middleware": Planted(
        "middleware", "ros.rmw", "ERROR", "rmw_nowhere_cpp", "unset RMW_IMPLEMENTATION"
    ),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The broken files and modules that scenarios name."""
    folder = tmp_path_factory.mktemp("doctor")
    for name, content in FILES.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    (folder / "cut.safetensors").write_bytes(share_path(DEFAULT_CHECKPOINT).read_bytes()[:1000])
    (folder / "small.xml").write_text(SMALL_SEGMENT, encoding="utf-8")
    for place, module in (("no_openvino", "openvino"), ("no_ros", "rclpy")):
        (folder / place / module).mkdir(parents=True)
        text = f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')\n"
        (folder / place / module / "__init__.py").write_text(text, encoding="utf-8")
    return folder


def environment(extra, files):
    """The environment of this process with a scenario's; PYTHONPATH grows instead."""
    extra = {name: value.format(files=files) for name, value in extra.items()}
    if "PYTHONPATH" in extra:
        extra["PYTHONPATH"] += os.pathsep + os.environ.get("PYTHONPATH", "")
    return os.environ | {"OMP_NUM_THREADS": "1"} | extra


def start_cameras(cameras, extra, files):
    """Cameras in a process of their own, all publishers standing."""
    process = subprocess.Popen(
        [sys.executable, str(CAMERAS), json.dumps(cameras)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(extra, files),
    )
    assert process.stdout.readline() == "ready\n"
    return process


def stop(process):
    process.kill()
    process.communicate()


def call_doctor(*arguments, extra, files):
    """Run ``csk doctor``; returns its exit code, output and error output."""
    done = subprocess.run(
        [sys.executable, "-m", "csk_ros.cli.main", "doctor", *(a.format(files=files) for a in arguments)],
        check=False,
        capture_output=True,
        text=True,
        env=environment(extra, files),
        timeout=LIMIT_S,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def reports(files):
    """The outcome of every scenario, by name; two doctors at a time, since they mostly listen."""
    cameras = [
        fault | {"topic": topic if topic.startswith("/") else f"/{name}/{topic}"}
        for name, scenario in SCENARIOS.items()
        for topic, fault in scenario.cameras.items()
    ]

    def run(name):
        scenario = SCENARIOS[name]
        arguments = ("--json", "--seconds", "1.5", "--namespace", name, *scenario.arguments)
        return call_doctor(*arguments, extra=scenario.environment, files=files)

    process = start_cameras(cameras, {}, files)
    try:
        with ThreadPoolExecutor(2) as pool:
            yield dict(zip(SCENARIOS, pool.map(run, SCENARIOS), strict=True))
    finally:
        stop(process)


def find(report, code):
    found = [finding for finding in report["findings"] if finding["code"] == code]
    assert len(found) == 1, f"{code} not among {[(f['code'], f['message']) for f in report['findings']]}"
    return found[0]


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_a_planted_misconfiguration_is_found_and_its_cure_named(planted, reports):
    code, output, errors = reports[planted.scenario]
    assert errors == ""
    report = json.loads(output)
    finding = find(report, planted.code)
    assert finding["level"] == planted.level
    assert planted.says in finding["message"]
    assert planted.cure in f"{finding['cure']} {finding['note']}"
    assert code == (report["errors"] > 0)


@pytest.mark.timeout(LIMIT_S)
def test_the_offset_of_unsynchronised_clocks_is_measured(reports):
    finding = find(json.loads(reports["clocks"][1]), "pairing.clocks")
    assert finding["values"]["clock_offset_s"] == pytest.approx(1.3, abs=0.05)
    offset = re.match(r"eo_time_offset: ([\d.]+)", finding["cure"])
    assert float(offset[1]) == pytest.approx(1.3, abs=0.05)


@pytest.mark.timeout(LIMIT_S)
def test_a_healthy_pair_of_cameras_gives_no_error(files):
    cameras = [EO | {"topic": "/well/eo/image", "rate": 5.0}, IR | {"topic": "/well/ir/image", "rate": 5.0}]
    process = start_cameras(cameras, {}, files)
    try:
        arguments = ("--json", "--namespace", "well", "--skip", "engine,transport")
        code, output, _ = call_doctor(*arguments, "--params-file", "{files}/good.yaml", extra={}, files=files)
    finally:
        stop(process)
    report = json.loads(output)
    wrong = [f for f in report["findings"] if f["level"] != "OK" and not f["code"].startswith("cpu.")]
    assert (code, wrong) == (0, [])
    assert find(report, "ir.alive")["values"]["height"] == 64
    assert find(report, "pairing.ok")["values"]["share"] >= 0.9


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S)
def test_a_device_that_is_not_there(files):
    code, output, errors = call_doctor(
        "--json", "--device", "cuda:99", "--skip", "ros", extra={}, files=files
    )
    assert (code, errors) == (1, "")
    finding = find(json.loads(output), "engine.unusable")
    assert "cuda:99" in finding["message"]
    assert finding["cure"] == "device: auto"


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S)
def test_a_machine_that_is_too_slow_for_the_camera(files):
    cameras = [IR | {"topic": "/slow/ir/image", "rate": 60.0, "height": 480, "width": 640}]
    process = start_cameras(cameras, {}, files)
    try:
        arguments = (
            "--json",
            "--namespace",
            "slow",
            "--seconds",
            "2",
            "--engine",
            "torch",
            "--skip",
            "transport",
        )
        _, output, _ = call_doctor(*arguments, extra={}, files=files)
    finally:
        stop(process)
    finding = find(json.loads(output), "cpu.slow")
    assert "640x480" in finding["message"]
    assert finding["cure"] or "GPU" in finding["note"]


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S)
def test_large_best_effort_images_over_a_small_segment(files):
    small = {"FASTRTPS_DEFAULT_PROFILES_FILE": "{files}/small.xml"}
    large = {"reliable": False, "height": 480, "width": 640, "rate": 10.0}
    cameras = [EO | large | {"topic": "/large/eo/image"}, IR | large | {"topic": "/large/ir/image"}]
    process = start_cameras(cameras, small, files)
    try:
        arguments = ("--json", "--seconds", "3", "--namespace", "large", "--skip", "engine")
        code, output, errors = call_doctor(*arguments, extra=small, files=files)
    finally:
        stop(process)
    assert (code, errors) == (1, "")
    lossy = find(json.loads(output), "transport.lossy")
    assert lossy["level"] == "ERROR"
    assert lossy["values"]["segment_bytes"] == 262_144
    assert lossy["values"]["arrived"] < 0.9 * lossy["values"]["sent"]
    assert lossy["cure"] == f"export FASTRTPS_DEFAULT_PROFILES_FILE={share_path('config/fastdds.xml')}"


@pytest.mark.slow
def test_the_cure_of_the_small_segment_cures(files):
    profile = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(share_path("config/fastdds.xml"))}
    _, output, _ = call_doctor("--json", "--skip", "streams,engine", extra=profile, files=files)
    transport = find(json.loads(output), "transport.ok")
    assert transport["values"]["arrived"] >= 28


def test_the_text_names_level_and_cure_and_fits_the_terminal(files):
    extra = {"PYTHONPATH": "{files}/no_ros", "COLUMNS": "80"}
    code, output, errors = call_doctor("--skip", "engine", extra=extra, files=files)
    assert (code, errors) == (1, "")
    lines = output.splitlines()
    assert lines[0] == "ERROR  ros        ROS 2 is missing: No module named 'rclpy'"
    assert lines[1] == "       cure: pip install 'csk_ros[ros]'"
    assert lines[-1].startswith("1 error, ")
    assert all(len(line) <= 80 for line in lines if "cure: " not in line)


@pytest.mark.parametrize(
    ("rclpy", "says"),
    [
        ("import time; time.sleep(1000)", "it was stopped after 2 s"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it died of SIGSEGV"),
        ("import os; print('no such symbol', flush=True); os._exit(3)", "exit code 3: no such symbol"),
        ("raise RuntimeError('a bug')", "exit code 1: RuntimeError: a bug"),
    ],
    ids=["hangs", "crashes", "exits", "raises"],
)
def test_a_library_that_takes_its_process_along_costs_one_line(rclpy, says, tmp_path, monkeypatch):
    (tmp_path / "rclpy").mkdir()
    (tmp_path / "rclpy" / "__init__.py").write_text(rclpy, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(doctor, "ROS_LIMIT_S", 1.5)
    report = doctor.diagnose(doctor.Options(seconds=0.5, skip=frozenset({"engine"})))
    failed = [finding for finding in report.findings if finding.code == "doctor.failed"]
    assert len(failed) == 1
    assert says in failed[0].message
    assert report.exit_code == 1
    assert report.seconds < 20


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["--seconds", "0"], "give 0.5 to 60"), (["--skip", "lunch"], "cannot skip lunch: there are ros")],
)
def test_options_that_mean_nothing_are_one_line(files, arguments, reason):
    code, output, errors = call_doctor(*arguments, extra={}, files=files)
    assert (code, output) == (1, "")
    assert errors.startswith("csk: error: ")
    assert reason in errors
    assert errors.count("\n") == 1
