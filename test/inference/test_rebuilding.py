from __future__ import annotations

from contextlib import suppress

import pytest

from csk_ros.inference import EngineFailure, InputError, RebuildingSegmenter


class Flaky:
    """Stands for a segmenter whose engine fails when it is told to."""

    def __init__(self, errors):
        self._errors = errors

    def segment(self, **images):
        error = self._errors.pop(0) if self._errors else None
        if error:
            raise error
        return images


@pytest.fixture
def made():
    built = []

    def make(*errors, most_failures=3, loads=()):
        errors, loads = list(errors), list(loads)

        def load():
            if built and loads:
                raise loads.pop(0)
            built.append(Flaky(errors))
            return built[-1]

        return RebuildingSegmenter(load, most_failures), built

    return make


def test_what_failed_is_built_anew_for_the_next_frame(made):
    segmenter, built = made(RuntimeError("device lost\nstack"))
    with pytest.raises(EngineFailure, match=r"^RuntimeError: device lost$"):
        segmenter.segment(ir=1)
    assert segmenter.segmenter is None
    assert segmenter.segment(ir=2) == {"ir": 2}
    assert (len(built), segmenter.rebuilds, segmenter.exhausted()) == (2, 1, False)


def test_failures_in_a_row_exhaust_it_and_others_do_not(made):
    fail = RuntimeError()
    segmenter, _ = made(fail, fail, None, fail, fail, fail)
    outcomes = []
    for _ in range(6):
        with suppress(EngineFailure):
            segmenter.segment()
        outcomes.append(segmenter.exhausted())
    assert outcomes == [False] * 5 + [True]


def test_an_engine_that_cannot_be_built_counts_as_a_failure(made):
    segmenter, _ = made(MemoryError("full"), most_failures=2, loads=[OSError("gone")])
    with pytest.raises(EngineFailure, match="MemoryError: full"):
        segmenter.segment()
    with pytest.raises(EngineFailure, match="OSError: gone"):
        segmenter.segment()
    assert segmenter.exhausted()
    assert segmenter.segment(ir=1) == {"ir": 1}
    assert not segmenter.exhausted()


def test_images_that_cannot_be_segmented_are_not_the_engine_s_fault(made):
    segmenter, built = made(InputError("no image"))
    with pytest.raises(InputError):
        segmenter.segment()
    segmenter.segment()
    assert len(built) == 1


def test_the_first_one_must_be_there():
    def load():
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        RebuildingSegmenter(load, 3)
