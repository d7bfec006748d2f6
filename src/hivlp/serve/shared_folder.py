"""The folder that the processes of one service share; it exists as long as the service."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SharedFolder:
    """Files that the processes of one service share.

    Attributes:
        folder: holds a mark for each ready process, the metrics of each, and the request rates of all.
        processes: number of processes.
    """

    folder: Path
    processes: int

    @property
    def rates(self) -> Path:
        """The table of request rates; not named ``.db``, as the metrics are."""
        return self.folder / "rates.sqlite"

    def mark_ready(self) -> None:
        """Notes that this process has warmed up."""
        (self.folder / f"{os.getpid()}.ready").touch()

    def all_ready(self) -> bool:
        """Whether all processes have warmed up and are alive."""
        ready = [int(path.stem) for path in self.folder.glob("*.ready")]
        return sum(is_alive(pid) for pid in ready) >= self.processes


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists, including one that has ended but was not reaped yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the id now belongs to another user
        return False
    return True
