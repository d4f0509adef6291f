from __future__ import annotations

import pytest

from csk_ros.replay.node_parameters import ParameterFileError, read_parameters
from csk_ros.share import share_path


def test_the_files_that_come_along_are_read():
    assert read_parameters(share_path("config/segment.yaml"))["slop"] == 0.05
    assert read_parameters(None) == {}


def test_sections_apply_in_order(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(
        "/**: {ros__parameters: {slop: 0.1, route: fused}}\n"
        "other: {ros__parameters: {gain: 3}}\n"
        "/robot/segment: {ros__parameters: {slop: 0.2, use_sim_time: true}}\n"
    )
    assert read_parameters(file) == {"slop": 0.2, "route": "fused", "use_sim_time": True}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("other: {ros__parameters: {}}", "sets nothing for the node segment"),
        ("segment: {slop: 0.1}", "segment has no ros__parameters"),
        ("segment: {ros__parameters: {slob: 0.1}}", "unknown parameter slob: there are checkpoint,"),
        ("segment: {ros__parameters: {slop: fast}}", "slop is 'fast': it must be float, as 0.05"),
        ("- 1", "is no parameter file"),
        ("a: [", "cannot read"),
        (None, "there is no parameter file"),
    ],
)
def test_files_of_no_use_are_refused(tmp_path, text, says):
    file = tmp_path / "p.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ParameterFileError, match=says):
        read_parameters(file)
