"""Bags of somebody who means harm: nothing executes, and each is one line of error."""

from __future__ import annotations

import pytest
import yaml
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore, store

from csk_ros.replay.bag import IMAGE, STRING, TYPES, BagError, BagReader, BagWriter


@pytest.fixture
def bag(tmp_path):
    """A bag in order, and what it is made of."""
    with BagWriter(tmp_path / "bag") as writer:
        writer.add_topic("/route", STRING)
        writer.write("/route", 1, TYPES.types[STRING](data="FUSED"))
    return tmp_path / "bag"


def _rewrite(bag, change):
    path = bag / "metadata.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(document["rosbag2_bagfile_information"])
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


def _read(bag):
    with BagReader(bag) as reader:
        assert reader.label_set is None
        list(reader.records())


def _refusal(bag):
    with pytest.raises(BagError) as caught:
        _read(bag)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_yaml_tags_make_no_python_objects(bag):
    path, made = bag / "metadata.yaml", bag / "made"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"x: !!python/object/apply:os.mkdir ['{made}']\n{text}", encoding="utf-8")
    _refusal(bag)
    assert not made.exists()


def test_yaml_tags_in_a_quality_of_service_make_no_python_objects(bag):
    made = bag / "made"
    tagged = f"!!python/object/apply:os.mkdir ['{made}']"
    _rewrite(
        bag,
        lambda info: info["topics_with_message_count"][0]["topic_metadata"].update(
            offered_qos_profiles=tagged
        ),
    )
    _refusal(bag)
    assert not made.exists()


@pytest.mark.parametrize(
    "custom",
    [{"csk_ros.label_set": "[" * 100_000}, {"csk_ros.label_set": "{"}, {"csk_ros.label_set": 3}, [1], "text"],
    ids=["deep", "cut", "number", "list", "text"],
)
def test_custom_data_that_is_none_is_refused(bag, custom):
    _rewrite(bag, lambda info: info.update(custom_data=custom))
    assert "malformed" in _refusal(bag)


def _defined(path, msgtype, definition):
    """A bag whose messages have a definition of their own."""
    types = get_typestore(Stores.EMPTY)
    types.register(get_types_from_msg(definition, msgtype))
    with Writer(path, version=9) as writer:
        topic = writer.add_connection("/topic", msgtype, typestore=types)
        writer.write(topic, 1, types.serialize_cdr(types.types[msgtype](7), msgtype))
    return path


def test_definitions_in_a_bag_are_never_made_into_code(tmp_path, monkeypatch):
    foreign = _defined(tmp_path / "foreign", "evil_msgs/msg/Evil", "int32 value")
    other = _defined(tmp_path / "other", IMAGE, "int32 value")

    def generate(*_):
        raise AssertionError("a definition was made into code")

    monkeypatch.setattr(store, "generate_python_code", generate)
    assert "type evil_msgs/msg/Evil, which are not known here" in _refusal(foreign)
    assert "defines sensor_msgs/msg/Image otherwise than ROS 2 Jazzy" in _refusal(other)
    with BagReader(foreign) as reader:
        assert reader.topics["/topic"].messages == 1


def test_a_bag_reads_no_file_beside_it(bag):
    outside = bag.parent / "outside.mcap"
    (inside,) = bag.glob("*.mcap")
    inside.rename(outside)
    _rewrite(bag, lambda info: info.update(relative_file_paths=["../outside.mcap"]))
    assert "missing" in _refusal(bag)
