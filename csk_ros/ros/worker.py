"""A thread that works on the newest item only, so that latency stays bounded however slow the work is."""

from __future__ import annotations

import threading
import time
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
        self._since: float | None = None
        self._changed = threading.Condition()
        # A daemon: work that never ends must not keep the process.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def busy_s(self) -> float:
        """How long it has been at its present item, 0 if it has none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def submit(self, item: T) -> None:
        """Put an item into the slot, in place of the one that waits there."""
        with self._changed:
            waiting, self._slot = self._slot, [item]
            self._changed.notify()
        for old in waiting:
            self._superseded(old)

    def stop(self, patience_s: float | None = None) -> bool:
        """Finish the item at work and end the thread; what waited is left undone.

        Args:
            patience_s: how long to wait for that; None waits as long as it takes.

        Returns:
            Whether the thread has ended. If not, its item may still end at any time.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(patience_s)
        self._slot = []
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._slot or self._stopping)
                if self._stopping:
                    return
                item = self._slot.pop()
            self._since = time.monotonic()
            self._work(item)
            self._since = None
