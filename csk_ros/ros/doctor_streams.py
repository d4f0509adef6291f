"""From observed facts to findings: the two image streams, and how they pair. Small pure functions."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from csk_ros.ros.doctor_checks import (
    ERROR,
    OK,
    WARN,
    WHAT_TAKES_THE_CPU,
    large_best_effort,
    profile_cure,
    stream_rate,
)
from csk_ros.ros.doctor_facts import Finding
from csk_ros.ros.doctor_pairing import GOOD_SHARE, GREATEST_OFFSET_S, clocks_apart
from csk_ros.ros.doctor_start import NEAR_TOPICS, Start, near_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csk_ros.ros.doctor_facts import Facts, Level, Pairing, Picture, Stream

_PREFIX = "sensor_msgs/msg/"
_RAW, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_ENCODINGS = {"eo": "rgb8 or bgr8", "ir": "mono8 or mono16"}
_NAMES = {"eo": "optical", "ir": "thermal"}
_NS = 1e9
_FAR_S = 1.0
_LOST_WARN, _LOST_ERROR = 0.05, 0.3
_FEWEST_GAPS = 6
_FEWEST_CONTENTS = 10
_FLAT = 4.0


def check_streams(facts: Facts, start: Start) -> Iterator[Finding]:
    """Everything about the two streams and their pairing."""
    swapped = are_swapped(facts)
    start = replace(start, topics=start.topics | _suggestions(facts))
    for stream in facts.streams.values():
        yield from check_stream(stream, facts, start)
        if not swapped:
            yield from _check_colour(stream)
    if swapped:
        eo, ir = start.topics["eo"], start.topics["ir"]
        switched = Start({"eo": ir, "ir": eo}, start.namespace, start.params_file, start.launch)
        yield Finding(
            ERROR,
            "pairing.swapped",
            f"the topics are swapped: {facts.streams['ir'].topic} carries colour images, "
            f"{facts.streams['eo'].topic} does not",
            switched.command("eo", ir),
        )
    elif facts.pairing:
        yield from check_pairing(facts.pairing, facts)


def check_stream(stream: Stream, facts: Facts, start: Start) -> Iterator[Finding]:
    """One stream: is it there, does it arrive, can it be read, are its stamps of use."""
    absent = _check_publishers(stream, facts, start)
    if absent:
        yield absent
        return
    name, picture = stream.modality, stream.picture
    if picture is None:
        yield _silent(stream, facts)
        return
    if picture.problem:
        yield Finding(
            ERROR,
            f"{name}.unreadable",
            f"images on {stream.topic} cannot be read: {picture.problem}",
            note=f"set the driver's encoding to {_ENCODINGS[name]}",
        )
    else:
        yield _alive(stream, picture)
        yield from _check_content(stream, picture)
    if stream.refused and not picture.problem:
        yield Finding(
            WARN,
            f"{name}.refused",
            f"{stream.refused} of {len(stream.arrivals)} images on {stream.topic} are refused: "
            f"{stream.reason}",
            note="in the driver, height, width, step, encoding and data must fit together",
        )
    yield from _check_second_publisher(stream)
    yield from _check_stamps(stream, facts)
    yield from _check_loss(stream, facts)


def _alive(stream: Stream, picture: Picture) -> Finding:
    rate = stream_rate(stream)
    reliability = "reliable" if all(one.reliable for one in stream.publishers) else "best effort"
    return Finding(
        OK,
        f"{stream.modality}.alive",
        f"{stream.topic}: {rate:.1f} Hz, {picture.width}x{picture.height} {picture.encoding}, {reliability}, "
        f"from {stream.publishers[0].node if stream.publishers else 'an unknown node'}",
        values={
            "topic": stream.topic,
            "rate_hz": round(rate, 2),
            "height": picture.height,
            "width": picture.width,
            "encoding": picture.encoding,
            "size_bytes": picture.size_bytes,
            "reliability": reliability.replace(" ", "_"),
            "publishers": [publisher.node for publisher in stream.publishers],
        },
    )


def _check_publishers(stream: Stream, facts: Facts, start: Start) -> Finding | None:
    """Nobody publishes what the node would subscribe to."""
    wanted = _COMPRESSED if stream.compressed else _RAW
    types = {publisher.type for publisher in stream.publishers}
    if stream.arrivals or wanted in types:
        return None
    if types:
        return _wrong_type(stream, min(types), wanted, start)
    if stream.sibling:
        other = "raw" if stream.compressed else "compressed"
        return Finding(
            ERROR,
            f"{stream.modality}.transport",
            f"nobody publishes {stream.topic}, but there are images on {stream.sibling}",
            start.command(stream.modality, start.topics[stream.modality], other),
        )
    return _nobody(stream, facts, start)


def _wrong_type(stream: Stream, found: str, wanted: str, start: Start) -> Finding:
    name, topic = stream.modality, stream.topic
    message = f"{topic} carries {found.removeprefix(_PREFIX)}, the node reads {wanted.removeprefix(_PREFIX)}"
    if found == _RAW:
        return Finding(ERROR, f"{name}.type", message, start.command(name, topic, "raw"))
    if found != _COMPRESSED:
        return Finding(
            ERROR, f"{name}.type", message, f"ros2 topic find {wanted}", f"lists what {name}_topic can be"
        )
    if topic.endswith("/compressed"):
        cure = start.command(name, topic.removesuffix("/compressed"), "compressed")
    else:
        cure = start.command_compressed(name, topic)
    return Finding(ERROR, f"{name}.type", message, cure)


def _candidates(stream: Stream, facts: Facts) -> list[str]:
    """The topics that may be meant for a stream that nobody publishes, best first."""
    others = {other.topic for other in facts.streams.values() if other is not stream and other.publishers}
    images = facts.graph.images if facts.graph else {}
    return near_topics(stream.modality, stream.topic, [topic for topic in images if topic not in others])


def _suggestions(facts: Facts) -> dict[str, str]:
    """The likeliest topic of every stream that nobody publishes; of two that want the same, the first."""
    chosen: dict[str, str] = {}
    for stream in facts.streams.values():
        near = _candidates(stream, facts)
        if not stream.publishers and not stream.sibling and near and near[0] not in chosen.values():
            chosen[stream.modality] = near[0].removesuffix("/compressed")
    return chosen


def _nobody(stream: Stream, facts: Facts, start: Start) -> Finding:
    name, code = stream.modality, f"{stream.modality}.no_publisher"
    message = f"nobody publishes {stream.topic}"
    near, graph = _candidates(stream, facts), facts.graph
    if graph and near:
        best = near[0].removesuffix("/compressed") if graph.images[near[0]] == _COMPRESSED else near[0]
        transport = "compressed" if best != near[0] else ""
        cure = start.command(name, best, transport)
        return Finding(
            ERROR, code, f"{message}; images are on {', '.join(near)}", cure, values={"near": near}
        )
    if graph and graph.other_domain:
        elsewhere = ", ".join(list(graph.other_domain)[:NEAR_TOPICS])
        return Finding(ERROR, code, f"{message}, but domain 0 has {elsewhere}", "export ROS_DOMAIN_ID=0")
    domain = f" in domain {facts.ros.domain}" if facts.ros else ""
    only = "no other topic has images" if graph and graph.images else "no topic has images"
    return Finding(
        ERROR,
        code,
        f"{message}; {only}{domain}",
        note=f"start the {_NAMES[name]} camera's driver; if it runs, give this shell its ROS_DOMAIN_ID",
    )


def _silent(stream: Stream, facts: Facts) -> Finding:
    name, node = stream.modality, stream.publishers[0].node
    reasons = [publisher.incompatible for publisher in stream.publishers]
    if all(reasons):
        return Finding(
            ERROR,
            f"{name}.qos",
            f"the node's qos_overrides do not fit what {node} offers on {stream.topic}: {reasons[0]}",
            note=f"remove qos_overrides.{stream.topic}.subscription from the parameters: then the node "
            "subscribes as the camera offers",
        )
    if facts.transport and facts.transport.arrived == facts.transport.sent and not facts.transport.problem:
        cure, note = "", f"restart {node}; if it is in another container: docker run --ipc=host --net=host"
    else:
        cure, note = profile_cure(facts.machine), f"where {node} is started; then restart it"
    return Finding(
        ERROR, f"{name}.silent", f"{node} is there, but no image came on {stream.topic}", cure, note
    )


def _check_second_publisher(stream: Stream) -> Iterator[Finding]:
    if len(stream.publishers) > 1:
        nodes = " and ".join(sorted(publisher.node for publisher in stream.publishers))
        yield Finding(
            WARN,
            f"{stream.modality}.publishers",
            f"{len(stream.publishers)} publishers on {stream.topic}: {nodes}; their frames mix",
            f"ros2 topic info -v {stream.topic}",
            "shows them; stop or remap all but one",
            {"publishers": [publisher.node for publisher in stream.publishers]},
        )


def _check_content(stream: Stream, picture: Picture) -> Iterator[Finding]:
    kind = _NAMES[stream.modality]
    if len(stream.arrivals) >= _FEWEST_CONTENTS and stream.contents == 1:
        yield Finding(
            WARN,
            f"{stream.modality}.frozen",
            f"all {len(stream.arrivals)} images on {stream.topic} are the same",
            note=f"restart the {kind} camera's driver",
        )
    if picture.spread < _FLAT:
        yield Finding(
            WARN,
            f"{stream.modality}.flat",
            f"images on {stream.topic} are all but uniform",
            note=f"check lens cap, shutter, exposure and gain of the {kind} camera",
        )


def _check_colour(stream: Stream) -> Iterator[Finding]:
    picture = stream.picture
    if picture is None or picture.problem:
        return
    if stream.modality == "ir" and picture.colour:
        yield Finding(
            WARN,
            "ir.colour",
            f"thermal images on {stream.topic} are coloured; the network knows grey ones",
            note="set the thermal driver's output to mono8 or mono16, without a palette",
        )
    if stream.modality == "eo" and not picture.colour and picture.spread >= _FLAT:
        yield Finding(
            WARN,
            "eo.grey",
            f"optical images on {stream.topic} have no colour",
            note="set the optical driver's encoding to rgb8, unless this is the thermal camera",
        )


def are_swapped(facts: Facts) -> bool:
    """Whether the IR topic carries colour images and the EO topic grey or 16-bit ones."""
    eo, ir = (facts.streams.get(name) for name in ("eo", "ir"))
    if not (eo and ir and eo.picture and ir.picture):
        return False
    return ir.picture.colour and not eo.picture.colour and (eo.picture.deep or not eo.picture.problem)


def _check_stamps(stream: Stream, facts: Facts) -> Iterator[Finding]:
    name, topic = stream.modality, stream.topic
    stamps = [arrival.stamp_ns for arrival in stream.arrivals]
    missing = sum(stamp <= 0 for stamp in stamps)
    stamping = f"set header.stamp in the {_NAMES[name]} camera's driver to the time of exposure"
    if missing:
        level = ERROR if missing == len(stamps) else WARN
        text = f"{missing} of {len(stamps)} images on {topic} have no stamp and cannot be paired"
        yield Finding(level, f"{name}.no_stamps", text, note=stamping)
        return
    if len(stamps) > 2 and len(set(stamps)) == 1:
        text = f"all images on {topic} have the same stamp"
        yield Finding(ERROR, f"{name}.stamps_stuck", text, note=stamping)
        return
    back = sum(later < earlier for earlier, later in pairwise(stamps))
    if back:
        yield Finding(
            WARN,
            f"{name}.stamps_back",
            f"stamps on {topic} went back {back} times in {len(stamps)} images",
            note="have one source on the topic, with one clock; a bag that loops does this once a round",
        )
    simulated = facts.graph is not None and facts.graph.clock
    late_s = median(arrival.wall_ns - arrival.stamp_ns for arrival in stream.arrivals) / _NS
    if abs(late_s) > _FAR_S and not simulated:
        side = "behind" if late_s > 0 else "ahead of"
        yield Finding(
            WARN,
            f"{name}.clock",
            f"stamps on {topic} are {_duration(abs(late_s))} {side} this machine's clock",
            "sudo chronyc makestep",
            "on the machine that stamps; if a bag plays: ros2 bag play --clock, and use_sim_time: true",
            {"late_s": round(late_s, 3)},
        )


def _duration(seconds: float) -> str:
    for unit, length in (("years", 31_557_600), ("days", 86_400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"


def lost_share(stamps: list[int]) -> float:
    """The share of frames that are missing between those that came, judged by the gaps of their stamps."""
    gaps = sorted(later - earlier for earlier, later in pairwise(stamps))
    if len(gaps) < _FEWEST_GAPS or gaps[0] <= 0:
        return 0.0
    period = gaps[len(gaps) // 10]
    missing = sum(round(gap / period) - 1 for gap in gaps)
    return missing / (missing + len(stamps))


def _check_loss(stream: Stream, facts: Facts) -> Iterator[Finding]:
    lost = lost_share([arrival.stamp_ns for arrival in stream.arrivals])
    if lost < _LOST_WARN or len(stream.publishers) > 1:
        return
    level: Level = ERROR if lost > _LOST_ERROR else WARN
    if stream.topic in large_best_effort(facts):
        why = " on their way: best effort, and too large for the shared-memory segment"
        cure = profile_cure(facts.machine)
        note = f"where {stream.publishers[0].node} is started; then restart it"
    else:
        cure, note, why = WHAT_TAKES_THE_CPU, "if the machine is not too busy, look at driver and network", ""
    yield Finding(
        level,
        f"{stream.modality}.losing",
        f"{lost:.0%} of the images on {stream.topic} are lost{why}",
        cure,
        note,
        {"lost_share": round(lost, 3)},
    )


def check_pairing(pairing: Pairing, facts: Facts) -> Iterator[Finding]:
    """Whether the node would pair the two streams, and which parameters would."""
    parameters = facts.parameters.values if facts.parameters else {}
    if str(parameters.get("route", "auto")) in {"ir_only", "eo_only"}:
        return
    values = {"share": pairing.share, "clock_offset_s": pairing.lead_s, "apart_s": pairing.apart_s}
    apart = clocks_apart(pairing, float(parameters.get("eo_time_offset", 0.0)))
    if pairing.share >= GOOD_SHARE and not apart:
        text = (
            f"{pairing.share:.0%} of the thermal frames pair; EO is {_later(pairing.lead_s)} after its stamp"
        )
        yield Finding(OK, "pairing.ok", text, values=values)
        return
    cure = ", ".join(f"{name}: {value:g}" for name, value in pairing.cure.items())
    note = f"parameters of the node; pairs {pairing.cured_share:.0%} of the frames seen here" if cure else ""
    if apart and not pairing.same_clock:
        side = "behind" if pairing.lead_s > 0 else "ahead of"
        yield Finding(
            ERROR,
            "pairing.clocks",
            f"the optical camera's clock is {_duration(abs(pairing.lead_s))} {side} the thermal camera's",
            *_clock_cure(pairing, cure, note),
            values,
        )
        return
    why = f" ({pairing.reason})" if pairing.reason else ""
    yield Finding(
        ERROR if pairing.share < 0.5 else WARN,
        "pairing.unpaired",
        f"only {pairing.share:.0%} of the thermal frames find an optical one{why}; "
        f"stamps are up to {pairing.apart_s:.3f} s apart",
        cure,
        note or "trigger both cameras together, or raise the optical camera's rate",
        values,
    )


def _clock_cure(pairing: Pairing, cure: str, note: str) -> tuple[str, str]:
    """Cure and note: what pairs the frames seen here, else the measured offset if the node can take it."""
    if cure:
        return cure, note
    if abs(pairing.lead_s) <= GREATEST_OFFSET_S:
        return (
            f"eo_time_offset: {pairing.lead_s:.2f}",
            "a parameter of the node; cure lost frames first, if any",
        )
    return "sudo chronyc makestep", "on both cameras' machines"


def _later(seconds: float) -> str:
    return f"{abs(seconds) * 1000:.0f} ms {'later' if seconds >= 0 else 'sooner'} than IR"
