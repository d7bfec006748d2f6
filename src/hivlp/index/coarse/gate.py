"""Any number of searches, or one change of what they read; it knows nothing of what it guards."""

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
        """Waits while something grows or wants to."""

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
        """Waits until the searches that run have ended."""
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
    """The searching side of a gate as a context; a class, since a generator costs microseconds a search."""

    def __init__(self, gate: ReadersWriterLock) -> None:
        self._gate = gate

    def __enter__(self) -> None:
        self._gate.enter_shared()

    def __exit__(self, *error: object) -> None:
        self._gate.leave_shared()
