"""From observed facts to findings: environment, ROS, parameters, transport, checkpoint, engine, CPU.

Small pure functions; :mod:`csk_ros.ros.doctor_streams` has those of the two image streams.
"""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING

from csk_ros.ros.doctor_facts import Finding, Level
from csk_ros.ros.doctor_machine import PROFILE_VARIABLES, SHARED_MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csk_ros.ros.doctor_facts import Engine, Facts, Libraries, Machine, Ros

OK, WARN, ERROR = Level.OK, Level.WARN, Level.ERROR

DEFAULT_SEGMENT = 512 * 1024
"""Bytes of Fast DDS's shared-memory segment where no profile says otherwise."""

WHAT_TAKES_THE_CPU = "ps -eo pcpu,pid,comm --sort=-pcpu | head -5"

_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
_PARAMETERS_FILE = "python3 -c 'from csk_ros.share import *; print(share_path(\"config/segment.yaml\"))'"
_LEAST_SHM = 64_000_000
_ARRIVED_SHARE = 0.95
_SPARE_SHARE = 0.25
_LEAST_IDLE = 0.5
_SMALLEST_SIDE = 96
_HEADROOM = 1.25


def profile_cure(machine: Machine) -> str:
    """The environment line that gives a process a large enough shared-memory segment."""
    return f"export {PROFILE_VARIABLES[0]}={machine.shipped_profile or 'PATH/TO/csk_ros/config/fastdds.xml'}"


def large_best_effort(facts: Facts) -> list[str]:
    """The topics whose best-effort images exceed the default segment, or of which none came at all."""
    return [
        stream.topic
        for stream in facts.streams.values()
        if (stream.picture is None or stream.picture.size_bytes > DEFAULT_SEGMENT * 3 // 4)
        and any(not publisher.reliable for publisher in stream.publishers)
    ]


def check_ros(facts: Facts) -> Iterator[Finding]:
    """The client library, the middleware, and the variables that both read."""
    machine, ros = facts.machine, facts.ros
    environment = machine.environment
    if machine.profile and not machine.profile_readable:
        yield Finding(
            ERROR,
            "ros.profile",
            f"the environment names a Fast DDS profile that is not there: {machine.profile}",
            profile_cure(machine),
        )
    if environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() == "OFF":
        yield Finding(
            ERROR,
            "ros.discovery",
            "ROS_AUTOMATIC_DISCOVERY_RANGE=OFF: no other process is found, not even on this machine",
            "export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET",
        )
    if ros is None:
        return
    if ros.problem:
        yield _broken_ros(ros, machine)
        return
    origin = "ROS wheels" if ros.wheels else "system"
    yield Finding(
        OK,
        "ros.ok",
        f"rclpy {ros.version} ({origin}), {ros.rmw}, domain {ros.domain}",
        values={"rmw": ros.rmw, "domain": ros.domain, "version": ros.version, "wheels": ros.wheels},
    )


def _broken_ros(ros: Ros, machine: Machine) -> Finding:
    sourced = machine.environment.get("ROS_DISTRO")
    if machine.distributions and not sourced:
        cure = f"source /opt/ros/{machine.distributions[-1]}/setup.bash"
    else:
        cure = "pip install 'csk_ros[ros]'"
    if ros.missing:
        return Finding(ERROR, "ros.missing", f"ROS 2 is missing: {ros.problem}", cure)
    return Finding(ERROR, "ros.broken", f"ROS 2 is there but does not work: {ros.problem}", cure)


def check_failures(facts: Facts) -> Iterator[Finding]:
    """Parts of the doctor that crashed or hung, and what the middleware printed."""
    chosen = facts.machine.environment.get("RMW_IMPLEMENTATION")
    for part, reason in facts.failures.items():
        if part == "ros" and chosen and facts.ros is None:
            yield Finding(
                ERROR,
                "ros.rmw",
                f"RMW_IMPLEMENTATION={chosen} does not start: {reason}",
                "unset RMW_IMPLEMENTATION",
                "or install that middleware",
            )
        else:
            yield Finding(
                ERROR,
                "doctor.failed",
                f"looking at {part} failed: {reason}",
                f"csk doctor --skip {part}",
                "to see the rest; what failed is itself worth a look",
            )
    for complaint in facts.complaints:
        yield Finding(
            WARN, "transport.complaint", f"the middleware says: {complaint}", profile_cure(facts.machine)
        )


def check_parameters(facts: Facts, params_file: str, node: str) -> Iterator[Finding]:
    """Whether the node would take its parameters; ``node`` is its full name."""
    parameters = facts.parameters
    if parameters is None:
        if params_file:
            yield Finding(WARN, "parameters.unchecked", f"{params_file} is not checked: that needs ROS")
        return
    if parameters.problem:
        yield _refused_parameters(parameters.problem, list(parameters.values), params_file)
    elif parameters.unmatched:
        names = ", ".join(parameters.unmatched)
        yield Finding(
            ERROR,
            "parameters.unmatched",
            f"nothing in {params_file} is for {node}: it has entries for {names}",
            "/**/segment:",
            "as the first line of that file, ros__parameters: below it",
        )
    elif params_file:
        yield Finding(OK, "parameters.ok", f"{params_file} is what {node} takes")
    if parameters.use_sim_time and facts.graph and not facts.graph.clock:
        yield Finding(
            ERROR,
            "parameters.no_clock",
            "use_sim_time is true but nobody publishes /clock",
            "use_sim_time: false",
            "or, if a bag plays, play it with: ros2 bag play --clock BAG",
        )


def _refused_parameters(problem: str, known: list[str], params_file: str) -> Finding:
    unknown = re.match(r"unknown parameter ([^:]+):", problem)
    if unknown:
        names = unknown[1].split(", ")
        near = {name: difflib.get_close_matches(name, known, 1) for name in names}
        note = ", ".join(
            f"rename {name} to {match[0]}" if match else f"remove {name}" for name, match in near.items()
        )
        return Finding(ERROR, "parameters.unknown", f"the node has no parameter {unknown[1]}", note=note)
    named = re.match(r"parameter '(\w+)'", problem)
    if named:
        cure, note = f"grep {named[1]}: $({_PARAMETERS_FILE})", "shows its default and meaning"
        return Finding(ERROR, "parameters.refused", f"the node refuses this: {problem}", cure, note)
    where = f"{params_file}: " if params_file and params_file not in problem else ""
    return Finding(
        ERROR,
        "parameters.refused",
        f"the node cannot read its parameters: {where}{problem}",
        f"cp $({_PARAMETERS_FILE}) .",
        "gives a file to begin from",
    )


def check_transport(facts: Facts) -> Iterator[Finding]:
    """Whether large best-effort images get through."""
    machine, transport = facts.machine, facts.transport
    if machine.shm_free_bytes is not None and machine.shm_free_bytes < _LEAST_SHM:
        yield Finding(
            WARN,
            "transport.shm",
            f"{SHARED_MEMORY} has {machine.shm_free_bytes / 1e6:.0f} MB left; with "
            "config/fastdds.xml each process takes 35",
            "fastdds shm clean",
            "removes leftovers; in a container: docker run --shm-size=512m",
        )
    if transport is None:
        return
    sizes = {"size_bytes": transport.size_bytes, "sent": transport.sent, "arrived": transport.arrived}
    if transport.problem:
        yield Finding(
            ERROR,
            "transport.failed",
            f"no image could be sent to itself: {transport.problem}",
            "export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST",
            "if a firewall blocks multicast, and the cameras are on this machine",
        )
        return
    result = (
        f"{transport.arrived} of {transport.sent} best-effort images of {transport.size_bytes:,} bytes "
        f"to itself arrived"
    )
    if transport.arrived >= _ARRIVED_SHARE * transport.sent:
        yield Finding(OK, "transport.ok", f"{result}, median {transport.median_ms} ms", values=sizes)
        return
    yield _lossy(facts, result, sizes)


def _lossy(facts: Facts, result: str, sizes: dict[str, int]) -> Finding:
    """Images got lost: an error where a camera here sends such images, else a warning."""
    machine, hit = facts.machine, large_best_effort(facts)
    level = ERROR if hit else WARN
    other = facts.ros.rmw if facts.ros and "fastrtps" not in facts.ros.rmw else ""
    if machine.udp_only and not other and machine.environment.get(_RANGE) == "LOCALHOST":
        message = (
            f"{result}: with {_RANGE}=LOCALHOST, ROS adds small transports of its own to {machine.profile}"
        )
        return Finding(level, "transport.lossy", message, f"unset {_RANGE}", "or use fastdds.xml", sizes)
    if over := other or (f"UDP alone ({machine.profile})" if machine.udp_only else ""):
        cure, note = "sudo sysctl -w net.core.rmem_max=67108864", "for larger receive buffers"
        return Finding(level, "transport.lossy", f"{result} over {over}", cure, note, sizes)
    segment = machine.segment_bytes or DEFAULT_SEGMENT
    sizes = sizes | {"segment_bytes": segment}
    if segment >= 2 * sizes["size_bytes"]:
        message = f"{result}: this machine is too busy"
        return Finding(level, "transport.lossy", message, WHAT_TAKES_THE_CPU, "shows what to stop", sizes)
    origin = machine.profile if machine.segment_bytes else "the default"
    need = f"; {' and '.join(hit)} may need more" if hit else ""
    return Finding(
        level,
        "transport.lossy",
        f"{result}: shared memory holds {segment:,} bytes ({origin}){need}",
        profile_cure(machine),
        "wherever a camera driver or the node is started; then restart it",
        sizes,
    )


def check_checkpoint(facts: Facts) -> Iterator[Finding]:
    """Whether the checkpoint loads and has the route that the node is held to."""
    checkpoint = facts.checkpoint
    if checkpoint is None:
        return
    if checkpoint.problem:
        yield Finding(
            ERROR,
            "checkpoint.unusable",
            checkpoint.problem,
            'checkpoint: ""',
            "takes the one that comes with csk_ros; others: *.safetensors that csk train wrote",
        )
        return
    routes = ", ".join(checkpoint.routes)
    forced = str(facts.parameters.values.get("route", "auto") if facts.parameters else "auto")
    if forced != "auto" and forced.upper() not in checkpoint.routes:
        yield Finding(
            ERROR,
            "checkpoint.route",
            f"parameter route is {forced}, but this network runs {routes}",
            "route: auto",
        )
    yield Finding(
        OK,
        "checkpoint.ok",
        f"{checkpoint.path}: {len(checkpoint.classes)} classes, runs {routes}",
        values={"routes": checkpoint.routes, "classes": checkpoint.classes},
    )


def check_engine(facts: Facts) -> Iterator[Finding]:
    """Whether the engine and device are there, and what `auto` takes."""
    libraries, engine = facts.libraries, facts.engine
    if libraries is None:
        return
    if libraries.problem:
        kind, word = ("missing", "is missing") if libraries.missing else ("broken", "does not work")
        yield Finding(
            ERROR,
            f"engine.{kind}",
            f"torch {word}: {libraries.problem}",
            "pip install --upgrade torch csk_ros",
        )
        return
    if facts.machine.nvidia and not libraries.cuda_devices:
        yield Finding(
            WARN,
            "engine.gpu_unused",
            f"there is an NVIDIA GPU, but torch {libraries.torch} does not find it",
            "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu126",
        )
    if engine is None:
        return
    if engine.problem:
        problem = engine.problem.partition(": pip install")[0]  # the cure says it
        yield Finding(ERROR, "engine.unusable", problem, _engine_cure(engine))
        return
    asked = "auto takes " if engine.wanted[0] == "auto" else ""
    installed = f"torch {libraries.torch}, openvino {libraries.openvino or 'not installed'}"
    yield Finding(
        OK,
        "engine.ok",
        f"{asked}{engine.engine} on {engine.device} in {engine.precision}, threads {engine.threads} "
        f"({installed})",
        values={
            "engine": engine.engine,
            "device": engine.device,
            "precision": engine.precision,
            "threads": engine.threads,
        },
    )


def _engine_cure(engine: Engine) -> str:
    name, device = engine.wanted
    if "not installed" in engine.problem:
        return f"pip install 'csk_ros[{name}]'"
    if "engine" in engine.problem:
        return "engine: auto"
    return "device: auto" if device != "auto" else "device: cpu"


def check_cpu(facts: Facts) -> Iterator[Finding]:
    """Whether the machine has room for the network at the cameras' rate."""
    machine, engine = facts.machine, facts.engine
    if _is_busy(machine):
        yield Finding(
            WARN,
            "cpu.busy",
            f"{machine.idle_cores:.1f} of {machine.cores} cores are idle: masks will come late",
            WHAT_TAKES_THE_CPU,
            "shows what takes them",
            {"idle_cores": machine.idle_cores, "cores": machine.cores},
        )
    else:
        yield Finding(
            OK,
            "cpu.ok",
            f"{machine.idle_cores:.1f} of {machine.cores} cores are idle",
            values={"idle_cores": machine.idle_cores, "cores": machine.cores},
        )
    if engine is None or engine.problem:
        return
    if engine.threads > machine.cores:
        yield Finding(
            WARN, "cpu.threads", f"threads is {engine.threads} on {machine.cores} cores", "threads: 0"
        )
    if engine.latency_ms:
        yield _speed(facts, engine)


def _is_busy(machine: Machine) -> bool:
    return machine.idle_cores < max(_LEAST_IDLE, _SPARE_SHARE * machine.cores)


def _speed(facts: Facts, engine: Engine) -> Finding:
    route, slowest = max(engine.latency_ms.items(), key=lambda item: item[1])
    anchor = facts.streams.get("ir") or facts.streams.get("eo")
    rate = stream_rate(anchor) if anchor else 0.0
    took = f"a {route} frame of {engine.width}x{engine.height} takes {slowest:.0f} ms"
    took += ", with the machine as busy as it is" if _is_busy(facts.machine) else ""
    load = slowest * rate / 1000
    if load <= 1:
        return Finding(OK, "cpu.speed", took, values=engine.latency_ms)
    return Finding(
        WARN,
        "cpu.slow",
        f"{took}, but frames come every {1000 / rate:.0f} ms: 1 in {math.ceil(load)} is answered",
        *_faster(facts.libraries, engine, load),
        engine.latency_ms,
    )


def _faster(libraries: Libraries | None, engine: Engine, load: float) -> tuple[str, str]:
    """Cure and note."""
    if engine.engine == "torch" and engine.device == "cpu" and libraries and not libraries.openvino:
        return "pip install 'csk_ros[openvino]'", "a faster engine, which engine: auto then takes"
    scale = math.sqrt(1 / (load * _HEADROOM))
    height, width = (int(side * scale) // 32 * 32 for side in (engine.height, engine.width))
    if min(height, width) < _SMALLEST_SIDE:
        return "", "use a GPU, or a lower frame rate of the thermal camera"
    note = "parameters of the node: the size that the network works at"
    if (engine.engine, engine.precision) == ("openvino", "float32"):
        note += "; precision: int8 gains as well, once csk export has calibrated the network"
    return f"height: {height}, width: {width}", note


def stream_rate(stream: object) -> float:
    """Images per second of a :class:`Stream`, by arrival; 0 if too few came."""
    arrivals = getattr(stream, "arrivals", [])
    span = arrivals[-1].steady_ns - arrivals[0].steady_ns if len(arrivals) > 1 else 0
    return (len(arrivals) - 1) * 1e9 / span if span else 0.0
