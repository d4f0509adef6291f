from __future__ import annotations

import re
import threading
import time

import cv2
import numpy as np
import pytest
import torch
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from peer import BEST_EFFORT, HEIGHT, LATCHED, PERIOD, START, WIDTH, play
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from csk_ros.inference import Segmenter
from csk_ros.inference.engines.torch_engine import TorchEngine
from csk_ros.labels import MFNET
from csk_ros.messages import stamp_to_ns
from csk_ros.network import DEFAULT_NORMALISATION, build_network, save_checkpoint

both_executors = pytest.mark.parametrize("peer", ["events", "single_threaded"], indirect=True)


def settled(peer, received):
    """Whether diagnostics say that so many IR frames came and none is in hand."""
    return lambda: peer.count("ir_received") == received and peer.count("in_hand") == 0


def test_every_pair_gives_a_mask_under_the_thermal_header(peer, start):
    start(route="fused")
    stamps = play(peer, 10)
    peer.wait_for(settled(peer, 10))
    assert peer.balanced(), peer.account()
    peer.wait_for(lambda: len(peer.masks()) == peer.count("answered"))
    for mask in peer.masks():
        assert (mask.height, mask.width, mask.encoding) == (HEIGHT, WIDTH, "mono8")
        assert mask.header.frame_id == "ir_camera"
        assert stamp_to_ns(mask.header.stamp) in stamps
        assert np.frombuffer(mask.data, np.uint8).max() < 9
    assert peer.routes()[-1] == "FUSED"


@both_executors
def test_lost_optical_stream_falls_back_to_thermal_and_returns(peer, start):
    start()
    play(peer, 20)
    play(peer, 20, eo=False, first=20)
    peer.wait_for(lambda: peer.routes()[-1:] == ["IR_ONLY"])
    play(peer, 20, first=40)
    peer.wait_for(lambda: peer.routes()[-1:] == ["FUSED"])
    peer.wait_for(settled(peer, 60))
    assert peer.balanced(), peer.account()
    peer.wait_for(lambda: len(peer.masks()) == peer.count("answered"))


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"encoding": "yuv422_yuy2"}, "encoding"), ({"step": 3}, "step"), ({"height": 9999}, "height")],
    ids=["encoding", "step", "height"],
)
def test_an_image_that_contradicts_itself_is_refused_and_counted(peer, start, changes, name):
    start()
    play(peer, 3, changes=changes)
    stamps = play(peer, 3, first=3)
    peer.wait_for(settled(peer, 6))
    assert peer.count("dropped_unreadable") == 3
    peer.wait_for(peer.masks)
    assert {stamp_to_ns(mask.header.stamp) for mask in peer.masks()} <= set(stamps)


def test_overlay_and_confidence(peer, start):
    peer.listen(Image, "segment/overlay", 10)
    peer.listen(Image, "segment/confidence", 10)
    start()
    peer.wait_for(lambda: peer.node.count_publishers("segment/overlay"))
    play(peer, 20)
    peer.wait_for(lambda: peer.heard["segment/overlay"])
    assert peer.heard["segment/overlay"][0].encoding == "rgb8"
    peer.wait_for(lambda: peer.heard["segment/confidence"])
    assert peer.heard["segment/confidence"][0].encoding == "mono8"


def test_the_confidence_is_made_only_while_somebody_listens(peer, start, monkeypatch):
    asked, segment = [], Segmenter.segment
    monkeypatch.setattr(
        Segmenter,
        "segment",
        lambda *args, **given: asked.append(given["confidence"]) or segment(*args, **given),
    )
    monkeypatch.setattr(Segmenter, "warm_up", lambda _: None)
    start()
    peer.wait_for(lambda: play(peer, 2) and peer.masks())
    assert set(asked) == {False}
    peer.listen(Image, "segment/confidence", 10)
    peer.wait_for(lambda: play(peer, 2) and peer.heard["segment/confidence"])
    assert asked[-1]


def test_masks_come_as_png_too_when_somebody_listens(peer, start):
    peer.listen(CompressedImage, "segment/mask/compressed", 10)
    start()
    peer.wait_for(lambda: play(peer, 2) and peer.heard["segment/mask/compressed"])
    png = peer.heard["segment/mask/compressed"][-1]
    assert png.format == "mono8; png compressed "
    stamp = png.header.stamp
    peer.wait_for(lambda: any(mask.header.stamp == stamp for mask in peer.masks()))
    mask = next(mask for mask in peer.masks() if mask.header.stamp == stamp)
    pixels = cv2.imdecode(np.frombuffer(png.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.tobytes() == bytes(mask.data)


def test_compressed_images_are_read_and_broken_ones_refused(peer, start):
    cameras = {
        name: peer.node.create_publisher(CompressedImage, f"{name}/image/compressed", 10)
        for name in ("eo", "ir")
    }
    rng = np.random.default_rng(0)
    kinds = {"eo": ((HEIGHT, WIDTH, 3), np.uint8), "ir": ((HEIGHT, WIDTH), np.uint16)}
    node = start(active=False, eo_transport="compressed", ir_transport="compressed")
    node.start()
    assert node.state == "active"
    peer.wait_for(lambda: all(camera.get_subscription_count() for camera in cameras.values()))
    for n in range(10):
        stamp = START + n * PERIOD
        for name, camera in cameras.items():
            pixels = rng.integers(0, 255, kinds[name][0]).astype(kinds[name][1])
            broken = name == "ir" and n in (5, 7)  # apart: together they would hand the anchor to EO
            data = b"broken" if broken else cv2.imencode(".png", pixels)[1].tobytes()
            message = CompressedImage(format="png", data=data)
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
            camera.publish(message)
        time.sleep(PERIOD / 1e9)
    peer.wait_for(settled(peer, 10))
    assert peer.count("dropped_unreadable") == 2
    assert peer.count("answered_fused") > 0
    assert peer.balanced(), peer.account()


def test_truncated_checkpoint_fails_configure_with_the_reason(peer, start, checkpoint, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(checkpoint.read_bytes()[:1000])
    node = start(active=False, checkpoint=str(broken))
    node.start()
    assert node.state == "unconfigured"
    assert "broken.safetensors" in node.problem
    peer.wait_for(lambda: peer.status("node") and peer.status("node")[1] == node.problem)
    assert peer.status("node")[0] == b"\x02"


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"checkpoint": "/nowhere/x.safetensors"}, "/nowhere/x.safetensors"),
        ({"checkpiont": "typo"}, "unknown parameter checkpiont: there are .*checkpoint"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"engine": "abacus"}, "abacus"),
        ({"eo_transport": "telepathy"}, "use raw or compressed"),
    ],
    ids=["missing checkpoint", "unknown parameter", "missing device", "unknown engine", "unknown transport"],
)
def test_configure_fails_with_one_clear_reason(start, parameters, reason):
    node = start(active=False, **parameters)
    node.start()
    assert node.state == "unconfigured"
    assert re.search(reason, node.problem), node.problem
    assert "\n" not in node.problem


def test_a_device_that_refuses_fails_configure_in_one_line(start, monkeypatch):
    def out_of_memory(*_):
        raise torch.OutOfMemoryError("out of memory.\nTried to allocate more than there is.")

    monkeypatch.setattr(TorchEngine, "logits", out_of_memory)
    node = start(active=False)
    node.start()
    assert node.state == "unconfigured"
    assert re.fullmatch(r"torch on cpu cannot run \w+ at 480x640: out of memory\.", node.problem)


def fail(*_):
    raise RuntimeError("the engine is broken")


def test_an_engine_that_fails_once_costs_a_frame_and_is_built_anew(peer, start, monkeypatch):
    node = start()
    with monkeypatch.context() as broken:
        broken.setattr(TorchEngine, "logits", fail)
        play(peer, 1)
        peer.wait_for(settled(peer, 1))
    assert peer.count("dropped_engine_failed") == 1
    play(peer, 5, first=1)
    peer.wait_for(peer.masks)
    peer.wait_for(lambda: peer.status("node")[2]["engine_rebuilds"] == "1")
    assert node.state == "active"


@both_executors
def test_an_engine_that_fails_for_good_is_given_up_and_comes_back_by_itself(peer, start, monkeypatch):
    node = start(engine_failures=2, diagnostics_period=0.2)
    with monkeypatch.context() as broken:
        broken.setattr(TorchEngine, "logits", fail)
        play(peer, 20)
        peer.wait_for(lambda: node.state == "unconfigured")
        peer.wait_for(lambda: "the engine is broken" in peer.status("node")[1])
        assert peer.status("node")[0] == b"\x02"
        time.sleep(1.5)  # one attempt to recover, in vain
        assert node.state != "active"
    peer.wait_for(lambda: node.state == "active", timeout=30)
    peer.wait_for(peer.connected)
    peer.wait_for(lambda: play(peer, 2) and peer.masks())
    peer.wait_for(lambda: peer.status("node")[:2] == (b"\x00", "active"))


def test_an_engine_that_hangs_is_given_up_and_stays_so_if_told_to(peer, start, monkeypatch):
    go_on = threading.Event()
    node = start(engine_timeout=0.5, auto_recover=False, diagnostics_period=0.2)
    with monkeypatch.context() as broken:
        broken.setattr(TorchEngine, "logits", lambda *_: go_on.wait(60))
        play(peer, 5)
        peer.wait_for(lambda: node.state == "unconfigured")
    peer.wait_for(lambda: re.search(r"engine given up: no answer for \d\.\d s", peer.status("node")[1]))
    go_on.set()
    node.start()
    assert node.state == "active"
    peer.wait_for(peer.connected)
    peer.wait_for(lambda: play(peer, 2) and peer.masks())


def test_diagnostics_tell_where_the_time_goes_and_what_it_costs(peer, start):
    start(diagnostics_period=0.5)
    play(peer, 20)
    peer.wait_for(settled(peer, 20))
    values = [
        {value.key: value.value for value in entry.values}
        for array in peer.heard["/diagnostics"]
        for entry in array.status
        if entry.name == "segment: speed" and entry.values
    ]
    stages = ("wait", "slot", "read", "prepare", "network", "answer", "publish", "around")
    expected = {f"{stage}_{name}_ms" for stage in stages for name in ("p50", "p95", "p99")}
    assert all(set(value) <= expected for value in values)  # the first may fall into the first frame
    (whole, *_) = [value for value in values if set(value) == expected]
    assert float(whole["network_p50_ms"]) > 0
    assert float(whole["publish_p50_ms"]) <= float(whole["around_p50_ms"]) < float(whole["network_p50_ms"])
    node = peer.status("node")[2]
    assert (node["engine"], node["device"], node["precision"]) == ("torch", "cpu", "float32")
    assert node["executor"] == "EventsExecutor"
    assert float(node["memory_mib"]) > 50
    frames = peer.status("frames")[2]
    shares = [float(value) for key, value in frames.items() if key.startswith("share_")]
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_a_thermal_only_network_never_waits_for_the_optical_stream(peer, start, tmp_path):
    path = tmp_path / "thermal.safetensors"
    network = build_network("single", num_classes=len(MFNET), modality="ir")
    save_checkpoint(path, network, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    start(checkpoint=str(path))
    play(peer, 5)
    peer.wait_for(settled(peer, 5))
    assert peer.count("answered_ir_only") == peer.count("answered") > 0


def test_a_route_that_the_network_lacks_fails_configure(start, tmp_path):
    path = tmp_path / "thermal.safetensors"
    network = build_network("single", num_classes=len(MFNET), modality="ir")
    save_checkpoint(path, network, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    node = start(active=False, checkpoint=str(path), route="fused")
    node.start()
    assert node.problem == "parameter 'route' is 'fused': this network runs ir_only"


def test_a_failed_configure_can_be_mended_in_place(start, checkpoint):
    node = start(active=False, checkpoint="/nowhere/x.safetensors")
    node.start()
    node.set_parameters([Parameter("checkpoint", value=str(checkpoint))])
    node.start()
    assert node.state == "active"


@both_executors
def test_lifecycle_services_bring_it_round_twice(peer, start):
    node = start(active=False)
    client = peer.node.create_client(ChangeState, "segment/change_state")
    assert client.wait_for_service(timeout_sec=10)

    def change(transition):
        future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        peer.wait_for(future.done, timeout=60)
        return future.result().success

    received = 0
    for _ in range(2):
        assert change(Transition.TRANSITION_CONFIGURE)
        assert change(Transition.TRANSITION_ACTIVATE)
        peer.wait_for(peer.connected)
        before = len(peer.masks())
        play(peer, 5, first=received)
        received += 5
        peer.wait_for(lambda: len(peer.masks()) > before)  # noqa: B023 (waited for within the round)
        assert change(Transition.TRANSITION_DEACTIVATE)
        peer.wait_for(lambda: not peer.cameras["ir"].get_subscription_count())
        assert change(Transition.TRANSITION_CLEANUP)
        assert node.state == "unconfigured"


def set_parameters(node, **values):
    return node.set_parameters_atomically([Parameter(name, value=value) for name, value in values.items()])


def test_what_can_change_changes_while_frames_come(peer, start):
    node = start()
    play(peer, 10)
    peer.wait_for(lambda: peer.routes()[-1:] == ["FUSED"])
    assert set_parameters(node, route="ir_only", slop=0.02, overlay_opacity=0.9, eo_dark=3).successful
    assert node._settings.eo_content.dark == 3
    assert node._settings.slop_ns == 20_000_000
    assert node._outputs.opacity == 0.9
    play(peer, 10, first=10)
    peer.wait_for(lambda: peer.routes()[-1:] == ["IR_ONLY"])
    assert set_parameters(node, route="auto").successful
    play(peer, 20, first=20)
    peer.wait_for(lambda: peer.routes()[-1:] == ["FUSED"])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"engine": "torch"}, "parameter 'engine' is read at configure: deactivate and clean up the node"),
        ({"route": "sideways"}, "parameter 'route' is 'sideways': use auto or fused or ir_only or eo_only"),
        ({"autostart": True}, "read-only"),
        ({"overlay_opacity": 1.5}, "range"),
        ({"slop": 0.01, "threads": 2}, "'threads' is read at configure"),
    ],
    ids=["engine", "choice", "read-only", "range", "one of two"],
)
def test_a_change_that_cannot_be_is_refused_with_the_reason(start, values, reason):
    node = start()
    result = set_parameters(node, **values)
    assert not result.successful
    assert reason in result.reason
    assert node._settings.slop_ns == 50_000_000


def test_a_route_that_the_network_lacks_cannot_be_set(start, tmp_path):
    path = tmp_path / "thermal.safetensors"
    network = build_network("single", num_classes=len(MFNET), modality="ir")
    save_checkpoint(path, network, label_set=MFNET, normalisation=DEFAULT_NORMALISATION, training={})
    node = start(checkpoint=str(path))
    assert set_parameters(node, route="eo_only").reason == (
        "parameter 'route' is 'eo_only': this network runs ir_only"
    )


@both_executors
def test_subscribes_as_the_weakest_publisher_offers(peer, start):
    node = start()
    eo, ir = node._inputs
    peer.wait_for(lambda: eo.qos.reliability == ReliabilityPolicy.RELIABLE)
    camera = peer.node.create_publisher(Image, "eo/image", BEST_EFFORT)
    peer.wait_for(lambda: eo.qos.reliability == ReliabilityPolicy.BEST_EFFORT)
    peer.wait_for(camera.get_subscription_count)
    assert ir.qos.reliability == ReliabilityPolicy.RELIABLE


def test_a_listener_that_asks_for_too_much_is_told_of(peer, start, capfd):
    start(diagnostics_period=0.1)
    time.sleep(0.5)  # for some looks at those whose QoS fits
    peer.listen(Image, "segment/overlay", LATCHED)
    heard = ""
    while "/peer gets nothing from /segment/overlay, its QoS asks for too much: ERROR: Volatile" not in heard:
        time.sleep(0.1)
        heard += capfd.readouterr().err
    assert heard.count("gets nothing from") == 1
