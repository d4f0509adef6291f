"""Work that goes on beside the main thread: reading ahead, and writing behind."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from typing_extensions import Self

T = TypeVar("T")

_LOOK_S = 0.2


class _End:
    """What a thread puts last: that it is done, or why it failed."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class ReadAhead(Generic[T]):
    """Iterates in a thread of its own, at most ``depth`` items ahead; a context manager.

    An error of the iterable is raised where its item would have come.
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._items = items
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    def __enter__(self) -> Self:
        """Start reading."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading, wherever it is."""
        self._stopping.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        """The items, in order."""
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                if item.error:
                    raise item.error
                return
            yield item

    def _run(self) -> None:
        end = _End()
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:  # noqa: BLE001 (raised in the thread that asks for the items)
            end = _End(error)
        self._put(end)

    def _put(self, item: T | _End) -> bool:
        while not self._stopping.is_set():
            try:
                self._queue.put(item, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False


class WriteBehind:
    """Runs calls in order in a thread of its own, at most ``depth`` behind; a context manager.

    An error of a call is raised at the next call or at the end; those after it are not run.
    """

    def __init__(self, depth: int) -> None:
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="write-behind", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Run what waits."""
        self._queue.put(None)
        self._thread.join()
        if kind is None and self._error:
            raise self._error

    def call(self, work: Callable[[], None]) -> None:
        """Run ``work`` after all that came before.

        Raises:
            BaseException: what an earlier call raised.
        """
        if self._error:
            raise self._error
        self._queue.put(work)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            if self._error:
                continue
            try:
                work()
            except BaseException as error:  # noqa: BLE001 (raised in the thread that hands over the work)
                self._error = error
