"""What the files of all storages have in common: channels, messages, faults, and the order of time."""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from rosbags.interfaces import Qos

LARGEST = 1 << 28
"""Bytes of the largest chunk or message that is unpacked; what claims more is taken for damage."""

FOREVER = (1 << 63) - 1
"""After every stamp, in nanoseconds."""

_STEP = 1 << 20


class Channel(NamedTuple):
    """One stream of messages in a file.

    Attributes:
        id: its number in the file.
        topic: its topic.
        msgtype: its type, such as ``sensor_msgs/msg/Image``.
        encoding: of its messages: ``cdr``, ``ros1``, or what else the file says.
        definition: of its type, in the text that the file holds; empty where it holds none.
        digest: hash of the type, RIHS01 (ROS 2) or MD5 (ROS 1); empty where the file holds none.
        qos: what it was offered with.
    """

    id: int
    topic: str
    msgtype: str
    encoding: str = "cdr"
    definition: str = ""
    digest: str = ""
    qos: tuple[Qos, ...] = ()


class Message(NamedTuple):
    """One message of a file: receive time in nanoseconds, channel, serialised data as it is stored."""

    received_ns: int
    channel: Channel
    data: bytes


class Damage(Exception):  # noqa: N818 (it is what the file has, not what went wrong here)
    """A part of a file that cannot be read; the text says why."""


CUT_SHORT = "it is cut short"


class Problems:
    """What could not be read of a bag: grows while reading, each fault once however often it is met."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str, str], set[int]] = {}

    def add(self, file: str, what: str, reason: str, place: int = 0) -> None:
        """Note that ``what`` ("chunk", "message") at ``place`` of ``file`` cannot be read."""
        self._places.setdefault((file, what, reason), set()).add(place)

    def say(self, file: str, text: str) -> None:
        """Note a fault of the whole file."""
        self._places.setdefault((file, "", text), set()).add(0)

    @property
    def lines(self) -> list[str]:
        """One line per kind of fault and file; that the end is missing says that the last part is, too."""
        cut = {file for file, what, reason in self._places if not what and CUT_SHORT in reason}
        return [
            f"{file}: {reason}"
            if not what
            else f"{file}: {_count(len(places), what)} cannot be read: {reason}"
            for (file, what, reason), places in self._places.items()
            if not (what and reason == CUT_SHORT and file in cut)
        ]


class StorageFile(Protocol):
    """One opened file of a bag, with its index.

    Attributes:
        storage: ``mcap``, ``sqlite3`` or ``ros1``.
        compression: of its chunks, as the file calls it; empty for none.
        channels: by id.
        counts: messages by channel id.
        start_ns: receive time of its first message.
        end_ns: receive time of its last message.
    """

    storage: str
    path: Path
    compression: str
    channels: dict[int, Channel]
    counts: dict[int, int]
    start_ns: int
    end_ns: int

    def messages(self, channels: Collection[int], start_ns: int, stop_ns: int) -> Iterator[Message]:
        """The messages of ``channels`` received in [start_ns, stop_ns), in order."""
        ...


def in_order(parts: Iterable[tuple[int, Callable[[], Iterator[Message]]]]) -> Iterator[Message]:
    """Merge streams by receive time, opening each only when its start is reached.

    Args:
        parts: of each stream, a time at or before its first message, and what opens it. Messages of one
            time come in the order of the parts.

    Only streams that overlap in time are open at once, so memory is bounded by those.
    """
    waiting = deque(sorted(enumerate(parts), key=lambda item: item[1][0]))
    heap: list[tuple[int, int, Message, Iterator[Message]]] = []
    while waiting or heap:
        while waiting and (not heap or waiting[0][1][0] <= heap[0][0]):
            number, (_, open_stream) = waiting.popleft()
            stream = open_stream()
            if (first := next(stream, None)) is not None:
                heapq.heappush(heap, (first.received_ns, number, first, stream))
        if not heap:
            return
        _, number, message, stream = heap[0]
        yield message
        if (following := next(stream, None)) is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following.received_ns, number, following, stream))


class Readable(Protocol):
    """What gives bytes."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


def read_up_to(stream: Readable, size: int) -> tuple[bytes, str]:
    """As much of the first ``size`` bytes of a decompressing stream as can be had, and why not all of it."""
    pieces, left = [], min(size, LARGEST)
    fault = f"it claims {size} bytes" if size > LARGEST else ""
    try:
        while left and (piece := stream.read(min(left, _STEP))):
            pieces.append(piece)
            left -= len(piece)
    except (EOFError, OSError, RuntimeError, ValueError, zstandard.ZstdError) as error:
        fault = one_line(error)
    return b"".join(pieces), fault or (CUT_SHORT if left else "")


def one_line(error: BaseException) -> str:
    """An error's text on one line; its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"
