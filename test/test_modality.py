from __future__ import annotations

import pytest

from csk_ros.modality import Modality, Route


@pytest.mark.parametrize(
    ("eo", "ir", "route"),
    [(True, True, Route.FUSED), (False, True, Route.IR_ONLY), (True, False, Route.EO_ONLY)],
)
def test_route_follows_what_is_present(eo, ir, route):
    assert Route.of(eo=eo, ir=ir) is route
    assert (Modality.EO in route.modalities, Modality.IR in route.modalities) == (eo, ir)


def test_nothing_present_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        Route.of(eo=False, ir=False)
