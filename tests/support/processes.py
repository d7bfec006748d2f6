"""Other processes of tests: on a loaded machine one is slow, and none is waited for without an end."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 90.0  # seconds


@contextmanager
def killed_in_the_end(process: subprocess.Popen[str], seconds: float = PATIENCE) -> Iterator[None]:
    """Kills a process that is still there after so many seconds, so that reading from it ends."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def until_patience_ends(seconds: float = PATIENCE) -> Iterator[int]:
    """0, 1, 2 ... for a loop that another process must get through; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    number = 0
    while time.monotonic() < deadline:
        yield number
        number += 1
    raise AssertionError(f"the other process was not that far after {seconds:g} s")
