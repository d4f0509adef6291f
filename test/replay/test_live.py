from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from itertools import islice, pairwise

import numpy as np
import pytest
from echo_node import PIXEL, EchoNode
from rclpy.qos import ReliabilityPolicy
from rosbags.interfaces import QosReliability
from rosbags.rosbag2 import StoragePlugin, Writer
from rosgraph_msgs.msg import Clock
from squares_samples import Squares

from csk_ros.evaluation.metrics import RouteScores
from csk_ros.messages import read_ir, stamp_to_ns
from csk_ros.modality import Modality, Route
from csk_ros.replay import wait_until_active
from csk_ros.replay.bag import IMAGE, TYPES, BagError, BagReader, qos_profile
from csk_ros.replay.injection import Injection, Stretches
from csk_ros.replay.live import LiveError, LiveSession
from csk_ros.replay.live_run import START_KEY, _stopping_on_interrupt, run_live
from csk_ros.replay.live_settings import LiveSettings
from csk_ros.replay.player import Player
from csk_ros.replay.samples import START_NS, header, image_message, write_samples
from csk_ros.replay.source import Source
from csk_ros.replay.topics import find_topics

RATE_HZ = 20.0
PERIOD_NS = round(1e9 / RATE_HZ)
CUT = (0.5, 1.1)


def settings(folder, **changes):
    given = {"bag": folder / "drive", "masks": folder / "masks", "node": "segment", "progress": False}
    return LiveSettings(**given | changes)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    write_samples(folder / "drive", Squares(frames=36, rate_hz=RATE_HZ), progress=False)
    cut = Injection("drop", Modality.EO, Stretches(*CUT))
    with EchoNode(PERIOD_NS, drop_every=9):
        return run_live(settings(folder, injections=(cut,)))


@pytest.fixture
def drive(tmp_path):
    write_samples(tmp_path / "drive", Squares(frames=12, rate_hz=RATE_HZ), progress=False)
    return tmp_path


def test_every_thermal_image_is_answered_or_counted(played):
    assert played.complete
    assert len(played.rows) == 36
    assert len(played.answered) == 32
    assert {row.cause for row in played.rows if row.route is None} == {"SUPERSEDED"}
    assert all(row.anchor is Modality.IR for row in played.rows)
    expected = {"ir_received": 36, "answered": 32, "dropped_superseded": 4, "sent_ir": 36, "sent_eo": 24}
    assert expected.items() <= played.counts.items()
    assert played.counts["lost_ir"] == played.counts["lost_eo"] == played.counts["lost_masks"] == 0
    assert played.received == {Modality.IR: 36, Modality.EO: 24}


def test_routes_follow_the_cut(played):
    assert [span.route for span in played.spans] == [Route.FUSED, Route.IR_ONLY, Route.FUSED]
    lost = played.spans[1]
    assert CUT[0] - 0.001 <= lost.start_s <= CUT[0] + 2 / RATE_HZ
    assert lost.end_s <= CUT[1] + 1 / RATE_HZ
    (loss_ms,) = played.lost_ms
    (return_ms,) = played.returned_ms
    assert loss_ms > 0
    assert return_ms > 0


def test_each_mask_gets_the_route_it_was_made_on(played):
    routes = {row.mask_stamp_ns: row.route for row in played.answered}
    with BagReader(played.masks) as bag:
        masks = [record.message for record in bag.records(["/segment/mask"])]
        assert bag.label_set == Squares().label_set
        assert START_KEY in bag.custom_data
    assert len(masks) == len(routes) == 32
    for mask in masks:
        assert (read_ir(mask) == PIXEL[routes[stamp_to_ns(mask.header.stamp)]]).all()


def test_stamps_move_by_one_offset_and_latency_counts_from_them(played):
    assert len({row.mask_stamp_ns - row.stamp_ns for row in played.rows}) == 1
    assert [row.stamp_ns for row in played.rows] == [START_NS + i * PERIOD_NS for i in range(36)]
    assert [row.eo_stamp_ns for row in played.rows[:8]] == [row.stamp_ns for row in played.rows[:8]]
    assert all(row.latency_ms > 0 for row in played.answered)
    assert len(played.late_ms) == 36 + 24
    assert min(played.late_ms) >= 0


def test_masks_are_scored_against_the_labels_of_their_stamps(played):
    expected = RouteScores(Squares().label_set)
    for i, row in enumerate(played.rows):
        labels = Squares(frames=36)[i].labels
        if row.route:
            one = expected.update(row.route, np.full_like(labels, PIXEL[row.route]), labels)
            assert row.miou == one.miou_present()
    assert set(played.scores.routes) == {Route.FUSED, Route.IR_ONLY}
    for route in played.scores.routes:
        np.testing.assert_array_equal(played.scores.scores(route).confusion, expected.scores(route).confusion)
    assert played.labels == "/labels/image"


def test_a_part_twice_at_twice_the_speed(drive):
    with EchoNode(PERIOD_NS) as node:
        result = run_live(settings(drive, start_s=0.1, end_s=0.4, rate=2.0, loop=2))
    assert result.complete
    stamps = [START_NS + i * PERIOD_NS for i in range(2, 8)]
    assert [row.stamp_ns for row in result.rows] == stamps * 2
    live = [stamp_to_ns(image.header.stamp) for image in node.images]
    # from turn to turn too, but for the microseconds by which the bag tells equal stamps apart
    assert [after - before for before, after in pairwise(live)] == pytest.approx(
        [PERIOD_NS // 2] * 11, abs=1000
    )
    assert [row.mask_stamp_ns for row in result.rows] == live
    assert [row.seconds for row in result.rows] == pytest.approx(
        [0.1 + i / RATE_HZ for i in range(12)], abs=1e-5
    )
    assert result.length_s == pytest.approx(11 / RATE_HZ, abs=1e-3)
    assert all(row.miou is not None for row in result.answered)


def test_labels_move_with_the_stamps_of_the_thermal_images(drive):
    shift = Injection("shift", Modality.IR, Stretches(0.2, 0.4), amount_ns=7_000_000)
    with EchoNode(PERIOD_NS):
        result = run_live(settings(drive, injections=(shift,)))
    moved = [(row.stamp_ns - START_NS) % PERIOD_NS for row in result.rows]
    assert moved == [7_000_000 if 4 <= i < 8 else 0 for i in range(12)]
    assert all(row.miou is not None for row in result.answered)


def test_the_first_interrupt_ends_an_endless_run_with_what_there_is(drive, capsys):
    usual = signal.getsignal(signal.SIGINT)

    def interrupt_once_it_plays():
        while signal.getsignal(signal.SIGINT) is usual:
            time.sleep(0.05)
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGINT)

    with EchoNode(PERIOD_NS):
        threading.Thread(target=interrupt_once_it_plays, daemon=True).start()
        result = run_live(settings(drive, loop=0))
    assert signal.getsignal(signal.SIGINT) is usual
    assert not result.complete
    assert "Ctrl-C again to end at once" in capsys.readouterr().err
    assert result.counts["sent_ir"] == len(result.rows) == len(result.answered)
    stamps = [row.mask_stamp_ns for row in result.rows]
    assert stamps == sorted(set(stamps))
    with BagReader(drive / "masks") as bag:
        assert bag.topics["/segment/mask"].messages == len(result.answered)


def test_the_second_interrupt_is_the_usual_one():
    with _stopping_on_interrupt() as stopping:
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping.wait(10)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_with_a_clock_the_stamps_stay_and_the_clock_runs_with_them(drive):
    seen = []
    with EchoNode(PERIOD_NS), LiveSession("listener") as session:
        session.node.create_subscription(Clock, "/clock", lambda message: seen.append(message.clock), 100)
        result = run_live(settings(drive, clock=True, rate=0.5))
    assert [row.mask_stamp_ns for row in result.rows] == [row.stamp_ns for row in result.rows]
    assert result.rows[0].stamp_ns == START_NS
    ticks = [stamp_to_ns(clock) for clock in seen]
    assert ticks == sorted(ticks)
    assert ticks[0] < START_NS + 11 * PERIOD_NS < ticks[-1]
    assert all(0 < row.latency_ms < 60_000 for row in result.answered)


def test_stamps_of_another_clock_are_moved_to_the_present(tmp_path):
    images = [("/ir/image", i / RATE_HZ, black(5 * 10**9 + i * PERIOD_NS)) for i in range(6)]
    write_bag(tmp_path / "drive", images)
    with EchoNode(PERIOD_NS):
        result = run_live(settings(tmp_path))
    assert result.rows[0].stamp_ns == 5 * 10**9
    assert all(0 < row.latency_ms < 60_000 for row in result.answered)
    assert any("another clock" in problem for problem in result.problems)


def test_compressed_images_stay_compressed_also_where_pixels_change(tmp_path):
    write_samples(tmp_path / "drive", Squares(rate_hz=RATE_HZ), compress="png", progress=False)
    dark = Injection("dark", Modality.IR, Stretches(0.1, 0.2))
    with EchoNode(PERIOD_NS, compressed=True) as node:
        result = run_live(settings(tmp_path, injections=(dark,)))
    assert len(result.answered) == 6
    images = [read_ir(image) for image in node.images]
    for i, image in enumerate(images):
        expected = Squares()[i].ir
        np.testing.assert_array_equal(image, expected // 64 if i in (2, 3) else expected)
    with BagReader(tmp_path / "drive") as bag:
        untouched = [bytes(record.message.data) for record in bag.records(["/ir/image/compressed"])]
    assert bytes(node.images[0].data) == untouched[0]


def test_a_node_that_listens_elsewhere_is_told_where(tmp_path):
    write_samples(tmp_path / "drive", Squares(), compress="png", progress=False)
    with EchoNode(PERIOD_NS), pytest.raises(LiveError) as caught:
        run_live(settings(tmp_path, match_s=2.0))
    assert "does not listen to /eo/image/compressed and /ir/image/compressed" in str(caught.value)
    assert "/eo/image (raw), /ir/image (raw)" in str(caught.value)
    assert not (tmp_path / "masks").exists()


def test_images_go_where_they_are_told_to(drive):
    publish = {Modality.EO: "/elsewhere/eo", Modality.IR: "/ir/image"}
    with (
        EchoNode(PERIOD_NS),
        pytest.raises(LiveError, match="does not listen to /elsewhere/eo and /ir/image"),
    ):
        run_live(settings(drive, publish=publish, match_s=0.5))


def test_without_a_node_nothing_is_played(drive):
    with pytest.raises(LiveError, match=r"/nobody was not active after 0 s \(not seen\)"):
        run_live(settings(drive, node="nobody", active_s=0.1))
    with LiveSession("nobody") as session, pytest.raises(LiveError, match="ended before it was active"):
        session.wait_until_active(lambda: False, timeout_s=5)
    assert not (drive / "masks").exists()


def test_a_session_is_left_in_peace_at_whatever_moment():
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # the threads meet at every line
    try:
        for number in range(40):
            with LiveSession("nobody") as session:
                session.node.create_timer(2e-4, lambda: None)
                time.sleep(0.02 + 1e-3 * number)
    finally:
        sys.setswitchinterval(switching)


def test_waiting_for_a_node_as_the_launch_file_does(capsys):
    with EchoNode(PERIOD_NS):
        assert wait_until_active.main(["segment", "30"]) == 0
    assert wait_until_active.main(["nobody", "0.1"]) == 1
    assert "/nobody was not active after 0 s (not seen)" in capsys.readouterr().err


def test_masks_that_exist_are_left_alone(drive):
    (drive / "masks").mkdir()
    with pytest.raises(BagError, match="exists already"):
        run_live(settings(drive))


def write_bag(path, messages, offered=()):
    """A bag of (topic, moment in s, CDR bytes) of images, each topic offered as ``offered`` says."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        topics = {
            topic: bag.add_connection(
                topic, IMAGE, typestore=TYPES, offered_qos_profiles=dict(offered).get(topic, ())
            )
            for topic in dict.fromkeys(topic for topic, *_ in messages)
        }
        for topic, seconds, data in messages:
            bag.write(topics[topic], START_NS + round(seconds * 1e9), data)


def black(stamp_ns):
    return TYPES.serialize_cdr(
        image_message(np.zeros((8, 8), np.uint8), "mono8", header(stamp_ns, "ir")), IMAGE
    )


@contextlib.contextmanager
def player_of(path, open_source=Source):
    """A player of a bag, to topics that nobody listens to."""
    with BagReader(path) as bag, LiveSession() as session:
        topics = find_topics(bag)
        player = Player(
            session.node,
            bag,
            {topic: f"/unheard{topic}" for topic in topics.modalities},
            modalities=topics.modalities,
            open_source=lambda: open_source(bag, topics),
        )
        yield player, session.node
        player.close()


def test_topics_are_offered_as_they_were_recorded(tmp_path):
    best_effort = qos_profile()._replace(reliability=QosReliability.BEST_EFFORT)
    messages = [("/ir/image", 0, black(1)), ("/eo/image", 0, black(1))]
    write_bag(tmp_path / "drive", messages, {"/ir/image": [best_effort]}.items())
    with player_of(tmp_path / "drive") as (player, node):
        offered = {
            topic: node.get_publishers_info_by_topic(topic)[0].qos_profile.reliability
            for topic in player.topics
        }
    assert offered == {
        "/unheard/ir/image": ReliabilityPolicy.BEST_EFFORT,
        "/unheard/eo/image": ReliabilityPolicy.RELIABLE,
    }


def test_where_the_bag_is_damaged_what_came_before_is_played(tmp_path):
    class Damaged(Source):
        def arrivals(self):
            yield from islice(super().arrivals(), 3)
            raise BagError("the bag is damaged")

    write_bag(tmp_path / "drive", [("/ir/image", i / 20, black(START_NS + i)) for i in range(6)])
    with player_of(tmp_path / "drive", Damaged) as (player, _):
        assert not player.play(0.0, threading.Event())
    assert player.failure == "the bag is damaged"
    assert len(player.sent) == 3


def test_what_is_too_short_for_a_header_is_held_back_and_what_has_no_stamp_is_sent(tmp_path):
    messages = [
        ("/ir/image", 0.0, black(START_NS)),
        ("/ir/image", 0.1, b"\0\1\0\0"),
        ("/ir/image", 0.2, black(0)),
    ]
    write_bag(tmp_path / "drive", messages)
    with player_of(tmp_path / "drive") as (player, _):
        assert player.play(0.0, threading.Event())
    assert player.unsent == 1
    first, last = player.sent
    assert first.live_ns == first.moment_ns == player.start_ns
    assert last.live_ns == 0
    assert last.moment_ns == player.start_ns + 200_000_000


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rate": 0}, "rate is 0: use 0.01 to 100"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"loop": -1}, "loop is -1: use how often"),
        ({"start_s": 5, "end_s": 5}, "start is 5 and end is 5"),
        ({"start_s": -1}, "start is -1"),
        ({"node": "/"}, "node is empty"),
        ({"parameters": {"engine": "torch"}}, "engine: the running node segment has its parameters already"),
        ({"node": None, "parameters_file": "nowhere.yaml"}, "parameters_file is nowhere.yaml: there is no"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, changes, reason):
    with pytest.raises(ValueError, match=reason):
        settings(tmp_path, **changes)
