from __future__ import annotations

import pytest

from csk_ros.perception.stamps import StampOrder, StampVerdict


@pytest.mark.parametrize(
    ("stamps", "verdict"),
    [
        ([5], StampVerdict.NEWER),
        ([5, 6], StampVerdict.NEWER),
        ([5, 5_000_000], StampVerdict.NEWER),
        ([500, 450], StampVerdict.OLDER),
        ([500, 400], StampVerdict.OLDER),
        ([500, 399], StampVerdict.JUMPED_BACK),
        ([500, 399, 400], StampVerdict.NEWER),
        ([500, 500], StampVerdict.REPEATED),
        ([500, 500, 500], StampVerdict.MISSING),
        ([500, 500, 501, 501], StampVerdict.REPEATED),
        ([0], StampVerdict.MISSING),
        ([500, 0], StampVerdict.MISSING),
        ([500, -7], StampVerdict.MISSING),
        ([500, 0, 501], StampVerdict.NEWER),
    ],
)
def test_the_verdict_on_the_last_stamp(stamps, verdict):
    order = StampOrder()
    assert [order.judge(stamp, jump_back_ns=100) for stamp in stamps][-1] is verdict
