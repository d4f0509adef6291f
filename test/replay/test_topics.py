from __future__ import annotations

from types import SimpleNamespace

import pytest

from csk_ros.modality import Modality
from csk_ros.replay.bag import COMPRESSED_IMAGE, IMAGE, BagError, Topic
from csk_ros.replay.topics import find_topics


def bag(*topics, **others):
    known = {name: Topic(name, IMAGE, 5) for name in topics}
    return SimpleNamespace(path="drive", topics=known | {n: Topic(n, t, 5) for n, t in others.items()})


@pytest.mark.parametrize(
    ("topics", "eo", "ir", "labels"),
    [
        (["/eo/image", "/ir/image", "/labels/image"], "/eo/image", "/ir/image", "/labels/image"),
        (
            ["/camera/color/image_raw", "/flir_boson/image_raw"],
            "/camera/color/image_raw",
            "/flir_boson/image_raw",
            None,
        ),
        (
            ["/rgb/image_raw/compressed", "/thermal/image_raw/compressed"],
            "/rgb/image_raw/compressed",
            "/thermal/image_raw/compressed",
            None,
        ),
        (["/ir/image", "/ir/image/compressed", "/eo/image"], "/eo/image", "/ir/image", None),
        (["/blackfly/image_raw", "/thermal/image"], "/blackfly/image_raw", "/thermal/image", None),
        (
            ["/lwir/image_raw", "/rgb/image_raw", "/rgb/depth/image", "/stereo/left"],
            "/rgb/image_raw",
            "/lwir/image_raw",
            None,
        ),
        (["/thermal_14bit"], None, "/thermal_14bit", None),
        (["/ir/image", "/eo/image", "/segment/mask", "/segment/overlay"], "/eo/image", "/ir/image", None),
    ],
)
def test_topics_are_found_by_type_and_name(topics, eo, ir, labels):
    found = find_topics(bag(*topics))
    assert (found.eo, found.ir, found.labels) == (eo, ir, labels)


def test_given_topics_are_taken_whatever_their_name():
    found = find_topics(bag("/left", "/right", "/third"), eo="/left", ir="/right", labels="none")
    assert (found.eo, found.ir, found.labels) == ("/left", "/right", None)
    assert found.modalities == {"/left": Modality.EO, "/right": Modality.IR}


def test_none_takes_none():
    found = find_topics(bag("/eo/image", "/ir/image"), ir="none")
    assert (found.eo, found.ir) == ("/eo/image", None)


def test_topics_without_messages_do_not_count():
    known = bag("/ir/image", "/eo/image")
    known.topics["/thermal/image"] = Topic("/thermal/image", COMPRESSED_IMAGE, 0)
    assert find_topics(known).ir == "/ir/image"


@pytest.mark.parametrize(
    ("topics", "given", "says"),
    [
        (
            ["/left", "/right"],
            {},
            r"no topic that is thermal by its name \(/left, /right\): name it with --ir TOPIC",
        ),
        ([], {}, r"no topic that is thermal by its name \(none\)"),
        (
            ["/ir/a", "/thermal/b", "/eo/image"],
            {},
            r"several thermal topics \(/ir/a, /thermal/b\): name one with --ir",
        ),
        (["/ir/a", "/rgb/b", "/color/c"], {}, r"several optical topics .*name one with --eo TOPIC"),
        (["/ir/a"], {"eo": "/rgb"}, r"has no topic /rgb: its image topics are /ir/a"),
    ],
)
def test_what_cannot_be_decided_is_asked_for(topics, given, says):
    with pytest.raises(BagError, match=says):
        find_topics(bag(*topics), **given)


def test_a_topic_with_something_else_is_refused():
    with pytest.raises(BagError, match="/imu in drive carries sensor_msgs/msg/Imu: name a topic with images"):
        find_topics(bag("/ir/image", **{"/imu": "sensor_msgs/msg/Imu"}), eo="/imu")
