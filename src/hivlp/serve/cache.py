"""A cache of the most recently used values."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LeastRecentlyUsed(Generic[Value]):
    """Keeps values up to a total size and drops the least recently used first. Safe for threads."""

    def __init__(self, limit: int, *, size: Callable[[Value], int] = lambda value: 1) -> None:
        """An empty cache.

        Args:
            limit: of the sum of all sizes; 0 keeps nothing.
            size: of one value.
        """
        self._limit = limit
        self._size = size
        self._total = 0
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """The value, which counts as used now; None for an unknown key."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: Hashable, value: Value) -> None:
        """Stores a value, replacing an earlier one."""
        with self._lock:
            if key in self._values:
                self._total -= self._size(self._values.pop(key))
            self._values[key] = value
            self._total += self._size(value)
            while self._total > self._limit:
                _, oldest = self._values.popitem(last=False)
                self._total -= self._size(oldest)

    def __len__(self) -> int:
        return len(self._values)
