from __future__ import annotations

import json

import numpy as np
import pytest

from csk_ros.labels import FMB, MFNET, MVSEG, PST900, UNLABELLED, LabelSet


def test_mfnet_has_nine_classes_in_the_published_order():
    assert MFNET.names[:3] == ("background", "car", "person")
    assert len(MFNET) == 9


def test_json_round_trip():
    assert LabelSet.from_dict(json.loads(json.dumps(MFNET.to_dict()))) == MFNET


def test_palette_gives_each_id_its_color_and_the_rest_grey():
    palette = MFNET.palette()
    assert palette.shape == (256, 3)
    assert tuple(palette[1]) == MFNET.colors[1]
    assert tuple(palette[UNLABELLED]) == tuple(palette[200]) == (64, 64, 64)


@pytest.mark.parametrize(
    ("names", "colors", "reason"),
    [
        ((), (), "1 to 255"),
        (("a", "a"), ((0, 0, 0),) * 2, "must differ"),
        (("a", "b"), ((0, 0, 0),), "one RGB color per class"),
        (tuple(map(str, range(256))), ((0, 0, 0),) * 256, "1 to 255"),
    ],
)
def test_impossible_sets_are_refused(names, colors, reason):
    with pytest.raises(ValueError, match=reason):
        LabelSet(names, colors)


@pytest.mark.parametrize("document", [{}, {"names": ["a"]}, {"names": ["a"], "colors": [[1, 2]]}])
def test_malformed_document_says_what_it_needs(document):
    with pytest.raises(ValueError, match="not a label set"):
        LabelSet.from_dict(document)


@pytest.mark.parametrize("label_set", [MFNET, FMB, MVSEG, PST900])
def test_colors_are_bright_and_far_apart_and_background_is_clear(label_set):
    colors = np.array(label_set.colors, int)
    clear = [name == "background" for name in label_set.names]
    assert not colors[clear].any()
    assert (colors[np.logical_not(clear)].max(axis=1) >= 200).all()
    apart = np.abs(colors[:, None] - colors[None]).sum(axis=2) + 999 * np.eye(len(colors), dtype=int)
    assert apart.min() >= 120
