"""The doctor's checks over made-up facts, without DDS."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csk_ros.modality import Route
from csk_ros.perception import PerceptionSettings
from csk_ros.ros.doctor import Options, Report, judge
from csk_ros.ros.doctor_checks import check_cpu, check_engine, check_ros, check_transport
from csk_ros.ros.doctor_facts import (
    Arrival,
    Checkpoint,
    Engine,
    Facts,
    Finding,
    Graph,
    Level,
    Libraries,
    Machine,
    Parameters,
    Picture,
    Publisher,
    Ros,
    Stream,
    Transport,
    read_facts,
    write_fact,
)
from csk_ros.ros.doctor_machine import observe_machine
from csk_ros.ros.doctor_pairing import observe_pairing, pair_share
from csk_ros.ros.doctor_start import Start, near_topics
from csk_ros.ros.doctor_streams import check_streams, lost_share
from csk_ros.share import share_path

IMAGE = "sensor_msgs/msg/Image"
NOW = 1_700_000_000_000_000_000
MS = 1_000_000
MACHINE = Machine(2, 2.0, 10**9, {}, [], shipped_profile="/share/fastdds.xml")
START = Start({"eo": "eo/image", "ir": "ir/image"})


def arrivals(rate=30.0, seconds=3.0, *, delay_s=0.0, offset_s=0.0, phase_s=0.0):
    """A camera whose images arrive ``delay_s`` after exposure, by a clock that is ``offset_s`` ahead."""
    times = [phase_s + n / rate for n in range(int(rate * seconds))]
    return [
        Arrival(int((t + delay_s) * 1e9), NOW + int((t + delay_s) * 1e9), NOW + int((t + offset_s) * 1e9))
        for t in times
    ]


def stream(modality, came=None, **changes):
    colour = modality == "eo"
    picture = Picture("rgb8" if colour else "mono8", 480, 640, 921_600 if colour else 307_200, colour=colour)
    came = arrivals() if came is None else came
    fields = {
        "topic": f"/{modality}/image",
        "compressed": False,
        "publishers": [Publisher(f"/{modality}_driver", IMAGE, reliable=True)],
        "arrivals": came,
        "contents": len(came),
        "picture": picture,
    }
    return Stream(modality, **(fields | changes))


def facts(*streams, **others):
    return Facts(MACHINE, streams={one.modality: one for one in streams}, **others)


def codes(findings):
    return {finding.code: finding for finding in findings}


def test_two_good_streams_give_nothing_but_ok():
    eo, ir = stream("eo"), stream("ir")
    pairing = observe_pairing(eo.arrivals, ir.arrivals, PerceptionSettings())
    found = codes(check_streams(facts(eo, ir, pairing=pairing), START))
    assert set(found) == {"eo.alive", "ir.alive", "pairing.ok"}
    assert {finding.level for finding in found.values()} == {Level.OK}
    assert found["ir.alive"].values["rate_hz"] == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"publishers": [], "arrivals": [], "picture": None}, "ir.no_publisher", "no topic has images"),
        (
            {"publishers": [], "arrivals": [], "picture": None, "sibling": "/ir/image/compressed"},
            "ir.transport",
            "/ir/image/compressed",
        ),
        ({"arrivals": [], "picture": None}, "ir.silent", "/ir_driver"),
        ({"contents": 1}, "ir.frozen", "the same"),
        ({"picture": Picture("mono8", 4, 4, 16, spread=1.0)}, "ir.flat", "uniform"),
        ({"refused": 3, "reason": "step 3 does not fit"}, "ir.refused", "step 3"),
        ({"arrivals": arrivals(offset_s=5.0)}, "ir.clock", "5.0 s ahead of"),
        ({"arrivals": arrivals(offset_s=-1e8)}, "ir.clock", "3 years behind"),
        ({"arrivals": arrivals()[::-1]}, "ir.stamps_back", "89 times"),
        ({"arrivals": arrivals()[::2] + arrivals(phase_s=3)[:60]}, "ir.losing", "% of the images"),
    ],
)
def test_faults_of_one_stream(changes, code, says):
    found = codes(check_streams(facts(stream("ir", **changes)), START))
    assert says in found[code].message
    assert found[code].cure or found[code].note


def test_large_best_effort_images_that_get_lost_are_an_error_with_the_profile_as_cure():
    publisher = Publisher("/eo_driver", IMAGE, reliable=False)
    some = [arrival for n, arrival in enumerate(arrivals()) if n % 7 in {0, 1}]
    eo = stream("eo", some, publishers=[publisher])
    transport = Transport(921_600, sent=30, arrived=9)
    found = codes([*check_streams(facts(eo), START), *check_transport(facts(eo, transport=transport))])
    for code in ("eo.losing", "transport.lossy"):
        assert found[code].level is Level.ERROR
        assert found[code].cure == "export FASTRTPS_DEFAULT_PROFILES_FILE=/share/fastdds.xml"


def test_a_lossy_transport_is_an_error_where_no_best_effort_image_came_at_all():
    eo = stream("eo", [], publishers=[Publisher("/eo_driver", IMAGE, reliable=False)], picture=None)
    (finding,) = check_transport(facts(eo, transport=Transport(921_600, sent=30, arrived=9)))
    assert (finding.code, finding.level) == ("transport.lossy", Level.ERROR)
    assert "/eo/image may need more" in finding.message


def test_a_lossy_transport_that_no_camera_here_needs_is_a_warning():
    (finding,) = check_transport(facts(stream("eo"), transport=Transport(921_600, sent=30, arrived=9)))
    assert (finding.code, finding.level) == ("transport.lossy", Level.WARN)


@pytest.mark.parametrize(("keep", "lost"), [(1, 0.0), (2, 0.0), (3, 0.0)])
def test_a_regular_camera_loses_nothing_whatever_its_rate(keep, lost):
    assert lost_share([arrival.stamp_ns for arrival in arrivals()][::keep]) == lost


@settings(max_examples=40)
@given(st.lists(st.integers(0, 199), min_size=80, max_size=180, unique=True))
def test_the_lost_share_is_what_was_taken_out(kept):
    kept = sorted(kept)
    true = 1 - len(kept) / (kept[-1] - kept[0] + 1)
    assert lost_share([NOW + n * 33 * MS for n in kept]) == pytest.approx(true, abs=0.01)


@pytest.mark.parametrize(
    ("eo", "cure"),
    [
        (arrivals(offset_s=-1.3), {"eo_time_offset": 1.3}),
        (arrivals(offset_s=2.0), {"eo_time_offset": -2.0}),
        (arrivals(delay_s=0.3), {"max_wait": 0.41}),
        (arrivals(rate=5.0), {"slop": 0.121}),
        (arrivals(rate=5.0, offset_s=4.0), {"eo_time_offset": -4.0, "slop": 0.121}),
    ],
    ids=["behind", "ahead", "late", "rare", "rare and ahead"],
)
def test_the_cure_of_a_bad_pairing_is_found_and_pairs(eo, cure):
    ir, plain = arrivals(phase_s=0.01), PerceptionSettings()
    pairing = observe_pairing(eo, ir, plain)
    assert pairing.cure == pytest.approx(cure, abs=0.03)
    names = {"slop": "slop_ns", "eo_time_offset": "eo_offset_ns", "max_wait": "max_wait_ns"}
    cured = dataclasses.replace(plain, **{names[n]: int(s * 1e9) for n, s in pairing.cure.items()})
    assert pair_share(eo, ir, cured)[0] >= 0.9


def test_clocks_that_differ_are_an_error_even_where_every_frame_finds_a_wrong_partner():
    eo, ir = arrivals(offset_s=0.5), arrivals()
    pairing = observe_pairing(eo, ir, PerceptionSettings())
    assert pairing.share > 0.8
    found = codes(check_streams(facts(stream("eo", eo), stream("ir", ir), pairing=pairing), START))
    assert found["pairing.clocks"].level is Level.ERROR
    assert found["pairing.clocks"].cure == "eo_time_offset: -0.5"


@pytest.mark.parametrize(
    ("offset", "cure"), [(3.0, "eo_time_offset: -3.00"), (60.0, "sudo chronyc makestep")]
)
def test_clocks_that_differ_while_frames_are_lost(offset, cure):
    eo, ir = arrivals(rate=2.0, offset_s=offset)[::3], arrivals()
    eo += [arrivals(rate=2.0, seconds=9, offset_s=offset)[n] for n in (9, 11, 12, 14, 17)]
    pairing = dataclasses.replace(observe_pairing(eo, ir, PerceptionSettings()), cure={})
    found = codes(check_streams(facts(stream("eo", eo), stream("ir", ir), pairing=pairing), START))
    assert found["pairing.clocks"].cure == cure


def test_the_offset_that_is_set_already_is_taken_into_account():
    offset = PerceptionSettings(eo_offset_ns=-500 * MS)
    eo, ir = arrivals(offset_s=0.5), arrivals()
    pairing = observe_pairing(eo, ir, offset)
    parameters = Parameters(values={"eo_time_offset": -0.5})
    found = codes(
        check_streams(
            facts(stream("eo", eo), stream("ir", ir), pairing=pairing, parameters=parameters), START
        )
    )
    assert found["pairing.ok"].level is Level.OK


def test_a_forced_route_without_pairs_needs_no_pairing():
    pairing = observe_pairing(arrivals(offset_s=5.0), arrivals(), PerceptionSettings(route=Route.IR_ONLY))
    parameters = Parameters(values={"route": "ir_only"})
    found = codes(
        check_streams(facts(stream("eo"), stream("ir"), pairing=pairing, parameters=parameters), START)
    )
    assert not any(code.startswith("pairing") for code in found)


def test_streams_without_stamps_or_frames_are_not_paired():
    unstamped = [arrival._replace(stamp_ns=0) for arrival in arrivals()]
    assert observe_pairing(unstamped, arrivals(), PerceptionSettings()) is None
    assert observe_pairing([], arrivals(), PerceptionSettings()) is None


@pytest.mark.parametrize(
    ("eo", "ir", "swapped"),
    [
        (Picture("mono8", 4, 4, 16), Picture("rgb8", 4, 4, 48, colour=True), True),
        (Picture("mono16", 4, 4, 32, "16 bit", deep=True), Picture("rgb8", 4, 4, 48, colour=True), True),
        (Picture("odd", 4, 4, 32, "unknown encoding"), Picture("rgb8", 4, 4, 48, colour=True), False),
        (Picture("rgb8", 4, 4, 48, colour=True), Picture("rgb8", 4, 4, 48, colour=True), False),
        (Picture("mono8", 4, 4, 16), Picture("mono8", 4, 4, 16), False),
    ],
    ids=["grey and colour", "deep and colour", "unreadable", "both colour", "both grey"],
)
def test_swapped_topics(eo, ir, swapped):
    found = codes(check_streams(facts(stream("eo", picture=eo), stream("ir", picture=ir)), START))
    assert ("pairing.swapped" in found) == swapped
    if swapped:
        command = "ros2 launch csk_ros segment.launch.py eo_topic:=ir/image ir_topic:=eo/image"
        assert found["pairing.swapped"].cure == command
        assert {"ir.colour", "eo.grey"}.isdisjoint(found)


def test_missing_topics_are_cured_together():
    images = {"/cam/image_raw": IMAGE, "/lwir/image_raw": IMAGE, "/segment/overlay": IMAGE}
    absent = {"publishers": [], "arrivals": [], "picture": None}
    found = codes(
        check_streams(
            facts(stream("eo", **absent), stream("ir", **absent), graph=Graph(images=images)), START
        )
    )
    command = "ros2 launch csk_ros segment.launch.py eo_topic:=/cam/image_raw ir_topic:=/lwir/image_raw"
    assert found["eo.no_publisher"].cure == found["ir.no_publisher"].cure == command


def test_cameras_in_domain_0_are_found():
    absent = stream("ir", publishers=[], arrivals=[], picture=None)
    graph = Graph(other_domain={"/ir/image": IMAGE})
    finding = codes(check_streams(facts(absent, graph=graph), START))["ir.no_publisher"]
    assert finding.cure == "export ROS_DOMAIN_ID=0"


@pytest.mark.parametrize(
    ("launch", "command"),
    [
        (
            True,
            "ros2 launch csk_ros segment.launch.py ir_topic:=/t ir_transport:=compressed namespace:=front",
        ),
        (
            False,
            (
                "segment_node --ros-args -p autostart:=true -r __ns:=/front "
                "-p ir_transport:=compressed -r ir/image/compressed:=/t/compressed"
            ),
        ),
    ],
)
def test_the_command_that_starts_the_node(launch, command):
    start = Start(START.topics, namespace="front", launch=launch)
    assert start.command("ir", "/t", "compressed") == command


def test_topics_of_the_other_camera_come_last():
    topics = ["/rgb/image_raw", "/flir/image_raw", "/map/image"]
    assert near_topics("ir", "/ir/image", topics)[0] == "/flir/image_raw"
    assert near_topics("eo", "/eo/image", topics)[0] == "/rgb/image_raw"


@pytest.mark.parametrize(
    ("environment", "ros", "code", "cure"),
    [
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, Ros(rmw="x"), "ros.discovery", "SUBNET"),
        ({}, Ros("No module named 'rclpy'", missing=True), "ros.missing", "source /opt/ros/jazzy/setup.bash"),
        ({"ROS_DISTRO": "jazzy"}, Ros("librcl.so: cannot open"), "ros.broken", "pip install"),
    ],
)
def test_the_environment(environment, ros, code, cure):
    machine = dataclasses.replace(MACHINE, environment=environment, distributions=["jazzy"])
    found = codes(check_ros(Facts(machine, ros=ros)))
    assert found[code].level is Level.ERROR
    assert cure in found[code].cure


def test_a_small_shared_memory_folder_is_a_warning():
    machine = dataclasses.replace(MACHINE, shm_free_bytes=10_000_000)
    (finding,) = check_transport(Facts(machine))
    assert (finding.code, finding.level) == ("transport.shm", Level.WARN)
    assert "--shm-size" in finding.note


def test_discovery_on_this_machine_only_spoils_a_profile_of_udp_alone():
    machine = dataclasses.replace(
        MACHINE,
        profile="/p/udp.xml",
        udp_only=True,
        environment={"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
    )
    (finding,) = check_transport(Facts(machine, transport=Transport(921_600, sent=30, arrived=9)))
    assert finding.cure == "unset ROS_AUTOMATIC_DISCOVERY_RANGE"
    assert "/p/udp.xml" in finding.message


@pytest.mark.parametrize(
    ("changes", "over"),
    [
        ({"ros": Ros(rmw="rmw_cyclonedds_cpp")}, "over rmw_cyclonedds_cpp"),
        (
            {"machine": dataclasses.replace(MACHINE, profile="/p/udp.xml", udp_only=True)},
            "over UDP alone (/p/udp.xml)",
        ),
    ],
)
def test_what_goes_over_sockets_gets_larger_buffers_as_cure(changes, over):
    lossy = facts(transport=Transport(921_600, sent=30, arrived=9))
    (finding,) = check_transport(dataclasses.replace(lossy, **changes))
    assert finding.message.endswith(over)
    assert "rmem_max" in finding.cure


@pytest.mark.parametrize(
    ("libraries", "cure"),
    [
        (Libraries(torch="2"), "pip install 'csk_ros[openvino]'"),
        (Libraries(torch="2", openvino="2026"), "height: 192, width: 256"),
    ],
)
def test_a_network_that_is_too_slow_for_the_camera(libraries, cure):
    engine = Engine(["auto", "auto"], "", "torch", "cpu", 1, {"FUSED": 150.0, "IR_ONLY": 80.0}, 480, 640)
    found = codes(check_cpu(facts(stream("ir"), engine=engine, libraries=libraries)))
    assert "1 in 5" in found["cpu.slow"].message
    assert found["cpu.slow"].cure == cure
    assert "int8" not in found["cpu.slow"].note
    for precision, hint in (("float32", True), ("int8", False)):
        compiled = dataclasses.replace(engine, engine="openvino", precision=precision)
        found = codes(check_cpu(facts(stream("ir"), engine=compiled, libraries=libraries)))
        assert found["cpu.slow"].cure == "height: 192, width: 256"
        assert ("precision: int8" in found["cpu.slow"].note) == hint


def test_a_gpu_that_torch_does_not_see():
    machine = dataclasses.replace(MACHINE, nvidia=True)
    found = codes(check_engine(Facts(machine, libraries=Libraries(torch="2.13.0+cpu"))))
    assert "torch" in found["engine.gpu_unused"].cure


def test_what_the_node_would_run_on():
    engine = Engine(["auto", "auto"], "", "openvino", "cpu", 2, precision="int8")
    found = codes(check_engine(Facts(MACHINE, libraries=Libraries(torch="2", openvino="3"), engine=engine)))
    wanted = "auto takes openvino on cpu in int8, threads 2 (torch 2, openvino 3)"
    assert found["engine.ok"].message == wanted


def test_a_busy_machine_and_too_many_threads():
    machine = dataclasses.replace(MACHINE, idle_cores=0.1)
    engine = Engine(["auto", "auto"], engine="torch", device="cpu", threads=8)
    found = codes(check_cpu(Facts(machine, engine=engine)))
    assert {"cpu.busy", "cpu.threads"} <= set(found)


def test_a_failed_part_is_an_error_and_not_a_traceback():
    given_facts = facts()
    given_facts.failures["engine"] = "it died of SIGSEGV"
    found = codes(judge(given_facts, Options()))
    assert found["doctor.failed"].level is Level.ERROR
    assert "SIGSEGV" in found["doctor.failed"].message


numbers = st.integers(-(10**18), 2 * 10**18)
any_arrivals = st.lists(st.builds(Arrival, st.integers(0, 10**11), numbers, numbers), max_size=40).map(
    lambda rows: sorted(rows, key=lambda row: row.steady_ns)
)
any_streams = st.builds(
    Stream,
    modality=st.just("ir"),
    topic=st.sampled_from(["/ir/image", "/ir/image/compressed"]),
    compressed=st.booleans(),
    publishers=st.lists(
        st.builds(
            Publisher,
            st.just("/n"),
            st.sampled_from([IMAGE, "sensor_msgs/msg/CompressedImage", "x"]),
            st.booleans(),
            st.sampled_from(["", "reliability"]),
        ),
        max_size=3,
    ),
    sibling=st.sampled_from(["", "/s"]),
    arrivals=any_arrivals,
    refused=st.integers(0, 5),
    contents=st.integers(0, 3),
    picture=st.none() | st.builds(
        Picture, st.just("mono8"), st.integers(0, 9), st.integers(0, 9), st.integers(0, 10**7),
        problem=st.sampled_from(["", "a 16-bit image"]), colour=st.booleans(),
    ),
)  # fmt: skip


@settings(max_examples=40)
@given(any_streams, any_streams, st.none() | st.builds(Graph, images=st.just({"/a/compressed": IMAGE})))
def test_whatever_was_observed_is_judged(eo, ir, graph):
    eo, ir = (
        one if one.arrivals and one.picture else dataclasses.replace(one, arrivals=[], picture=None)
        for one in (dataclasses.replace(eo, modality="eo"), ir)
    )
    pairing = observe_pairing(eo.arrivals, ir.arrivals, PerceptionSettings())
    report = Report(judge(facts(eo, ir, graph=graph, pairing=pairing), Options()), 1.0)
    for finding in report.findings:
        assert finding.level is Level.OK or finding.cure or finding.note
        assert "\n" not in finding.message + finding.cure + finding.note
    assert report.text(80)
    assert report.json()


def test_facts_survive_their_file_and_a_cut_last_line(tmp_path):
    path = tmp_path / "facts"
    written = [
        stream("ir"),
        Graph(images={"/a": IMAGE}),
        Checkpoint("x.safetensors", routes=["FUSED"]),
        observe_pairing(arrivals(), arrivals(), PerceptionSettings()),
    ]
    for fact in written:
        write_fact(path, fact)
    path.write_text(path.read_text(encoding="utf-8") + '["Ros", {"prob', encoding="utf-8")
    assert list(read_facts(path)) == written
    assert list(read_facts(tmp_path / "nothing")) == []


@pytest.mark.parametrize(
    ("profile", "segment", "udp_only"),
    [
        ("<!-- <segment_size>1</segment_size> --><segment_size> 33554432 </segment_size>", 33_554_432, False),
        ("<x/>", None, False),
        ("<useBuiltinTransports>true</useBuiltinTransports>", None, False),
        ("<!-- <type>SHM</type> --><useBuiltinTransports>0</useBuiltinTransports>", None, True),
        (share_path("config/fastdds.xml").read_text(encoding="utf-8"), 33_554_432, False),
        (share_path("config/fastdds_udp.xml").read_text(encoding="utf-8"), None, True),
    ],
    ids=["segment", "none", "builtin", "udp", "fastdds.xml", "fastdds_udp.xml"],
)  # fmt: skip
def test_what_a_profile_says_of_transports(profile, segment, udp_only, monkeypatch, tmp_path):
    (tmp_path / "profile.xml").write_text(profile)
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(tmp_path / "profile.xml"))
    machine = observe_machine()
    assert (machine.segment_bytes, machine.udp_only) == (segment, udp_only)


def test_the_machine_is_observed(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(tmp_path))
    machine = observe_machine()
    assert 0 <= machine.idle_cores <= machine.cores
    assert not machine.profile_readable  # a folder is no profile
    assert machine.shipped_profile.endswith("config/fastdds.xml")


def test_the_exit_code_counts_errors_only():
    warning = Finding(Level.WARN, "cpu.busy", "busy", note="wait")
    assert Report([warning], 1.0).exit_code == 0
    assert Report([warning, Finding(Level.ERROR, "ros.missing", "gone", "get it")], 1.0).exit_code == 1
