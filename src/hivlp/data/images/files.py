"""The file of an image: whether it can be read, its bytes and their hash; it knows no format."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from hivlp.errors import ImageError

MAX_FILE_BYTES = 1 << 30


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a picture file.

    Raises:
        ImageError: the file is missing, empty, too large, unreadable, or not a plain file.
    """
    path = Path(path)
    problem = problem_with(path)
    if problem is not None:
        raise ImageError(problem)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(_unreadable(error)) from error


def problem_with(path: Path) -> str | None:
    """Why a path is not a picture file (missing, a folder, too large), without opening it; else None."""
    try:
        status = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            return (
                f"it is a broken symbolic link to {str(path.readlink())!r}; restore the target or remove it"
            )
        return "the file does not exist; correct its path or restore it"
    except (OSError, ValueError) as error:
        return _unreadable(error)
    # A pipe or a device would block the reader for ever.
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a plain file"
        return f"it is {kind}; a picture must be a file"
    if status.st_size > MAX_FILE_BYTES:
        return f"the file has {status.st_size:,} bytes, the limit is {MAX_FILE_BYTES:,}; make it smaller"
    return None


def _unreadable(error: OSError | ValueError) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"the file can't be read ({reason}); check its path and permissions"


def file_hash(data: bytes) -> str:
    """SHA-256 of encoded bytes as 64 hexadecimal digits: the content hash that an index keeps."""
    return hashlib.sha256(data).hexdigest()
