"""``message_filters`` where it is installed, else the small part of its interface that is used here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    from message_filters import SimpleFilter, Subscriber
except ModuleNotFoundError:

    class SimpleFilter:  # type: ignore[no-redef]
        """Something that messages come out of; the interface of ``message_filters.SimpleFilter``."""

        def __init__(self) -> None:
            self.callbacks: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = {}

        def registerCallback(self, callback: Callable[..., None], *args: Any) -> int:  # noqa: N802 (its name there)
            """Call ``callback(*messages, *args)`` for whatever comes out; returns the connection's key."""
            key = len(self.callbacks)
            self.callbacks[key] = (callback, args)
            return key

        def signalMessage(self, *messages: Any) -> None:  # noqa: N802 (its name there)
            """Hand messages to every registered callback."""
            for callback, args in self.callbacks.values():
                callback(*messages, *args)

    class Subscriber(SimpleFilter):  # type: ignore[no-redef]
        """A ROS subscription as a filter; the interface of ``message_filters.Subscriber``."""

        def __init__(self, node: Any, message_type: type, topic: str, **options: Any) -> None:
            super().__init__()
            self.topic = topic
            options.setdefault("qos_profile", 10)
            self.sub = node.create_subscription(message_type, topic, self.signalMessage, **options)


__all__ = ["SimpleFilter", "Subscriber"]
