"""The SROS2 policy against the rules of its format and against the node as it really is."""

from __future__ import annotations

import copy
import time
from collections import Counter
from xml.etree import ElementTree as ET

import pytest
from rclpy.parameter import Parameter

from csk_ros.ros.segment_node import SegmentNode
from csk_ros.share import share_path

QUALIFIERS = {"ALLOW", "DENY"}
CHILDREN = {
    "policy": {"enclaves"}, "enclaves": {"enclave"}, "enclave": {"profiles"},
    "profiles": {"profile", "metadata"}, "profile": {"topics", "services", "actions"},
    "topics": {"topic"}, "services": {"service"}, "actions": {"action"},
}  # fmt: skip
"""By element, what may stand in it: the rules of version 0.2.0 of the policy format."""
REQUIRED = {"policy": {"version"}, "enclave": {"path"}, "profile": {"ns", "node"}}
OPTIONAL = {
    "profiles": {"type"}, "topics": {"publish", "subscribe"}, "services": {"reply", "request"},
    "actions": {"call", "execute"},
}  # fmt: skip
MAY_BE_EMPTY = {"profile", "topic", "service", "action", "metadata"}
GRAPH = {
    ("topics", "publish"): "publisher", ("topics", "subscribe"): "subscriber",
    ("services", "reply"): "service", ("services", "request"): "client",
}  # fmt: skip
ONLY_WHERE_INSTALLED = {"~/label_info"}
"""Needs vision_msgs, which the node does without."""


def faults(element):
    """What breaks the rules of the format, from an element downwards."""
    tag, attributes = element.tag, set(element.attrib)
    required = REQUIRED.get(tag, set())
    found = [f"{tag} lacks {name}" for name in required - attributes]
    found += [f"{tag} has {name}" for name in attributes - required - OPTIONAL.get(tag, set())]
    found += [f"{tag} holds {child.tag}" for child in element if child.tag not in CHILDREN.get(tag, set())]
    if not len(element) and tag not in MAY_BE_EMPTY:
        found.append(f"{tag} is empty")
    if tag == "policy" and (len(element) != 1 or element.get("version") != "0.2.0"):
        found.append("policy is not of version 0.2.0 with one list of enclaves")
    if tag in ("topics", "services", "actions"):
        found += [f"{tag} says {value}" for value in element.attrib.values() if value not in QUALIFIERS]
    return found + [fault for child in element for fault in faults(child)]


@pytest.fixture
def policy():
    return ET.parse(share_path("config/sros2/policy.xml")).getroot()


def test_the_policy_keeps_the_rules_of_its_format(policy):
    assert faults(policy) == []


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (".", lambda e: e.set("version", "0.1.0")),
        (".", lambda e: e.append(copy.deepcopy(e[0]))),
        ("enclaves", lambda e: e.clear()),
        ("enclaves/enclave", lambda e: e.attrib.pop("path")),
        (".//profile", lambda e: e.attrib.pop("ns")),
        (".//profile", lambda e: e.append(ET.Element("topic"))),
        (".//topics", lambda e: e.set("publish", "allow")),
        (".//topics", lambda e: e.set("reply", "ALLOW")),
        (".//services", lambda e: e.remove(e[0]) or [e.remove(child) for child in list(e)]),
    ],
)
def test_a_broken_policy_breaks_the_rules(policy, path, change):
    change(policy.find(path))
    assert faults(policy)


def allowed(profile):
    """What a profile allows: counted names by kind and direction, as they are written."""
    names = {key: Counter() for key in GRAPH}
    for group in profile:
        for direction, qualifier in group.attrib.items():
            assert qualifier == "ALLOW"
            names[group.tag, direction].update(entry.text for entry in group)
    return names


def test_both_examples_allow_the_same_by_name_and_nothing_by_pattern(policy):
    first, second = policy.iter("profile")
    assert allowed(first) == allowed(second)
    assert (first.get("ns"), second.get("ns")) == ("/", "/front")
    assert [enclave.get("path") for enclave in policy.iter("enclave")] == ["/segment", "/front/segment"]
    for names in allowed(first).values():
        assert max(names.values(), default=1) == 1, "named twice"
        assert not any(set(name) & set("*?[") for name in names)


def written(name, namespace):
    """A name of the graph as the policy writes it."""
    own = f"{namespace.rstrip('/')}/segment/"
    if name.startswith(own):
        return f"~/{name.removeprefix(own)}"
    if name.endswith(("/image", "/image/compressed")):
        return name.removeprefix(namespace.rstrip("/") + "/")
    return name


@pytest.fixture
def graph_of(peer, checkpoint):
    """Run a node and give the names that the graph shows for it, as a policy writes them."""
    nodes = []

    def run(namespace, **parameters):
        given = {"checkpoint": str(checkpoint), "engine": "torch", "threads": 1, "use_sim_time": True}
        overrides = [Parameter(name, value=value) for name, value in (given | parameters).items()]
        node = SegmentNode(namespace=namespace, parameter_overrides=overrides)
        nodes.append(node)
        node.start()
        assert node.state == "active", node.problem
        peer.executor.add_node(node)
        seen = {key: look(kind, namespace) for key, kind in GRAPH.items()}
        end = time.monotonic() + 3  # what comes late is seen too
        while time.monotonic() < end:
            time.sleep(0.2)
            seen = {key: look(kind, namespace) for key, kind in GRAPH.items()}
        return seen

    def look(kind, namespace):
        list_names = getattr(peer.node, f"get_{kind}_names_and_types_by_node")
        try:
            return {written(name, namespace) for name, _ in list_names("segment", namespace)}
        except RuntimeError:  # the graph does not know it yet
            return set()

    yield run
    peer.stop()
    for node in nodes:
        node.destroy_node()


def test_the_policy_allows_what_the_node_does_and_nothing_else(policy, graph_of):
    raw = graph_of("/", eo_transport="raw", ir_transport="raw")
    compressed = graph_of("/front", eo_transport="compressed", ir_transport="compressed")
    for key, names in allowed(next(policy.iter("profile"))).items():
        really = raw[key] | compressed[key]
        assert set(names) - ONLY_WHERE_INSTALLED == really - ONLY_WHERE_INSTALLED, key
        assert bool(names) == (key != ("services", "request"))
