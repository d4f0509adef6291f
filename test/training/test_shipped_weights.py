"""The weights in models/ are what their cards say."""

from __future__ import annotations

import hashlib

import pytest
import yaml

from csk_ros.data import open_samples
from csk_ros.evaluation.routes import score_routes
from csk_ros.network import load_checkpoint
from csk_ros.share import share_path

CARDS = sorted(share_path("models").glob("*.yaml"))
SCENES = [f"csk_mobilenet_v2_{kind}scenes" for kind in ("", "shallow_", "slim_")]


@pytest.fixture(params=CARDS, ids=lambda path: path.stem)
def card(request):
    return yaml.safe_load(request.param.read_text())


def test_there_are_weights():
    assert [path.stem for path in CARDS] == ["csk_mobilenet_v2_mfnet", *SCENES]


def test_the_file_is_the_one_on_the_card_and_small(card):
    content = share_path(f"models/{card['file']}").read_bytes()
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    assert len(content) == card["size_bytes"] < 20_000_000


def test_the_file_loads_and_agrees_with_the_card(card):
    checkpoint = load_checkpoint(share_path(f"models/{card['file']}"))
    assert list(checkpoint.label_set.names) == card["classes"]
    architecture, arguments = checkpoint.network.architecture, card["architecture"]["arguments"]
    assert architecture["name"] == card["architecture"]["name"]
    assert architecture["arguments"] | arguments == architecture["arguments"]  # and defaults
    assert checkpoint.training["steps"] == card["training"]["steps"]
    for text in (card["notice"], checkpoint.training["notice"]):
        assert "Apache-2.0" in text
        assert "github.com/google-coral/test_data" in text


def test_nothing_in_the_file_points_into_somebodys_machine(card):
    training = load_checkpoint(share_path(f"models/{card['file']}")).training
    assert not [value for value in str(training).split("'") if value.startswith(("/", "../"))]


def test_weights_from_data_without_a_licence_say_so(card):
    if "mfnet:" in str(card["training"]["settings"]["data"]["train"]):
        assert "mfnet" in card["name"]
        assert card["notice"].startswith("For research: the MFNet data set states no licence.")


@pytest.mark.parametrize("name", SCENES)
def test_held_out_seeds_are_held_out(name):
    card = yaml.safe_load(share_path(f"models/{name}.yaml").read_text())
    data = card["training"]["settings"]["data"]

    def seeds(spec):
        values = dict(item.split("=") for item in spec.removeprefix("scenes:").split(","))
        return set(range(int(values["seed"]), int(values["seed"]) + int(values["drives"])))

    trained = set.union(*map(seeds, data["train"]))
    for spec in [*data["val"], *data["test"].values()]:
        assert not trained & seeds(spec)


@pytest.mark.parametrize("name", SCENES)
def test_the_scores_on_the_card_come_out_again(name):
    card = yaml.safe_load(share_path(f"models/{name}.yaml").read_text())
    samples = open_samples(card["training"]["settings"]["data"]["test"]["check"])
    _agree(card, card["test"]["check"], samples)


@pytest.mark.slow
def test_the_scores_on_real_images_come_out_again(shared):
    card = yaml.safe_load(share_path("models/csk_mobilenet_v2_mfnet.yaml").read_text())
    samples = open_samples(f"mfnet:{shared / 'data' / 'mfnet_subset'}", split="val")
    _agree(card, card["validation"], samples)


def _agree(card, expected, samples):
    checkpoint = load_checkpoint(share_path(f"models/{card['file']}"))
    for route, one in score_routes(checkpoint, samples).items():
        # other machines round differently, and a change of the scenes' look moves a few pixels
        assert one.miou() == pytest.approx(expected[route.value]["miou"], abs=0.03), route
        car = one.iou[card["classes"].index("car")]
        assert car == pytest.approx(expected[route.value]["iou"]["car"], abs=0.03), route
