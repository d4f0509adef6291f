"""Label sets: the ordered classes of a segmentation, their names and colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNLABELLED = 255
"""The id of pixels without a label: never predicted, never scored."""

_UNLABELLED_COLOR = (64, 64, 64)


@dataclass(frozen=True)
class LabelSet:
    """Ordered classes; a class's id is its index.

    Attributes:
        names: one name per class, all different.
        colors: one RGB colour (0-255 each) per class.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        """Refuse sets that cannot be stored in a uint8 label map."""
        if not 1 <= len(self.names) <= UNLABELLED:
            raise ValueError(f"a label set holds 1 to {UNLABELLED} classes, not {len(self.names)}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"class names must differ: {', '.join(self.names)}")
        if len(self.colors) != len(self.names):
            raise ValueError(
                f"{len(self.names)} names but {len(self.colors)} colors: give one RGB color per class"
            )
        for color in self.colors:
            if not all(0 <= part <= 255 for part in color):
                raise ValueError(f"color {color} is no RGB color: its parts are 0 to 255")

    def __len__(self) -> int:
        """The number of classes."""
        return len(self.names)

    def palette(self) -> NDArray[np.uint8]:
        """Colours by id, shape (256, 3), uint8 RGB; ids without a class get a dark grey."""
        table = np.full((256, 3), _UNLABELLED_COLOR, dtype=np.uint8)
        table[: len(self.colors)] = self.colors
        return table

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form that :meth:`from_dict` reads back."""
        return {"names": list(self.names), "colors": [list(color) for color in self.colors]}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> LabelSet:
        """Read what :meth:`to_dict` wrote.

        Raises:
            ValueError: if ``names`` or ``colors`` is missing or malformed.
        """
        try:
            names = tuple(str(name) for name in document["names"])
            colors = tuple((int(r), int(g), int(b)) for r, g, b in document["colors"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a label set (needs 'names' and 'colors'): {error}") from error
        return cls(names, colors)


MFNET = LabelSet(
    names=(
        "background",
        "car",
        "person",
        "bike",
        "curve",
        "car_stop",
        "guardrail",
        "color_cone",
        "bump",
    ),
    colors=(
        (0, 0, 0),
        (64, 128, 255),
        (255, 64, 64),
        (255, 255, 0),
        (0, 224, 224),
        (200, 120, 255),
        (120, 255, 120),
        (255, 128, 0),
        (255, 105, 180),
    ),
)
"""The nine classes of MFNet (Ha et al., IROS 2017); its id 0, "unlabelled" there, is a class here.

The colours are our own: its published ones have person and car_stop in dark olives, lost on a night scene.
"""

FMB = LabelSet(
    names=(
        "road",
        "sidewalk",
        "building",
        "traffic_light",
        "traffic_sign",
        "vegetation",
        "sky",
        "person",
        "car",
        "truck",
        "bus",
        "motorcycle",
        "bicycle",
        "pole",
    ),
    colors=(
        (200, 0, 200),
        (255, 200, 255),
        (232, 160, 120),
        (255, 128, 0),
        (200, 255, 80),
        (0, 200, 0),
        (0, 216, 255),
        (255, 64, 64),
        (64, 128, 255),
        (120, 0, 255),
        (0, 0, 232),
        (40, 200, 160),
        (255, 255, 0),
        (232, 255, 200),
    ),
)
"""The 14 classes of FMB (Liu et al., ICCV 2023) in the order of its ids 1 to 14; colours are our own."""

MVSEG = LabelSet(
    names=(
        "background",
        "car",
        "bus",
        "motorcycle",
        "bicycle",
        "pedestrian",
        "motorcyclist",
        "bicyclist",
        "cart",
        "bench",
        "umbrella",
        "box",
        "pole",
        "street_lamp",
        "traffic_light",
        "traffic_sign",
        "car_stop",
        "color_cone",
        "sky",
        "road",
        "sidewalk",
        "curb",
        "vegetation",
        "terrain",
        "building",
        "ground",
    ),
    colors=(
        (0, 0, 0),
        (64, 128, 255),
        (0, 0, 232),
        (40, 200, 160),
        (255, 255, 0),
        (255, 64, 64),
        (200, 0, 0),
        (160, 200, 40),
        (120, 80, 200),
        (135, 0, 255),
        (255, 40, 255),
        (0, 120, 200),
        (232, 255, 200),
        (120, 255, 255),
        (0, 255, 80),
        (200, 255, 80),
        (200, 120, 255),
        (255, 128, 0),
        (0, 216, 255),
        (200, 0, 200),
        (255, 200, 255),
        (160, 200, 200),
        (0, 200, 0),
        (80, 255, 0),
        (232, 160, 120),
        (120, 232, 120),
    ),
)
"""The 26 classes of MVSeg (Ji et al., CVPR 2023) in the order of their ids; colours are our own."""

PST900 = LabelSet(
    names=("background", "fire_extinguisher", "backpack", "hand_drill", "survivor"),
    colors=((0, 0, 0), (255, 64, 64), (0, 224, 224), (255, 255, 0), (200, 120, 255)),
)
"""The five classes of PST900 (Shivakumar et al., ICRA 2020), in the order of their ids; colours our own."""
