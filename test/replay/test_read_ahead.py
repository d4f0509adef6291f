from __future__ import annotations

import threading

import pytest

from csk_ros.replay.read_ahead import ReadAhead, WriteBehind


def test_items_come_in_order_and_no_more_than_depth_ahead():
    made = []
    with ReadAhead((made.append(i) or i for i in range(100)), depth=4) as ahead:
        for i, item in enumerate(ahead):
            assert item == i
            assert len(made) <= i + 4 + 2  # in the queue, in the reader's hand, in ours
    assert made == list(range(100))


def test_an_error_comes_where_its_item_would_have():
    def items():
        yield 1
        raise OSError("torn tape")

    with ReadAhead(items(), depth=4) as ahead:
        iterator = iter(ahead)
        assert next(iterator) == 1
        with pytest.raises(OSError, match="torn tape"):
            next(iterator)


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    with ReadAhead(iter(int, 1), depth=2) as ahead:
        assert next(iter(ahead)) == 0
    assert threading.active_count() == before


def test_calls_run_in_order_and_all_before_the_end():
    done = []
    with WriteBehind(depth=2) as behind:
        for i in range(50):
            behind.call(lambda i=i: done.append(i))
    assert done == list(range(50))


def test_an_error_of_a_call_is_raised_and_nothing_runs_after_it():
    done = []

    def fail():
        raise OSError("disk full")

    def run():
        with WriteBehind(depth=2) as behind:
            behind.call(fail)
            for _ in range(1000):
                behind.call(lambda: done.append(1))

    with pytest.raises(OSError, match="disk full"):
        run()
    assert not done


def test_an_error_of_the_last_call_is_raised_at_the_end():
    def fail():
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), WriteBehind(depth=2) as behind:
        behind.call(fail)
