"""Compares a batch of items with an index: which are new, replaced, described anew or unchanged.

It reads no files and no vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hivlp.errors import IndexFolderError
from hivlp.index.items import ItemTable, record
from hivlp.types import Item


@dataclass(frozen=True, kw_only=True)
class AppendReport:
    """The result of one ``append``; every item counts in exactly one of the four numbers.

    Attributes:
        added: items whose id was new.
        replaced: items whose id was known with other content (or with none recorded): the old row is deleted.
        described: items with known id and content whose caption, uri or metadata changed; vectors stay.
        unchanged: items that the index holds in exactly this form.
    """

    added: int = 0
    replaced: int = 0
    described: int = 0
    unchanged: int = 0


@dataclass(frozen=True, kw_only=True)
class BatchChanges:
    """The changes of a batch: positions of its new rows, rows to retire, rows to describe anew."""

    positions: list[int]
    retired: list[int]
    described: list[tuple[int, Item]]
    report: AppendReport


def sort_batch(items: Sequence[Item], table: ItemTable) -> BatchChanges:
    """Compares the items with those of the same id in the table."""
    row_of = table.rows_of(item.id for item in items)
    stored = dict(zip(row_of, table.fetch(list(row_of.values())), strict=True))
    positions: list[int] = []
    retired: list[int] = []
    described: list[tuple[int, Item]] = []
    for position, item in enumerate(items):
        old = stored.get(item.id)
        if old is None:
            positions.append(position)
        elif item.sha256 is None or item.sha256 != old.sha256:
            positions.append(position)
            retired.append(row_of[item.id])
        elif record(item) != record(old):
            described.append((row_of[item.id], item))
    added, replaced = len(positions) - len(retired), len(retired)
    unchanged = len(items) - len(positions) - len(described)
    report = AppendReport(added=added, replaced=replaced, described=len(described), unchanged=unchanged)
    return BatchChanges(positions=positions, retired=retired, described=described, report=report)


def check_items(items: Sequence[Item]) -> None:
    """Refuses empty and repeated ids and items that have no valid record, naming the item."""
    seen: set[str] = set()
    for item in items:
        if not item.id or item.id in seen:
            raise IndexFolderError(
                f"the id {item.id!r} ({item.uri}) is {'twice in one batch' if item.id else 'empty'}; every "
                "item needs an id of its own. Give the items different ids."
            )
        seen.add(item.id)
        try:
            "".join(map(str, record(item))).encode()
        except (UnicodeEncodeError, TypeError, ValueError) as error:
            raise IndexFolderError(
                f"the item {item.id!r} can't be stored: {error}. Its texts must be valid Unicode and its "
                "metadata JSON-compatible."
            ) from error
