from __future__ import annotations

from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from csk_ros.cli.replay_live import add_live_arguments, live_settings
from csk_ros.modality import Modality


def parse(*flags):
    parser = ArgumentParser()
    add_live_arguments(parser)
    return parser.parse_args(list(flags))


def test_without_flags_a_node_of_its_own_hears_the_bag_once_as_recorded():
    settings = live_settings(parse(), bag=Path("drive"), masks=Path("masks"))
    assert (settings.node, settings.rate, settings.loop, settings.clock) == (None, 1.0, 1, False)
    assert settings.publish == {}


def test_every_flag_reaches_the_settings():
    flags = ["--live", "--node=front/segment", "--rate=2", "--loop=0", "--clock", "--publish-ir=/lwir"]
    arguments = parse(*flags)
    assert arguments.live
    settings = live_settings(arguments, bag=Path("drive"), masks=Path("masks"), start_s=3.0)
    assert (settings.node, settings.rate, settings.loop, settings.clock) == ("front/segment", 2.0, 0, True)
    assert settings.publish == {Modality.IR: "/lwir"}
    assert settings.start_s == 3.0


def test_what_cannot_be_is_refused_with_what_can():
    with pytest.raises(ValueError, match=r"rate is 0: use 0\.01 to 100"):
        live_settings(parse("--rate=0"), bag=Path("drive"), masks=Path("masks"))
