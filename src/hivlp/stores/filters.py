"""Turns the filter of a search into a mask of rows and caches the last few; it knows no vectors."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hivlp.index import where as filters
from hivlp.index.items import ItemTable
from hivlp.index.mask import RowMask
from hivlp.messages import counted
from hivlp.types import IntArray

_CACHED = 4
_ITEMS_FOR_HINTS = 10_000
_HOW_TO_ADD = {
    "image": "add images with hivlp index (Index.add)",
    "text": "add texts with hivlp index --texts, or captions with --captions (Index.add_texts)",
}


@dataclass(frozen=True)
class _CachedMask:
    version: tuple[int, int]
    whole: RowMask
    narrowed: RowMask


class Filters:
    """Narrows a mask. Paging through the answers of one filter reads the items once."""

    def __init__(self) -> None:
        self._cache: dict[tuple[str | None, str | None], _CachedMask] = {}
        self._lock = threading.Lock()

    def narrowed(
        self, mask: RowMask, items: ItemTable, *, where: str | None = None, kind: str | None = None
    ) -> RowMask:
        """The mask with only those rows that pass the filter and are of the kind.

        Raises:
            FilterError: ``where`` can't be parsed, or names a metadata key that no item has.
        """
        if where is None and kind is None:
            return mask
        version = items.version()  # before the rows are read: a change meanwhile makes the entry stale
        with self._lock:
            cached = self._cache.pop((where, kind), None)
        if cached is None or cached.version != version or cached.whole is not mask:
            cached = _CachedMask(version, mask, mask.only(_rows(items, where, kind)))
        with self._lock:
            self._cache[where, kind] = cached  # the one used last stands last
            while len(self._cache) > _CACHED:
                del self._cache[next(iter(self._cache))]
        return cached.narrowed


def note(
    whole: RowMask, mask: RowMask, k: int, *, where: str | None = None, kind: str | None = None
) -> tuple[str, ...]:
    """The note for an empty index, and where a filter or a kind leaves fewer than k items.

    Args:
        whole: the rows of the index.
        mask: those of them that the search allows.
    """
    if whole.live == 0:
        return (f"the index is empty; {_HOW_TO_ADD['image']}",)
    if (where is None and kind is None) or mask.live >= k:
        return ()
    if where is None and kind is not None:
        if mask.live == 0:
            return (f"the index has no {kind}s; {_HOW_TO_ADD[kind]}",)
        return (f"the index has only {counted(mask.live, kind)} to find",)
    if mask.live == 0:
        return ("no item passes the filter; check its values, or search without it",)
    return (f"only {counted(mask.live, 'item')} passed the filter",)


def _rows(items: ItemTable, where: str | None, kind: str | None) -> IntArray:
    if where is None:
        return items.rows_where(None, kind=kind)
    condition = filters.parse(where)
    for key in condition.keys:
        if not items.has_key(key.path):
            examples = items.sample_meta(_ITEMS_FOR_HINTS)
            if examples:  # in an empty index every key is unknown, and an empty answer is right
                raise condition.unknown(key, {name for meta in examples for name in _names(meta)})
    return items.rows_where(condition, kind=kind)


def _names(meta: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    """The keys of some metadata as a filter writes them; keys of nested objects follow a dot."""
    for key, value in meta.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _names(value, f"{prefix}{key}.")
