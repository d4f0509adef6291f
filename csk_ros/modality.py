"""The two kinds of camera, and the three routes an image can take through the network."""

from __future__ import annotations

from enum import Enum


class Modality(str, Enum):
    """A kind of camera."""

    EO = "eo"
    IR = "ir"


class Route(str, Enum):
    """The path through the network that made a mask, named by what it needs."""

    FUSED = "FUSED"
    IR_ONLY = "IR_ONLY"
    EO_ONLY = "EO_ONLY"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that this route reads, in the order eo, ir."""
        return _MODALITIES[self]

    @classmethod
    def of(cls, *, eo: bool, ir: bool) -> Route:
        """The route that the present modalities make.

        Raises:
            ValueError: if neither is present.
        """
        if eo and ir:
            return cls.FUSED
        if ir:
            return cls.IR_ONLY
        if eo:
            return cls.EO_ONLY
        raise ValueError("neither eo nor ir is given: pass at least one image")


_MODALITIES = {
    Route.FUSED: (Modality.EO, Modality.IR),
    Route.IR_ONLY: (Modality.IR,),
    Route.EO_ONLY: (Modality.EO,),
}
