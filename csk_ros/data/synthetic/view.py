"""One drawn moment, as both cameras read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from csk_ros.data.synthetic.materials import COLUMN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from csk_ros.data.synthetic.camera import Camera
    from csk_ros.data.synthetic.light import Light


@dataclass(frozen=True)
class View:
    """What is seen where, of which material, at which distance, in which light.

    Attributes:
        camera: that looks.
        light: of the moment.
        rows: materials in use, shape (K, fields).
        ahead, aside: place of each row relative to the camera, metres, shape (K,).
        seen: row seen in each pixel, intp, shape (H, W).
        texture: of each pixel, 0 is flat, shape (H, W).
        lamps: street lamps as (aside, ahead) of the camera, metres, shape (n, 2).
    """

    camera: Camera
    light: Light
    rows: NDArray[np.float32]
    ahead: NDArray[np.float32]
    aside: NDArray[np.float32]
    seen: NDArray[np.intp]
    texture: NDArray[np.float32]
    lamps: NDArray[np.float32]

    def column(self, name: str) -> NDArray[np.float32]:
        """A field of all materials, shape (K,)."""
        return self.rows[:, COLUMN[name]]
