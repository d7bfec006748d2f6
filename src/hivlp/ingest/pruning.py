"""Takes pictures out of an index whose files are gone; it adds nothing and encodes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hivlp.messages import counted

if TYPE_CHECKING:
    from hivlp.stores.local import LocalStore
    from hivlp.types import Item

_BLOCK = 10_000


@dataclass(frozen=True)
class Pruned:
    """What `prune` did.

    Attributes:
        ids: of the pictures that were removed, and behind them of their captions.
        notes: missing files whose items stay.
    """

    ids: list[str]
    notes: list[str]


def prune(store: LocalStore, folder: Path) -> Pruned:
    """Removes the pictures whose files were below a folder and are gone, with the captions kept beside them.

    Only items of files that are surely gone are removed: the nearest existing folder above the file must hold
    something. A disk that is not mounted leaves an empty folder or a broken link. What lies in an archive is
    there as long as the archive is.

    Args:
        store: open for writing.
        folder: absolute, as it was when it was indexed: uris are compared as texts.
    """
    below = os.path.join(folder, "")  # noqa: PTH118  a path can't end in a separator
    gone: dict[str, None] = {}
    unsure = 0
    for item in _items(store, "image"):
        if item.uri.startswith(below) and not _is_there(item.uri):
            if _is_surely_gone(Path(item.uri)):
                gone[item.id] = None
            else:
                unsure += 1
    ids = list(gone)
    if gone:
        ids += [item.id for item in _items(store, "text") if _picture_of(item) in gone]
        store.delete(ids)
    note = (
        f"{counted(unsure, 'missing picture')} below {folder} kept, since the folder above is empty or can't "
        "be read, as that of a disk that is not mounted; remove the empty folder, or mount the disk"
    )
    return Pruned(ids, [note] if unsure else [])


def _items(store: LocalStore, kind: str) -> Iterator[Item]:
    rows = store.rows_where(None, kind=kind).tolist()
    for start in range(0, len(rows), _BLOCK):
        yield from store.items_of(rows[start : start + _BLOCK])


def _picture_of(caption: Item) -> str | None:
    """The id of the picture that a text was kept beside, as ``--captions`` names it; None for other texts."""
    name = caption.id.rpartition("#")[0]
    return name if caption.meta.get("of") == name else None


def _is_there(uri: str) -> bool:
    """Whether a file exists, or the archive before ``#`` that it is a member of; or nobody may look."""
    archives = (Path(uri[:end]) for end, letter in enumerate(uri) if letter == "#")
    try:
        return _exists(Path(uri)) or any(archive.is_file() for archive in archives)
    except OSError:
        return True


def _is_surely_gone(path: Path) -> bool:
    try:
        nearest = next(folder for folder in path.parents if _exists(folder))
        with os.scandir(nearest) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _exists(path: Path) -> bool:
    """Like ``Path.exists``, but a broken link exists, and a folder that may not be looked into raises."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
