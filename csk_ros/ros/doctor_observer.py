"""What ROS shows to ``csk doctor``: the node's parameters, its streams, who else is there, the transport."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import rclpy
import yaml
from rclpy.context import Context
from rclpy.exceptions import NameValidationException
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from csk_ros.modality import Modality
from csk_ros.perception import PerceptionSettings
from csk_ros.ros.doctor_facts import Fact, Graph, Parameters, Ros, Transport
from csk_ros.ros.doctor_listener import IMAGE_TYPES, StreamListener
from csk_ros.ros.doctor_pairing import observe_pairing
from csk_ros.ros.doctor_sender import COUNT, MATCH_S, PROBE_QOS
from csk_ros.ros.parameters import NodeParameters, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rclpy.node import Node

_DISCOVERY_S = 5.0
_ELSEWHERE_S = 1.5
_SETTLE_S = 0.5
_FOLLOW_S = 0.3
_PROBE_S = MATCH_S + 10.0
_SMALLEST_PROBE = 640 * 480 * 3
_LARGEST_PROBE = 24_000_000


def observe(options: dict[str, Any]) -> Iterator[Fact]:
    """Look at everything; ``options`` as `csk_ros.ros.doctor.Options` has them."""
    try:
        rclpy.init(args=[])
    except RuntimeError as error:
        yield Ros(problem=_first_line(error))
        return
    try:
        yield _ros()
        read = _read_parameters(options)
        yield read.parameters
        name = f"csk_doctor_{os.getpid()}"
        qos = [
            Parameter(key, value=value)
            for key, value in read.overrides.items()
            if key.startswith("qos_overrides.")
        ]
        with _node(name, namespace=read.namespace, parameter_overrides=qos) as node:
            largest = 0
            if options["streams"]:
                for fact in _observe_streams(node, options, read):
                    yield fact
                    picture = getattr(fact, "picture", None)
                    largest = max(largest, picture.size_bytes if picture else 0)
            if options["transport"]:
                yield probe_transport(node, min(max(largest, _SMALLEST_PROBE), _LARGEST_PROBE))
    finally:
        rclpy.try_shutdown()


def _ros() -> Ros:
    try:
        version, wheels = importlib.metadata.version("ros-rclpy"), True
    except importlib.metadata.PackageNotFoundError:
        version, wheels = os.environ.get("ROS_DISTRO", "of an unknown distribution"), False
    return Ros(
        version=version,
        wheels=wheels,
        rmw=rclpy.get_rmw_implementation_identifier(),
        domain=rclpy.utilities.get_default_context().get_domain_id(),
    )


@contextmanager
def _node(
    name: str, *, arguments: list[str] | None = None, domain: int | None = None, **options: Any
) -> Iterator[Node]:
    """A quiet node in a context of its own."""
    context = Context()
    rclpy.init(args=arguments or [], context=context, domain_id=domain)
    try:
        node = rclpy.create_node(
            name, context=context, start_parameter_services=False, enable_rosout=False, **options
        )
        try:
            yield node
        finally:
            node.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


class _Read(NamedTuple):
    parameters: Parameters
    overrides: dict[str, Any]
    settings: PerceptionSettings
    namespace: str


def _read_parameters(options: dict[str, Any]) -> _Read:
    """What the node would read, through a node of its name that is gone again at once."""
    file, given, namespace = options["params_file"], options["parameters"], options["namespace"]
    arguments = ["--ros-args", "--params-file", file] if file else []
    read = _read_with([], {}, "")
    try:
        read = _read_with(arguments, given, namespace)
    except (ParameterError, RuntimeError) as error:
        return read._replace(parameters=_with_problem(read.parameters, _first_line(error)))
    except NameValidationException as error:
        problem = f"namespace '{namespace}': {_first_line(error)}"
        return read._replace(parameters=_with_problem(read.parameters, problem))
    if file and not read.overrides.keys() - given.keys():
        return read._replace(parameters=_with_problem(read.parameters, "", unmatched=_node_names(file)))
    return read


def _read_with(arguments: list[str], given: dict[str, Any], namespace: str) -> _Read:
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    with _node("segment", arguments=arguments, namespace=namespace, parameter_overrides=overrides) as node:
        parameters = NodeParameters(node)
        problem = ""
        settings = PerceptionSettings()
        try:
            parameters.check()
            settings = parameters.perception_settings()
        except (ParameterError, ValueError) as error:
            problem = _first_line(error)
        values = {name: value.value for name, value in node.get_parameters_by_prefix("").items()}
        # rclpy has no public way to what was given but not declared.
        found = {name: value.value for name, value in node._parameter_overrides.items()}  # noqa: SLF001
        return _Read(
            Parameters(problem, values=values, use_sim_time=bool(values.get("use_sim_time"))),
            found,
            settings,
            namespace,
        )


def _with_problem(parameters: Parameters, problem: str, unmatched: list[str] | None = None) -> Parameters:
    return Parameters(problem, unmatched or [], parameters.values, parameters.use_sim_time)


def _node_names(file: str) -> list[str]:
    """The node names that a params file (known to be readable YAML) has entries for."""
    document = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    return [str(name) for name in document] if isinstance(document, dict) else []


def _observe_streams(node: Node, options: dict[str, Any], read: _Read) -> Iterator[Fact]:
    listeners = [
        StreamListener(
            node,
            modality,
            options[f"{modality.value}_topic"],
            compressed=read.parameters.values[f"{modality.value}_transport"] == "compressed",
            overrides=read.overrides,
        )
        for modality in (Modality.EO, Modality.IR)
    ]

    def follow() -> None:
        for listener in listeners:
            listener.follow()

    executor = rclpy.executors.SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    found = _spin(executor, _DISCOVERY_S, follow, until=lambda: all(one.publishers() for one in listeners))
    _spin(executor, _SETTLE_S if found else 0.0, follow)
    for listener in listeners:
        listener.start()
    _spin(executor, options["seconds"], follow)
    streams = [listener.observed() for listener in listeners]
    yield from streams
    yield _graph(node)
    for listener in listeners:
        listener.close()
    executor.shutdown()
    pairing = observe_pairing(streams[0].arrivals, streams[1].arrivals, read.settings)
    if pairing:
        yield pairing


def _spin(
    executor: rclpy.executors.Executor,
    seconds: float,
    follow: Callable[[], None],
    until: Callable[[], bool] | None = None,
) -> bool:
    """Spin for so long, or until something holds; returns whether it does."""
    end = time.monotonic() + seconds
    due = 0.0
    while (now := time.monotonic()) < end:
        if now >= due:
            follow()
            if until and until():
                return True
            due = now + _FOLLOW_S
        executor.spin_once(timeout_sec=min(0.05, end - now))
    return bool(until and until())


def _graph(node: Node) -> Graph:
    images = _image_topics(node)
    other: dict[str, str] = {}
    if not images and node.context.get_domain_id():
        with _node(f"{node.get_name()}_elsewhere", domain=0) as elsewhere:
            time.sleep(_ELSEWHERE_S)
            other = _image_topics(elsewhere)
    return Graph(
        images=images,
        other_domain=other,
        nodes=[f"{ns.rstrip('/')}/{name}" for name, ns in node.get_node_names_and_namespaces()],
        clock=bool(node.count_publishers("/clock")),
    )


def _image_topics(node: Node) -> dict[str, str]:
    return {
        topic: kind
        for topic, types in node.get_topic_names_and_types()
        for kind in types
        if kind in IMAGE_TYPES and node.count_publishers(topic)
    }


def probe_transport(node: Node, size_bytes: int) -> Transport:
    """Have a process of its own send large best-effort images here, and count what arrives."""
    topic = f"/{node.get_name()}/probe"
    delays_ms: list[float] = []

    def receive(message: Image) -> None:
        sent_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        delays_ms.append((time.monotonic_ns() - sent_ns) * 1e-6)

    node.create_subscription(Image, topic, receive, PROBE_QOS)
    executor = rclpy.executors.SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    command = [sys.executable, "-m", "csk_ros.ros.doctor_sender", topic, str(size_bytes)]
    sender = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 (our own interpreter and module)
    try:
        end = time.monotonic() + _PROBE_S
        while sender.poll() is None and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.02)
        ended = sender.poll()
    finally:
        sender.kill()
        sender.wait()
        executor.shutdown()
    problem = {0: "", None: "the sending process hung", 1: "the sending process found no subscriber"}.get(
        ended, f"the sending process ended with exit code {ended}"
    )
    return Transport(
        size_bytes=size_bytes,
        sent=COUNT,
        arrived=len(delays_ms),
        median_ms=round(median(delays_ms), 1) if delays_ms else None,
        problem=problem,
    )


def _first_line(error: Exception) -> str:
    """The first line of an error, without the places in its source that rcl adds."""
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return re.sub(r", at \S+:\d+", "", line).removeprefix("failed to initialize rcl: ")
