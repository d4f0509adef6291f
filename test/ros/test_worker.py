from __future__ import annotations

import threading

from csk_ros.ros.worker import LatestOnlyWorker


def test_only_the_newest_waits_and_every_item_has_one_fate():
    at_work, go_on = threading.Event(), threading.Event()
    done, superseded = [], []

    def work(item):
        at_work.set()
        go_on.wait(5)
        done.append(item)

    worker = LatestOnlyWorker(work, superseded.append, name="test")
    worker.submit(0)
    assert at_work.wait(5)
    for item in (1, 2, 3):
        worker.submit(item)
    assert superseded == [1, 2]
    assert not worker.stop(patience_s=0.01)
    assert worker.busy_s > 0
    go_on.set()
    assert worker.stop(5)
    assert worker.busy_s == 0
    assert (superseded, done) == ([1, 2], [0])  # 3 waited


def test_stop_without_work_ends_the_thread():
    worker = LatestOnlyWorker(lambda _item: None, lambda _item: None, name="idle-worker")
    assert worker.stop()
    assert not any(thread.name == "idle-worker" for thread in threading.enumerate())
