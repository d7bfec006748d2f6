"""Files and folders that are complete or absent after a crash; this module knows no format."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """Gives a draft beside `path` that replaces it when the block ends; after an error the draft is removed.

    After a crash either the old or the new content is there: the draft is on the disk before it is renamed.

    Example:
        with replacing(folder / "config.json") as draft:
            draft.write_text("{}")
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def new_folder(path: Path) -> Generator[Path, None, None]:
    """Gives the path of a draft, not made yet, that becomes the folder `path` when the block ends.

    The block makes the draft, writes it and syncs its files. `path` must be free or an empty folder. After an
    error the draft is removed, and nothing is at `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        yield draft
        sync_folder(draft)
        if path.exists():
            path.rmdir()
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sync_folder(path.parent)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a whole file; after a crash either the old or the new content is there."""
    with replacing(path) as draft:
        draft.write_bytes(content)


def sync_folder(path: Path) -> None:
    """Waits until the names in a folder are on the disk. Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
