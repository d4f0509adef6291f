from __future__ import annotations

import pytest
from squares_samples import Squares


@pytest.fixture
def squares() -> Squares:
    return Squares()
