"""What the processes of one service share: a folder of small files that lives as long as the service."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shared:
    """The common folder of several processes.

    Attributes:
        folder: of readiness, of the metrics of each process, and of the rates of all of them.
        processes: how many there are.
    """

    folder: Path
    processes: int

    @property
    def rates(self) -> Path:
        """The table of rates; not named ``.db``, which are the metrics."""
        return self.folder / "rates.sqlite"

    def say_ready(self) -> None:
        """This process has warmed up."""
        (self.folder / f"{os.getpid()}.ready").touch()

    def all_ready(self) -> bool:
        """Whether as many processes have warmed up as there are to be, and live."""
        ready = [int(path.stem) for path in self.folder.glob("*.ready")]
        return sum(is_alive(pid) for pid in ready) >= self.processes


def is_alive(pid: int) -> bool:
    """Whether there is a process of this number, be it one that has ended and was not noticed yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the number is another user's by now
        return False
    return True
