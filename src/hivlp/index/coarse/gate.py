"""A readers-writer lock: any number of searches, or one change; it does not know what it guards."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager


class ReadersWriterLock:
    """Growing a structure moves the memory that a search reads, so growth waits for searches to end.

    ``with gate.shared:`` is for a search, ``with gate.alone():`` for growth.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._searching = 0
        self._growing = 0
        self.shared = _Shared(self)
        """Waits while a growth runs or waits."""

    def enter_shared(self) -> None:
        with self._change:
            while self._growing:
                self._change.wait()
            self._searching += 1

    def leave_shared(self) -> None:
        with self._change:
            self._searching -= 1
            if not self._searching:
                self._change.notify_all()

    @contextmanager
    def alone(self) -> Generator[None, None, None]:
        """Waits until the running searches have ended."""
        with self._change:
            self._growing += 1  # new searches wait, so growth is never starved
            while self._searching:
                self._change.wait()
            try:
                yield
            finally:
                self._growing -= 1
                self._change.notify_all()


class _Shared:
    """The searching side of a lock as a context; a class, since a generator costs microseconds a search."""

    def __init__(self, lock: ReadersWriterLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.enter_shared()

    def __exit__(self, *error: object) -> None:
        self._lock.leave_shared()
