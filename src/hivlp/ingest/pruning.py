"""Takes pictures out of an index whose files are gone; it adds nothing and encodes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hivlp.data.originals import exists, is_there
from hivlp.ingest.identity import is_named_by_place
from hivlp.messages import counted
from hivlp.types import Item

if TYPE_CHECKING:
    from hivlp.stores.base import Store
    from hivlp.stores.local import LocalStore

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
    """Removes the pictures below a folder whose files are gone, with the captions kept beside them.

    Only items of files that are surely gone are removed: the nearest existing folder above the file must hold
    something. A disk that is not mounted leaves an empty folder or a broken link. What lies in an archive is
    there as long as the archive is. Of several items of one file, which earlier versions made where a folder
    and one inside it were indexed, one stays: one with a caption or metadata, else that with the path below
    the folder as its id, else the first.

    Args:
        store: open for writing.
        folder: absolute; links in it are followed.
    """
    gone: dict[str, None] = {}
    unsure = 0
    for item in _below(store, folder):
        if is_there(item.uri):
            continue
        if _is_surely_gone(Path(item.uri)):
            gone[item.id] = None
        else:
            unsure += 1
    gone |= dict.fromkeys(_twins(store, folder))
    ids = list(gone)
    if gone:
        ids += [item.id for item in _texts(store) if _picture_of(item) in gone]
        store.delete(ids)
    note = (
        f"{counted(unsure, 'missing picture')} below {folder} kept, since the folder above is empty or can't "
        "be read, as that of a disk that is not mounted; remove the empty folder, or mount the disk"
    )
    return Pruned(ids, [note] if unsure else [])


def count_gone(store: Store, folder: Path) -> int:
    """How many indexed pictures below a folder have lost their files."""
    return sum(not is_there(item.uri) for item in _below(store, folder))


def _below(store: Store, folder: Path) -> Iterator[Item]:
    """The pictures whose uris begin with a folder, as it is named or as it is without links."""
    for place in _spellings(folder):
        yield from store.items_below(place, kind="image")


def _spellings(folder: Path) -> list[str]:
    return list(dict.fromkeys((str(folder), os.path.realpath(folder))))


def _twins(store: LocalStore, folder: Path) -> Iterator[str]:
    """The ids of items below a folder whose file has an item that stays."""
    spellings = [os.path.join(place, "") for place in _spellings(folder)]  # noqa: PTH118
    by_place = dict[str, list[Item]]()
    for item in store.doubled_items(kind="image"):
        if item.uri.startswith(tuple(spellings)) and is_named_by_place(item) and is_there(item.uri):
            by_place.setdefault(os.path.realpath(item.uri), []).append(item)
    for items in by_place.values():
        stays = min(
            items,
            key=lambda item: (
                not (item.caption or item.meta),
                all(item.uri != place + item.id for place in spellings),
            ),
        )
        yield from (item.id for item in items if item is not stays)


def _texts(store: LocalStore) -> Iterator[Item]:
    rows = store.rows_where(None, kind="text").tolist()
    for start in range(0, len(rows), _BLOCK):
        yield from store.items_of(rows[start : start + _BLOCK])


def _picture_of(caption: Item) -> str | None:
    """The id of the picture that a text was kept beside, as ``--captions`` names it; None for other texts."""
    name = caption.id.rpartition("#")[0]
    return name if caption.meta.get("of") == name else None


def _is_surely_gone(path: Path) -> bool:
    try:
        nearest = next(folder for folder in path.parents if exists(folder))
        with os.scandir(nearest) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
