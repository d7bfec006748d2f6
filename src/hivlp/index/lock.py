"""One writer at a time: a lock file that names its holder; it knows nothing of what it protects.

The operating system keeps the lock, so it is gone the moment its holder dies, whatever the file still says.
Where the file system knows no locks, the file's text decides: it is taken over when the process that it names
no longer runs on this machine.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hivlp.errors import IndexFolderError

# A byte far behind the text: Windows locks are mandatory, and the text must stay readable for the refused.
_LOCKED_BYTE = 1 << 30
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


@dataclass(frozen=True)
class Holder:
    """The process that writes: its id, its machine, and when it began (ISO 8601, UTC)."""

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


class WriteLock:
    """Held from construction to ``release``. Raises IndexFolderError, naming another holder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise IndexFolderError(
                f"can't write in {path.parent}: {error.strerror or error}. Writing needs permission for the "
                "whole index folder: change it, or open the index for reading only."
            ) from error
        if not self._acquire(self._file):
            os.close(self._file)
            self._file = None
            raise IndexFolderError(
                f"the index {path.parent} is being written by {read_holder(path) or 'another process'}; only "
                "one may write at a time. Wait until it has finished, or stop it: a service that was started "
                "with --writable holds the lock as long as it runs. Readers need not wait."
            )
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        try:
            self._write_text(json.dumps(asdict(Holder(os.getpid(), socket.gethostname(), now))))
        except OSError as error:
            os.close(self._file)
            self._file = None
            raise IndexFolderError(
                f"can't write {path}: {error.strerror or error}. Make space on the disk, or open the index "
                "for reading only."
            ) from error

    def _acquire(self, file: int) -> bool:
        try:
            return _try_lock(file)
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
        holder = read_holder(self._path)
        return holder is None or _is_dead(holder)

    def _write_text(self, text: str) -> None:
        if self._file is None:
            return
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, text.encode())

    def release(self) -> None:
        """Lets the next writer in. The file stays, empty: removing it would race with who just opened it."""
        if self._file is None:
            return
        self._write_text("")
        os.close(self._file)
        self._file = None


def read_holder(path: Path) -> Holder | None:
    """The process that the lock file names; None where it names none. That process may be dead by now."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Holder(int(record["pid"]), str(record["host"]), str(record["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_dead(holder: Holder) -> bool:
    """True only for a process of this machine that has surely ended; other machines are unknown."""
    if holder.host != socket.gethostname() or sys.platform == "win32":
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> bool:
        os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                return False
            raise
        return True

else:
    import fcntl

    def _try_lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise
        return True
