"""What is costly to make, kept for the keys that were used latest."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Key = TypeVar("Key")
Value = TypeVar("Value")


class LatestUsed(OrderedDict[Key, Value]):
    """The values of so many keys, in the order in which they were used.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def find_or(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it is not there; then the one used longest ago goes."""
        value = self.pop(key) if key in self else make()
        self[key] = value
        while len(self) > self.most:
            self.popitem(last=False)
        return value
