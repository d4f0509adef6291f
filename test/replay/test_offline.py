from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import yaml

from csk_ros.data.synthetic import SceneDrive
from csk_ros.inference import Segmenter
from csk_ros.messages import read_ir, stamp_to_ns
from csk_ros.modality import Modality, Route
from csk_ros.replay import offline
from csk_ros.replay.bag import BagError, BagReader, BagWriter
from csk_ros.replay.injection import Injection
from csk_ros.replay.mask_bag import CONFIDENCE, MASK, OVERLAY, ROUTE, MaskBag
from csk_ros.replay.offline import ReplayError, run_offline
from csk_ros.replay.offline_settings import OfflineSettings
from csk_ros.replay.run_folder import RunFolderError
from csk_ros.replay.samples import (
    EO_TOPIC,
    IR_TOPIC,
    LABELS_TOPIC,
    START_NS,
    header,
    image_message,
    write_samples,
)
from csk_ros.replay.scoring import ScoringError
from csk_ros.share import DEFAULT_CHECKPOINT, share_path

FRAMES, RATE = 40, 10.0
CUT = (Injection.parse("drop", Modality.EO, "1:2.5"),)


@pytest.fixture(scope="module")
def scenes():
    return SceneDrive(3, frames=FRAMES, height=96, width=128, rate_hz=RATE, light="day")


@pytest.fixture(scope="module")
def drive(tmp_path_factory, scenes):
    path = tmp_path_factory.mktemp("offline") / "drive"
    write_samples(path, scenes, compress="jpeg", progress=False)
    return path


def replay(drive, out, **settings):
    return run_offline(
        OfflineSettings(str(drive), str(out), **{"engine": "torch"} | settings), progress=False
    )


@pytest.fixture(scope="module")
def cut(drive, tmp_path_factory):
    out = tmp_path_factory.mktemp("cut") / "out"
    return replay(drive, out, injections=CUT, confidence=True, overlay=True)


def messages(path, topic):
    with BagReader(path) as bag:
        return [record.message for record in bag.records([topic])]


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_every_thermal_image_gets_a_mask_with_its_header(cut):
    masks = messages(cut.masks, MASK)
    assert [stamp_to_ns(m.header.stamp) - START_NS for m in masks] == [i * 10**8 for i in range(FRAMES)]
    assert {m.header.frame_id for m in masks} == {"ir_camera"}
    assert (len(cut.rows), cut.received, cut.complete) == (
        FRAMES,
        {Modality.EO: 25, Modality.IR: FRAMES},
        True,
    )


def test_the_route_falls_back_while_eo_is_dropped_and_returns(cut):
    routes = [span.route for span in cut.spans]
    assert routes == [Route.FUSED, Route.IR_ONLY, Route.FUSED]
    assert cut.spans[1].start_s == pytest.approx(1.0, abs=0.15)
    assert cut.spans[2].start_s == pytest.approx(2.5, abs=0.25)
    assert [message.data for message in messages(cut.masks, ROUTE)] == [route.value for route in routes]
    assert cut.lost_ms == (pytest.approx(150, abs=1),)  # 1.5 periods: the node's own bound
    assert len(cut.returned_ms) == 1
    states = [sample.state for sample in cut.streams[Modality.EO]]
    assert "STALE" in states[states.index("ALIVE") :]


def test_masks_are_the_segmenters_own(cut, drive):
    segmenter = Segmenter.from_checkpoint(share_path(DEFAULT_CHECKPOINT), engine="torch")
    eo, ir = (messages(drive, f"{topic}/compressed") for topic in (EO_TOPIC, IR_TOPIC))
    masks, confidences = messages(cut.masks, MASK), messages(cut.masks, CONFIDENCE)
    for number in (3, 15, FRAMES - 1):
        images = {"ir": read_ir(ir[number])}
        if cut.rows[number].route is Route.FUSED:
            images["eo"] = decode_eo(eo[number])
        expected = segmenter.segment(**images)
        np.testing.assert_array_equal(read_ir(masks[number]), expected.labels)
        np.testing.assert_array_equal(read_ir(confidences[number]), expected.confidence)


def decode_eo(message):
    return cv2.cvtColor(cv2.imdecode(np.asarray(message.data), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_scores_are_those_of_masks_and_labels(cut, scenes):
    masks = [read_ir(message) for message in messages(cut.masks, MASK)]
    fused = [i for i, row in enumerate(cut.rows) if row.route is Route.FUSED]
    right = sum((masks[i] == scenes[i].labels).sum() for i in fused)
    known = sum((scenes[i].labels != 255).sum() for i in fused)
    scores = cut.scores.scores(Route.FUSED)
    assert (scores.frames, cut.labels) == (len(fused), LABELS_TOPIC)
    assert scores.pixel_accuracy == pytest.approx(right / known)
    assert all(0 < row.miou <= 1 for row in cut.rows)


def test_overlays_show_the_optical_image_while_there_is_one(cut):
    overlays = messages(cut.masks, OVERLAY)
    assert len(overlays) == FRAMES
    shown = cv2.imdecode(np.asarray(overlays[15].data), cv2.IMREAD_COLOR)
    assert shown.shape == (96, 128, 3)


def test_the_same_again_is_the_same_bytes(cut, drive, tmp_path):
    again = replay(drive, tmp_path / "out", injections=CUT, confidence=True, overlay=True)
    assert contents(again.masks) == contents(cut.masks)
    assert [row.miou for row in again.rows] == [row.miou for row in cut.rows]


def interrupt_after(monkeypatch, count):
    take, taken = offline._Replay._take, []

    def taking(self, image):
        taken.append(image)
        if len(taken) > count:
            raise KeyboardInterrupt
        take(self, image)

    monkeypatch.setattr(offline._Replay, "_take", taking)


def test_an_interrupted_replay_is_valid_and_goes_on_to_the_same_bytes(cut, drive, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 50)
        part = replay(drive, tmp_path / "out", injections=CUT, confidence=True, overlay=True)
    assert not part.complete
    assert "interrupted" in part.problems[-1]
    done = len(messages(part.masks, MASK))
    assert 0 < done < FRAMES
    assert len(part.rows) == done
    with monkeypatch.context() as patch:
        interrupt_after(patch, 10)  # before it has caught up
        with pytest.raises(KeyboardInterrupt):
            replay(drive, tmp_path / "out", injections=CUT, confidence=True, overlay=True)
    assert len(messages(part.masks, MASK)) == done
    whole = replay(drive, tmp_path / "out", injections=CUT, confidence=True, overlay=True)
    assert contents(whole.masks) == contents(cut.masks)
    assert sum(row.compute_ms is not None for row in whole.rows) == FRAMES - done
    assert whole.complete


def test_a_finished_replay_is_never_overwritten(cut, drive):
    before = contents(cut.masks)
    with pytest.raises(RunFolderError, match="give another --out"):
        replay(drive, cut.masks.parent, injections=CUT, confidence=True, overlay=True)
    assert contents(cut.masks) == before


def test_without_labels_agreement_and_steadiness_are_measured(drive, tmp_path):
    result = replay(drive, tmp_path / "out", labels="none", probe_every=4)
    assert (result.scores, result.labels) == (None, "")
    assert result.agreement.frames == FRAMES / 4
    assert 0 < result.agreement.miou < result.agreement.pixels <= 1
    assert result.consistency[Route.FUSED].pairs == FRAMES / 4
    assert 0 < result.consistency[Route.FUSED].miou <= 1


def test_labels_from_a_folder_score_as_those_of_the_topic(cut, drive, scenes, tmp_path):
    (tmp_path / "labels").mkdir()
    for index in (0, 7):
        stamp = START_NS + index * 10**8
        cv2.imwrite(str(tmp_path / "labels" / f"{stamp}.png"), scenes[index].labels)
    result = replay(drive, tmp_path / "out", injections=CUT, labels=str(tmp_path / "labels"))
    scored = {number: row.miou for number, row in enumerate(result.rows) if row.miou is not None}
    assert scored == {index: cut.rows[index].miou for index in (0, 7)}


def test_labels_of_another_size_are_told(drive, tmp_path):
    (tmp_path / "labels").mkdir()
    cv2.imwrite(str(tmp_path / "labels" / f"{START_NS}.png"), np.zeros((5, 5), np.uint8))
    with pytest.raises(ScoringError, match=f"labels of stamp {START_NS}: a mask of "):
        replay(drive, tmp_path / "out", labels=str(tmp_path / "labels"))


def test_a_replay_that_fails_is_gone_on_with_once_the_reason_is_gone(cut, drive, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        write, written = MaskBag.write, []

        def filling(self, *arguments, **images):
            if len(written) == 20:
                raise OSError(28, "No space left on device")
            written.append(write(self, *arguments, **images))

        patch.setattr(MaskBag, "write", filling)
        with pytest.raises(OSError, match="No space left"):
            replay(drive, tmp_path / "out", injections=CUT, confidence=True, overlay=True)
    whole = replay(drive, tmp_path / "out", injections=CUT, confidence=True, overlay=True, labels="none")
    assert sum(row.compute_ms is None for row in whole.rows) == 20
    assert contents(whole.masks) == contents(cut.masks)


def test_label_maps_of_16_bits_are_told_not_wrapped(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        for topic in ("/ir/image", LABELS_TOPIC):
            bag.add_topic(topic, "sensor_msgs/msg/Image")
        bag.write("/ir/image", START_NS, thermal(0))
        ids = np.full((48, 64), 257, np.uint16)
        bag.write(LABELS_TOPIC, START_NS + 1, image_message(ids, "mono16", header(START_NS, "ir")))
    with pytest.raises(ScoringError, match="have 16 bits: publish ids as mono8"):
        replay(tmp_path / "bag", tmp_path / "out")


def test_labels_of_other_classes_are_refused(tmp_path, squares):
    write_samples(tmp_path / "drive", squares, progress=False)
    with pytest.raises(ReplayError, match=r"are ground, square, but the network's are .* --labels none"):
        replay(tmp_path / "drive", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_parameters_of_the_node_apply(drive, tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("/**/segment: {ros__parameters: {slop: 0.01, height: 48, width: 64}}")
    shift = (Injection.parse("shift", Modality.EO, "20ms"),)
    result = replay(drive, tmp_path / "out", parameters=str(file), injections=shift, end_s=1.5)
    assert {row.route for row in result.rows} == {Route.IR_ONLY}
    assert result.configuration["slop"] == "0.01"


def test_what_is_not_set_is_as_the_node_has_it():
    (node,) = yaml.safe_load(share_path("config/segment.yaml").read_text()).values()
    assert offline._AS_THE_NODE.items() <= node["ros__parameters"].items()


def test_a_bag_with_only_eo_is_segmented_when_asked(drive, tmp_path):
    result = replay(drive, tmp_path / "out", ir="none", end_s=1.0)
    assert {row.route for row in result.rows} == {Route.EO_ONLY}
    assert result.scores is None  # labels lie in the thermal image


def write_bag(path, ir_messages):
    with BagWriter(path) as bag:
        bag.add_topic("/ir/image", "sensor_msgs/msg/Image")
        for index, message in enumerate(ir_messages):
            bag.write("/ir/image", START_NS + index * 10**8, message)


def thermal(index, encoding="mono8"):
    pixels = np.random.default_rng(index).integers(0, 255, (48, 64), np.uint8)
    return image_message(pixels, encoding, header(START_NS + index * 10**8, "ir"))


def test_images_that_cannot_be_read_are_counted_and_told(tmp_path):
    write_bag(tmp_path / "bag", [thermal(i, "mono7" if i % 4 == 3 else "mono8") for i in range(12)])
    result = replay(tmp_path / "bag", tmp_path / "out")
    assert (len(result.answered), result.counts["dropped_unreadable"], result.complete) == (9, 3, True)
    assert result.problems[0].startswith("3 of 12 images on /ir/image are refused: encoding 'mono7' ")


def test_a_bag_of_unknown_encodings_is_one_clear_error(tmp_path):
    write_bag(tmp_path / "bag", [thermal(i, "mono7") for i in range(5)])
    with pytest.raises(ReplayError, match=r"nothing in .*bag could be segmented: ir: encoding 'mono7' "):
        replay(tmp_path / "bag", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("settings", [{"start_s": 3.0, "end_s": 2.0}, {"start_s": -1.0}, {"probe_every": -1}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(ValueError, match=r"is no stretch of a bag|use 0 or more"):
        OfflineSettings("bag", "out", **settings)


def test_a_missing_bag_leaves_no_folder(tmp_path):
    with pytest.raises(BagError, match="there is no bag"):
        replay(tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_was_asked_for_is_kept(cut):
    document = json.loads((cut.masks.parent / "replay.json").read_text())
    assert document["state"] == "finished"
    assert document["asked"]["injections"] == ["eo drop from 1 s to 2.5 s"]
