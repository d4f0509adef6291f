"""A thread that works on the newest item only, so that latency stays bounded however slow the work is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class LatestOnlyWorker(Generic[T]):
    """Runs ``work`` in a thread of its own over a slot that holds one item.

    Args:
        work: called with each item; must not raise.
        superseded: called in the submitter's thread with an item that waited when a newer one came.
        name: the thread's name.
    """

    def __init__(self, work: Callable[[T], None], superseded: Callable[[T], None], *, name: str) -> None:
        self._work = work
        self._superseded = superseded
        self._slot: list[T] = []
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def submit(self, item: T) -> None:
        """Put an item into the slot, in place of the one that waits there."""
        with self._changed:
            waiting, self._slot = self._slot, [item]
            self._changed.notify()
        for old in waiting:
            self._superseded(old)

    def stop(self) -> list[T]:
        """Finish the item at work, end the thread, and give back what waited (at most one item)."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        waiting, self._slot = self._slot, []
        return waiting

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._slot or self._stopping)
                if self._stopping:
                    return
                item = self._slot.pop()
            self._work(item)
