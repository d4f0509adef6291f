from __future__ import annotations

import threading

import pytest

from csk_ros.evaluation import throughput
from csk_ros.evaluation.speed import SpeedSettings
from csk_ros.evaluation.throughput import measure_throughput
from csk_ros.evaluation.variants import Variant
from csk_ros.modality import Route


class Meeting:
    """In place of a loaded variant: a frame ends when others are in work beside it."""

    made: list[Meeting]
    together: threading.Barrier

    def __init__(self, variant, _, torch_threads):
        assert torch_threads == variant.threads
        self.variant, self.workers = variant, []
        self.made.append(self)

    def run(self, images):
        assert set(images) == {"ir"}
        self.workers.append(threading.current_thread())
        if threading.current_thread() is not threading.main_thread():  # there it warms up
            self.together.wait(timeout=10)


@pytest.mark.parametrize(("device", "threads"), [("cpu", 2), ("cuda:0", 5)])
def test_frames_are_in_work_together_each_in_its_own_segmenter_and_thread(monkeypatch, device, threads):
    monkeypatch.setattr(throughput, "LoadedVariant", Meeting)
    monkeypatch.setattr(Meeting, "made", [], raising=False)
    monkeypatch.setattr(Meeting, "together", threading.Barrier(2), raising=False)
    variant = Variant("torch", "float32", device, 32, 64, threads=5, confidence=False)
    ((route, rate),) = measure_throughput(variant, None, [Route.IR_ONLY], at_once=2, frames=3)
    assert route is Route.IR_ONLY
    assert rate > 0
    assert [one.variant.threads for one in Meeting.made] == [threads, threads]
    workers = [set(one.workers[1:]) for one in Meeting.made]
    assert [len(one.workers) for one in Meeting.made] == [4, 4]
    assert len(set.union(*workers)) == len(workers) == 2


def test_an_interrupt_does_not_wait_for_all_frames(monkeypatch):
    other_works = threading.Event()

    class Interrupted(Meeting):
        def run(self, images):
            super().run(images)
            if self is self.made[1]:
                if len(self.workers) > 1:
                    other_works.set()
            elif len(self.workers) > 1 and other_works.wait(timeout=10):
                raise KeyboardInterrupt

    monkeypatch.setattr(throughput, "LoadedVariant", Interrupted)
    monkeypatch.setattr(Meeting, "made", [], raising=False)
    monkeypatch.setattr(Meeting, "together", threading.Barrier(1), raising=False)
    variant = Variant("torch", "float32", "cpu", 32, 64, threads=2, confidence=False)
    with pytest.raises(KeyboardInterrupt):
        list(measure_throughput(variant, None, [Route.IR_ONLY], at_once=2, frames=10**9))


def test_a_number_at_once_that_means_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at_once is -1: give a number of frames, or 0"):
        SpeedSettings(tmp_path, at_once=-1)
