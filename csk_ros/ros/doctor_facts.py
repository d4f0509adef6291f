"""What ``csk doctor`` observed, as plain values that travel as JSON between its processes. Imports no ROS."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Level(str, Enum):
    """How bad a finding is."""

    OK = "OK"
    WARN = "WARN"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: how bad.
        code: what was found, ``area.kind``; stable, for machines.
        message: one line for people.
        cure: a command, parameter or environment line to copy; may be empty.
        note: where the cure belongs, or what to do where no line cures it; may be empty.
        values: measured numbers, for machines.
    """

    level: Level
    code: str
    message: str
    cure: str = ""
    note: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def area(self) -> str:
        """What the finding is about."""
        return self.code.partition(".")[0]


@dataclass(frozen=True)
class Machine:
    """The computer and the environment of this process.

    Attributes:
        cores: CPU cores that this process may use.
        idle_cores: how many of them were idle while nothing of the doctor ran.
        shm_free_bytes: free space of ``/dev/shm``, None where there is none.
        environment: the variables that ROS, DDS and torch read.
        distributions: ROS distributions under ``/opt/ros``.
        profile: the Fast DDS profile that the environment names, or empty.
        profile_readable: whether that file can be read.
        segment_bytes: the shared-memory segment that it asks for, None if it says nothing.
        udp_only: whether it leaves shared memory out.
        shipped_profile: the profile that comes with csk_ros, or empty.
        nvidia: whether the driver of an NVIDIA GPU is loaded.
    """

    cores: int
    idle_cores: float
    shm_free_bytes: int | None
    environment: dict[str, str]
    distributions: list[str]
    profile: str = ""
    profile_readable: bool = True
    segment_bytes: int | None = None
    udp_only: bool = False
    shipped_profile: str = ""
    nvidia: bool = False


@dataclass(frozen=True)
class Ros:
    """The client library: what it is, or the problem that keeps it from working."""

    problem: str = ""
    missing: bool = False
    version: str = ""
    wheels: bool = False
    rmw: str = ""
    domain: int = 0


@dataclass(frozen=True)
class Parameters:
    """The node's parameters as it would read them.

    Attributes:
        problem: why the node would refuse them, or empty.
        unmatched: the node names of a params file of which none fits this node.
        values: every parameter by name; the defaults where they could not be read.
        use_sim_time: whether the node would take its time from ``/clock``.
    """

    problem: str = ""
    unmatched: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    use_sim_time: bool = False


class Publisher(NamedTuple):
    """A publisher of a topic."""

    node: str
    type: str
    reliable: bool
    incompatible: str = ""
    """Why the node's subscription would not match it, or empty."""


class Arrival(NamedTuple):
    """An image's arrival: on a steady clock, on the wall clock, and the stamp in its header. Nanoseconds."""

    steady_ns: int
    wall_ns: int
    stamp_ns: int


@dataclass(frozen=True)
class Picture:
    """What the last image of a stream looks like.

    Attributes:
        encoding: of a raw image; the format of a compressed one.
        size_bytes: of its data.
        problem: why the node cannot read it, or empty.
        colour: whether its channels differ.
        deep: whether its pixels have 16 bits.
        spread: of its pixel values, from the 1st to the 99th percentile.
    """

    encoding: str
    height: int
    width: int
    size_bytes: int
    problem: str = ""
    colour: bool = False
    deep: bool = False
    spread: float = 255.0


@dataclass(frozen=True)
class Stream:
    """One of the node's two inputs while it was listened to.

    Attributes:
        modality: ``eo`` or ``ir``.
        topic: the resolved name.
        compressed: whether the node would read ``CompressedImage``.
        publishers: of the topic, whatever their type.
        sibling: the topic of the other transport, if somebody publishes images there.
        arrivals: every image that came, in order.
        refused: how many of them contradict themselves, and the first reason.
        contents: how many different contents the images had.
        picture: the last image, None if none came.
    """

    modality: str
    topic: str
    compressed: bool
    publishers: list[Publisher] = field(default_factory=list)
    sibling: str = ""
    arrivals: list[Arrival] = field(default_factory=list)
    refused: int = 0
    reason: str = ""
    contents: int = 0
    picture: Picture | None = None

    def __post_init__(self) -> None:
        """Give the parts their types back after JSON."""
        object.__setattr__(self, "publishers", [Publisher(*row) for row in self.publishers])
        object.__setattr__(self, "arrivals", [Arrival(*row) for row in self.arrivals])
        picture: Any = self.picture
        if isinstance(picture, dict):
            object.__setattr__(self, "picture", Picture(**picture))


@dataclass(frozen=True)
class Graph:
    """Who is there besides the two inputs.

    Attributes:
        images: topics with a publisher of images, and their type.
        other_domain: the same in domain 0, looked at when there are none in this one.
        nodes: running nodes, with their namespace.
        clock: whether somebody publishes ``/clock``.
    """

    images: dict[str, str] = field(default_factory=dict)
    other_domain: dict[str, str] = field(default_factory=dict)
    nodes: list[str] = field(default_factory=list)
    clock: bool = False


@dataclass(frozen=True)
class Pairing:
    """What the node's own pairing makes of the two streams.

    Attributes:
        share: of the IR frames that would be paired.
        reason: the most frequent one why a frame would not be.
        lead_s: how much later EO frames arrive after their stamp than IR frames do.
        apart_s: greatest stamp difference to the nearest EO frame of 95 % of the IR frames.
        same_clock: whether both streams' stamps are those of this machine's clock.
        cure: the parameters that were tried on the same frames and pair them.
        cured_share: the share with these.
    """

    share: float
    reason: str
    lead_s: float
    apart_s: float
    same_clock: bool
    cure: dict[str, float] = field(default_factory=dict)
    cured_share: float = 0.0


@dataclass(frozen=True)
class Transport:
    """Large best-effort images from a process of its own to the observer, through the real middleware."""

    size_bytes: int
    sent: int
    arrived: int
    median_ms: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint file."""

    path: str
    problem: str = ""
    routes: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Libraries:
    """What could run the network.

    Attributes:
        torch: version; empty if it does not import.
        cuda_devices: how many torch finds.
        openvino: version; empty if it does not import.
        problem: why torch, or what else inference needs, does not import.
        missing: whether it is not installed at all.
    """

    problem: str = ""
    missing: bool = False
    torch: str = ""
    cuda_devices: int = 0
    openvino: str = ""


@dataclass(frozen=True)
class Engine:
    """The engine and device that the node would take.

    Attributes:
        wanted: engine and device as asked for.
        engine: what runs; empty if nothing does.
        threads: CPU threads of it.
        latency_ms: median milliseconds of a frame by route; empty until measured.
        height: of the images measured.
        width: of the images measured.
        precision: that it computes in.
    """

    wanted: list[str]
    problem: str = ""
    engine: str = ""
    device: str = ""
    threads: int = 0
    latency_ms: dict[str, float] = field(default_factory=dict)
    height: int = 0
    width: int = 0
    precision: str = ""


Fact = Ros | Parameters | Stream | Graph | Pairing | Transport | Checkpoint | Libraries | Engine
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Ros, Parameters, Stream, Graph, Pairing, Transport, Checkpoint, Libraries, Engine)
}


@dataclass
class Facts:
    """Everything that was observed; None where it was not looked at or could not be.

    Attributes:
        failures: why a part could not be observed, by part.
        complaints: what the middleware printed as errors.
    """

    machine: Machine
    ros: Ros | None = None
    parameters: Parameters | None = None
    streams: dict[str, Stream] = field(default_factory=dict)
    graph: Graph | None = None
    pairing: Pairing | None = None
    transport: Transport | None = None
    checkpoint: Checkpoint | None = None
    libraries: Libraries | None = None
    engine: Engine | None = None
    failures: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def add(self, fact: Fact) -> None:
        """Keep a fact; a later one of its kind replaces it."""
        if isinstance(fact, Stream):
            self.streams[fact.modality] = fact
        else:
            setattr(self, type(fact).__name__.lower(), fact)


def write_fact(path: Path, fact: Fact) -> None:
    """Append a fact to a file of facts, so that what is known survives whatever comes after."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps([type(fact).__name__, asdict(fact)]) + "\n")


def read_facts(path: Path) -> Iterator[Fact]:
    """The facts of a file; a last line that was cut short is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            kind, value = json.loads(line)
            yield _KINDS[kind](**value)
