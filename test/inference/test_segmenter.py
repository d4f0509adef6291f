"""The segmenter against a slow reference, and its clear errors."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import warnings

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csk_ros.inference import EngineError, InputError, Segmenter, SegmenterError
from csk_ros.inference import segmenter as segmenter_module
from csk_ros.inference.edges import answer_at_edges
from csk_ros.inference.postprocess import AnswerGraph, answer
from csk_ros.inference.preprocess import count_percentiles, levels, resize_image, to_levels, upload
from csk_ros.labels import MFNET
from csk_ros.modality import Modality, Route
from csk_ros.network import Checkpoint, Normalisation, build_network, save_checkpoint

NORMALISATION = {
    Modality.EO: Normalisation((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)),
    Modality.IR: Normalisation((0.45,), (0.25,)),
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _checkpoint(name="csk", **more):
    torch.manual_seed(0)
    network = build_network(name, num_classes=9, decoder_width=16, **more)
    network.eval()
    _spread(network)
    return Checkpoint(network, MFNET, NORMALISATION, {})


@torch.no_grad()
def _spread(network):
    """Standardise the logits of noise, so that every class wins somewhere."""
    images = {"eo": torch.randn(1, 3, 96, 96), "ir": torch.randn(1, 1, 96, 96)}

    def standardise(head, _, logits):
        std, mean = torch.std_mean(logits, dim=(0, 2, 3))
        head.weight.mul_(3 / std[:, None, None, None])
        head.bias.sub_(mean).mul_(3 / std)

    heads = [module for module in network.modules() if getattr(module, "out_channels", None) == 9]
    hooks = [head.register_forward_hook(standardise) for head in heads]
    route = max(network.routes, key=lambda route: len(route.modalities))
    network.forward_heads(**{m.value: images[m.value] for m in route.modalities})
    for hook in hooks:
        hook.remove()


@pytest.fixture(scope="module")
def checkpoint():
    return _checkpoint()


@pytest.fixture(scope="module")
def segmenter(checkpoint):
    return Segmenter.from_network(checkpoint, engine="torch", device="cpu")


def _images(height=60, width=84, seed=0, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    eo = rng.integers(0, 256, (height, width, 3), np.uint8)
    return eo, rng.integers(0, np.iinfo(dtype).max + 1, (height, width)).astype(dtype)


def _reference(checkpoint, eo, ir):
    """Plain numpy and the unfolded network, for images of one size and 8 bits."""
    inputs = {}
    if eo is not None:
        unit = (eo.astype(np.float64) / 255 - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.4]
        inputs["eo"] = torch.from_numpy(unit.transpose(2, 0, 1)[None].astype(np.float32))
    if ir is not None:
        unit = (ir.astype(np.float64) / 255 - 0.45) / 0.25
        inputs["ir"] = torch.from_numpy(unit[None, None].astype(np.float32))
    with torch.no_grad():
        logits = checkpoint.network(**inputs)[0].double().numpy()
    probability = np.exp(logits) / np.exp(logits).sum(0)
    return logits.argmax(0), np.round(255 * probability.max(0))


@pytest.mark.parametrize("route", list(Route))
def test_answers_are_the_networks(segmenter, checkpoint, route):
    eo, ir = _images()
    given = {m.value: {"eo": eo, "ir": ir}[m.value] for m in route.modalities}
    result = segmenter.segment(**given)
    labels, confidence = _reference(checkpoint, given.get("eo"), given.get("ir"))
    assert result.route is route
    assert result.labels.dtype == result.confidence.dtype == np.uint8
    assert len(np.unique(labels)) > 2
    assert np.mean(result.labels == labels) > 0.999  # ties apart, folding rounds
    assert np.abs(result.confidence - confidence).max() <= 1
    assert set(result.timings) == {"prepare", "network", "answer", "total"}


def test_the_same_images_give_the_same_bytes(segmenter):
    eo, ir = _images()
    first, second = segmenter.segment(eo=eo, ir=ir), segmenter.segment(eo=eo, ir=ir)
    assert first.labels.tobytes() == second.labels.tobytes()
    assert first.confidence.tobytes() == second.confidence.tobytes()


@settings(max_examples=10)
@given(st.tuples(st.integers(1, 70), st.integers(1, 70)), st.tuples(st.integers(1, 70), st.integers(1, 70)))
def test_any_two_sizes_answer_at_the_anchors(segmenter, eo_size, ir_size):
    eo, ir = np.zeros((*eo_size, 3), np.uint8), np.zeros(ir_size, np.uint8)
    assert segmenter.segment(eo=eo, ir=ir).labels.shape == ir_size
    assert segmenter.segment(ir=ir).confidence.shape == ir_size
    assert segmenter.segment(eo=eo).labels.shape == eo_size


def test_eo_lands_where_ir_is(segmenter):
    """An EO of twice the size, every pixel repeated, answers as the EO of IR's size."""
    eo, ir = _images(64, 96)
    eo = cv2.GaussianBlur(eo, (0, 0), 3)  # noise would not come through a resize as it was
    small = segmenter.segment(eo=eo, ir=ir)
    large = segmenter.segment(eo=eo.repeat(2, 0).repeat(2, 1), ir=ir)
    flipped = segmenter.segment(eo=eo[::-1], ir=ir)
    changed = np.mean(small.labels != flipped.labels)
    assert changed > 0.01
    assert np.mean(small.labels != large.labels) < changed / 5


def test_working_size_is_not_the_answers_size(checkpoint):
    eo, ir = _images(90, 120)
    half = Segmenter.from_network(checkpoint, engine="torch", device="cpu", height=45, width=60)
    sizes = []
    half._engine.maps = _spy(half._engine.maps, sizes)
    assert half.segment(eo=eo, ir=ir).labels.shape == (90, 120)
    assert sizes == [(45, 60)]


def _spy(function, sizes):
    def call(images, size, **more):
        sizes.append(tuple(next(iter(images.values())).shape[1:3]))
        return function(images, size, **more)

    return call


def test_without_confidence(checkpoint):
    _, ir = _images()
    quick = Segmenter.from_network(checkpoint, engine="torch", device="cpu", confidence=False)
    full = Segmenter.from_network(checkpoint, engine="torch", device="cpu")
    assert quick.segment(ir=ir).confidence is None
    assert np.array_equal(quick.segment(ir=ir).labels, full.segment(ir=ir).labels)


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 65536), st.integers(0, 9999))
def test_percentiles_are_numpys(height, width, levels, seed):
    counts = np.random.default_rng(seed).integers(0, levels, (height, width)).astype(np.uint16)
    low, high = count_percentiles(upload(counts, torch.device("cpu")).to(torch.int32) & 0xFFFF)
    expected = np.percentile(counts, [1, 99], method="inverted_cdf")
    assert [low.item(), high.item()] == expected.tolist()


def test_thermal_counts_are_stretched_to_the_levels_of_8_bits():
    ramp = np.arange(40_000, 50_000, dtype=np.uint16).reshape(100, 100)
    levels = to_levels(upload(ramp, torch.device("cpu")))[0, ..., 0].numpy()
    expected = 255 * np.clip((ramp.astype(float) - 40_099) / (49_899 - 40_099), 0, 1)
    np.testing.assert_allclose(levels, expected, atol=1e-4)
    flat = np.full((8, 8), 65535, np.uint16)
    assert to_levels(upload(flat, torch.device("cpu"))).unique().tolist() == [0.0]


def test_thermal_gain_and_offset_do_not_matter(segmenter):
    counts = np.random.default_rng(1).integers(0, 4096, (48, 64)).astype(np.uint16)
    first = segmenter.segment(ir=counts)
    second = segmenter.segment(ir=counts * 4 + 30_000)
    assert len(np.unique(first.labels)) > 1
    assert np.array_equal(first.labels, second.labels)


def test_views_and_read_only_images_are_taken_and_left_alone(segmenter):
    eo, ir = _images(40, 50, dtype=np.uint16)
    expected = segmenter.segment(eo=eo, ir=ir)
    wide_eo, wide_ir = np.zeros((40, 100, 3), np.uint8), np.zeros((40, 100), np.uint16)
    wide_eo[:, ::2], wide_ir[:, ::2] = eo, ir
    wide_eo.flags.writeable = wide_ir.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = segmenter.segment(eo=wide_eo[:, ::2], ir=wide_ir[:, ::2])
        still = np.frombuffer(ir.tobytes(), np.uint16).reshape(ir.shape)
        assert np.array_equal(segmenter.segment(eo=eo, ir=still).labels, expected.labels)
    assert np.array_equal(result.labels, expected.labels)
    assert np.array_equal(result.confidence, expected.confidence)


@pytest.mark.parametrize("form", ["for torch", "for compilers"])
def test_ids_and_confidence_of_known_logits(form):
    probabilities = torch.tensor([[0.2, 0.6, 0.4], [0.7, 0.25, 0.2], [0.1, 0.15, 0.4]])
    logits = torch.log(probabilities)[None, :, None] + 80
    ids, confidence = (
        answer(logits, (1, 3), confidence=True)
        if form == "for torch"
        else AnswerGraph((1, 3), confidence=True)(logits)
    )
    assert ids.tolist() == [[1, 0, 0]]  # of equal ones the first
    assert confidence.tolist() == [[round(255 * 0.7), round(255 * 0.6), round(255 * 0.4)]]


@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    factor=st.integers(1, 5),
    more=st.tuples(st.integers(-1, 1), st.integers(-1, 1)),
    confidence=st.booleans(),
)
def test_both_forms_resize_alike(shape, factor, more, confidence):
    logits = 3 * torch.randn(1, 5, *shape, generator=torch.manual_seed(sum(shape)))
    size = tuple(max(factor * side + extra, 1) for side, extra in zip(shape, more, strict=True))
    expected = answer(logits.clone(), size, confidence=confidence)
    for graph in (AnswerGraph(size, confidence=confidence), AnswerGraph(None, confidence=confidence)):
        got = graph(logits, size)
        assert (got.dtype, got.shape) == (torch.uint8, (1 + confidence, *size))
        # resized the other way a logit differs by its rounding, so only ties may fall otherwise
        assert (got[0] == expected[0]).float().mean() > 0.9
        assert (got.int() - expected)[1:].abs().max() <= 1 if confidence else True


def _regions(height, width, few):
    """Logits of blocks, each of one class with some noise: classes meet along few lines or everywhere."""
    generator = torch.manual_seed(height * width)
    block = 24 if few else 1
    tops = torch.randint(0, 5, (-(-height // block), -(-width // block)), generator=generator)
    tops = tops.repeat_interleave(block, 0).repeat_interleave(block, 1)[:height, :width]
    one_hot = torch.nn.functional.one_hot(tops, 5).permute(2, 0, 1)[None]
    return 4 * one_hot + torch.rand(1, 5, height, width, generator=generator)


@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    size=st.one_of(st.integers(2, 9), st.tuples(st.integers(1, 150), st.integers(1, 150))),
)
def test_pixels_that_no_class_edge_touches_need_no_resizing(shape, size):
    if isinstance(size, int):  # a whole factor, which goes by blocks
        size = (size * shape[0], size * shape[1])
    logits = _regions(*shape, few=True)
    expected = answer(logits.clone(), size, confidence=True)[:1]
    got = answer_at_edges(logits, size)
    if got is None:  # a small image may be full of edges
        assert min(shape) < 64
        return
    assert (got.dtype, got.shape) == (torch.uint8, (1, *size))
    resized = torch.nn.functional.interpolate(logits, size=size, mode="bilinear")
    lost = resized.max(dim=1).values - resized.gather(1, got[None].long())[:, 0]
    assert lost.max() < 1e-5  # only a tie, within rounding, may fall otherwise
    assert (got == expected).float().mean() > 0.99 or got.numel() < 100


@pytest.mark.parametrize("size", [(100, 120), (40, 60), (60, 90), (80, 120), (160, 240), (320, 480)])
@pytest.mark.parametrize("flips", [(), (2,), (3,), (2, 3)])
def test_a_corner_of_a_region_is_an_edge_too(flips, size):
    logits = torch.rand(1, 3, 20, 30, generator=torch.manual_seed(0))
    logits[:, 0] += 2
    logits[:, 1, 12:, 20:] += 4
    logits = logits.flip(flips)
    expected = answer(logits.clone(), size, confidence=True)[:1]
    assert torch.equal(answer_at_edges(logits, size), expected)


def test_of_equal_logits_the_first_class_wins():
    logits = torch.zeros(1, 3, 20, 30)
    logits[:, :2, :, 15:] = 1
    logits[:, 2, :, :15] = 1
    expected = torch.full((20, 30), 2).index_fill(1, torch.arange(15, 30), 0)
    assert torch.equal(answer_at_edges(logits, (80, 120))[0, ::4, ::4].long(), expected)


def test_where_classes_meet_everywhere_the_whole_is_resized(checkpoint):
    logits = _regions(40, 60, few=False)
    assert answer_at_edges(logits, (80, 120)) is None
    ids = answer(logits.clone(), (80, 120), confidence=False)
    assert torch.equal(ids, answer(logits.clone(), (80, 120), confidence=True)[:1])


@pytest.mark.parametrize("size", [(20, 30), (60, 70)])
def test_bytes_are_resized_as_bytes_within_two_levels(size):
    eo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    got = levels(eo, size, torch.device("cpu"))
    assert (got.dtype, got.shape) == (torch.uint8, (1, *size, 3))
    wanted = resize_image(torch.from_numpy(eo).permute(2, 0, 1)[None].float(), size).permute(0, 2, 3, 1)
    assert (got - wanted).abs().max() <= 2


@given(data=st.data())
def test_thermal_bytes_are_resized_as_torch_does(data):
    sides = st.integers(1, 70) | st.integers(1, 70).map(lambda side: 4 * side)
    height, width, *size = data.draw(st.tuples(sides, sides, sides, sides))
    ir = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
    got = levels(ir, tuple(size), torch.device("cpu"))
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(ir)[None, None],
        size=size,
        mode="bilinear",
        antialias=size[0] < height or size[1] < width,
    )
    assert torch.equal(got, wanted.permute(0, 2, 3, 1))


def test_warm_up_runs_every_route(checkpoint):
    segmenter = Segmenter.from_network(checkpoint, engine="torch", device="cpu", height=32, width=64)
    sizes = []
    segmenter._engine.maps = _spy(segmenter._engine.maps, sizes)
    segmenter.warm_up()
    assert sizes == [(32, 64)] * 3


def test_a_file_answers_as_its_network(checkpoint, segmenter, tmp_path):
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, checkpoint.network, label_set=MFNET, normalisation=NORMALISATION, training={})
    read = Segmenter.from_checkpoint(path, "torch", "cpu")
    eo, ir = _images()
    assert np.array_equal(read.segment(eo=eo, ir=ir).labels, segmenter.segment(eo=eo, ir=ir).labels)
    assert (read.engine, read.device, read.label_set, read.routes) == (
        "torch",
        "cpu",
        MFNET,
        frozenset(Route),
    )


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, "neither eo nor ir is given"),
        ({"ir": np.zeros((4, 4), np.float32)}, r"ir must be uint8 or uint16 \(H, W\), not float32 \(4, 4\)"),
        ({"ir": np.zeros((4, 4), np.int16)}, "not int16"),
        ({"ir": np.zeros((4, 4, 3), np.uint8)}, r"not uint8 \(4, 4, 3\)"),
        ({"eo": np.zeros((4, 4), np.uint8)}, r"eo must be uint8 \(H, W, 3\) RGB, not uint8 \(4, 4\)"),
        ({"eo": np.zeros((4, 4, 3), np.uint16)}, "not uint16"),
        ({"eo": [1, 2]}, "eo must be a numpy array.*not list"),
        ({"ir": np.zeros((0, 4), np.uint8)}, "ir has no pixels"),
    ],
)
def test_wrong_images_are_refused(segmenter, images, message):
    with pytest.raises(InputError, match=message):
        segmenter.segment(**images)


def test_a_route_that_the_network_lacks_is_refused():
    segmenter = Segmenter.from_network(_checkpoint("single", modality="ir"), engine="torch", device="cpu")
    assert segmenter.routes == {Route.IR_ONLY}
    segmenter.warm_up()
    with pytest.raises(InputError, match="this network runs IR_ONLY, but eo make EO_ONLY"):
        segmenter.segment(eo=_images()[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"engine": "tpu"},
            "engine 'tpu' is not available: use auto or one of onnxruntime, openvino, tensorrt, torch",
        ),
        ({"device": "toaster"}, "device 'toaster' is not known: use auto, cpu, cuda"),
        ({"device": "meta"}, "device 'meta' is not supported"),
        (
            {"engine": "torch", "device": "cpu", "precision": "float16"},
            "this CPU does not compute in float16: use precision float32",
        ),
        (
            {"engine": "torch", "device": "cpu", "precision": "int3"},
            "precision of engine torch must be one of float32, float16, bfloat16, not 'int3'",
        ),
        (
            {"engine": "torch", "device": "xpu"},
            "engine torch runs on cpu and cuda, not xpu: use engine openv",
        ),
        ({"device": "cuda:99"}, r"device 'cuda:99' is missing.*CUDA device\(s\); install"),
    ],
)
def test_what_is_not_there_is_an_error(checkpoint, arguments, message):
    with pytest.raises(EngineError, match=message):
        Segmenter.from_network(checkpoint, **arguments)


@pytest.mark.parametrize("arguments", [{"height": 32}, {"height": 0, "width": 4}, {"threads": -1}])
def test_senseless_settings_are_refused(checkpoint, arguments):
    with pytest.raises(SegmenterError):
        Segmenter.from_network(checkpoint, engine="torch", device="cpu", **arguments)


def test_torch_leaves_one_core_to_the_rest_of_the_robot(checkpoint, monkeypatch):
    for cores, threads in ((1, 1), (2, 1), (8, 7)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        Segmenter.from_network(checkpoint, engine="torch", device="cpu", threads=0)
        assert torch.get_num_threads() == threads


def test_threads_are_set(checkpoint):
    Segmenter.from_network(checkpoint, engine="torch", device="cpu", threads=2)
    assert torch.get_num_threads() == 2


def test_the_network_that_was_handed_over_is_not_changed(checkpoint):
    before = {key: value.clone() for key, value in checkpoint.network.state_dict().items()}
    Segmenter.from_network(checkpoint, engine="torch", device="cpu").segment(ir=_images()[1])
    after = checkpoint.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_a_robot_needs_no_training_extras():
    code = (
        "import sys, csk_ros.inference\n"
        "known = ('openvino', 'lightning', 'jsonargparse', 'torchmetrics', 'matplotlib', 'rosbags',\n"
        "    'rclpy')\n"
        "print([name for name in known if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_frame_is_uploaded_answered_and_read_on_the_stream_of_the_engine(checkpoint, monkeypatch):
    segmenter = Segmenter(checkpoint, engine="torch", device="cpu", height=64, width=96)
    events = []

    @contextlib.contextmanager
    def stream():
        events.append("enter")
        yield
        events.append("leave")

    def told(name, function):
        def tell(*args, **given):
            events.append(name)
            return function(*args, **given)

        return tell

    monkeypatch.setattr(segmenter._engine, "stream", stream)
    monkeypatch.setattr(segmenter._engine, "maps", told("maps", segmenter._engine.maps))
    monkeypatch.setattr(segmenter_module, "levels", told("levels", segmenter_module.levels))
    monkeypatch.setattr(torch.Tensor, "cpu", told("read", torch.Tensor.cpu))
    segmenter.segment(ir=np.zeros((64, 96), np.uint8))
    assert events == ["enter", "levels", "maps", "read", "leave"]
