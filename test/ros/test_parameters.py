from __future__ import annotations

import pytest
import rclpy
import yaml
from rclpy.parameter import Parameter

from csk_ros.perception import PerceptionSettings
from csk_ros.ros.parameters import NodeParameters, ParameterError
from csk_ros.share import share_path


@pytest.fixture
def make():
    nodes = []

    def run(**overrides):
        parameters = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(rclpy.create_node("parameters", parameter_overrides=parameters))
        return NodeParameters(nodes[-1])

    yield run
    for node in nodes:
        node.destroy_node()


def test_the_yaml_file_holds_exactly_the_defaults(make):
    document = yaml.safe_load(share_path("config/segment.yaml").read_text(encoding="utf-8"))
    values = document["/**/segment"]["ros__parameters"]
    defaults = make()
    assert values == {name: getattr(defaults, name) for name in values}
    node = rclpy.create_node("names")
    NodeParameters(node)
    declared = set(node._parameters) - {"use_sim_time", "start_type_description_service"}
    node.destroy_node()
    assert declared == set(values)


def test_defaults_are_those_of_perception(make):
    assert make().perception_settings() == PerceptionSettings()


@pytest.mark.parametrize(
    "overrides",
    [{"slop": -1.0}, {"slop": "wide"}, {"threads": 1000}, {"autostart": 1}, {"overlay_opacity": 1.1}],
)
def test_values_of_the_wrong_type_or_range_are_refused(make, overrides):
    with pytest.raises(ParameterError, match=f"parameter '{next(iter(overrides))}'"):
        make(**overrides)


def test_units_and_route(make):
    settings = make(
        slop=0.02, eo_time_offset=-0.5, max_wait=0.25, first_timeout=3.0, return_frames=7, route="ir_only"
    )
    settings = settings.perception_settings()
    assert (settings.slop_ns, settings.eo_offset_ns) == (20_000_000, -500_000_000)
    assert (settings.max_wait_ns, settings.return_frames) == (250_000_000, 7)
    assert settings.first_timeout_ns == 3_000_000_000
    assert settings.route is not None
    assert settings.route.value == "IR_ONLY"


def test_qos_overrides_are_recognised(make):
    parameters = make(**{"qos_overrides./ir/image.subscription.reliability": "reliable"})
    parameters.check()
    assert parameters.overrides_qos_of("/ir/image")
    assert not parameters.overrides_qos_of("/eo/image")
