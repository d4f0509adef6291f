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
