"""Filters of a search turned into masks of rows, the last few of them kept; it knows no vectors."""

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

_KEPT = 4
_ITEMS_FOR_HINTS = 10_000
_KINDS = {"image": "picture", "text": "text"}
_HOW_TO_ADD = {
    "image": "add pictures with hivlp index (Index.add)",
    "text": "add texts with hivlp index --texts, or captions with --captions (Index.add_texts)",
}


@dataclass(frozen=True)
class _Kept:
    version: tuple[int, int]
    whole: RowMask
    narrowed: RowMask


class Filters:
    """Narrows the mask of a moment. Paging through the answers of one filter asks the items once."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str | None, str | None], _Kept] = {}
        self._lock = threading.Lock()

    def narrowed(
        self, mask: RowMask, items: ItemTable, *, where: str | None = None, kind: str | None = None
    ) -> RowMask:
        """The mask, where only rows that meet the filter and are of the kind may be returned.

        Raises:
            QueryError: ``where`` is no filter, or asks for a metadata key that no item has.
        """
        if where is None and kind is None:
            return mask
        version = items.version()  # before the rows are read: a change meanwhile makes the entry stale
        with self._lock:
            kept = self._kept.pop((where, kind), None)
        if kept is None or kept.version != version or kept.whole is not mask:
            kept = _Kept(version, mask, mask.only(_rows(items, where, kind)))
        with self._lock:
            self._kept[where, kind] = kept  # the one used last stands last
            while len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return kept.narrowed


def note(
    whole: RowMask, mask: RowMask, k: int, *, where: str | None = None, kind: str | None = None
) -> tuple[str, ...]:
    """What is to be said of an empty index, and where a filter or a kind leaves fewer items than asked for.

    Args:
        whole: the rows of the index.
        mask: those of them that the search allows.
    """
    if whole.live == 0:
        return (f"the index is empty; {_HOW_TO_ADD['image']}",)
    if not mask.filtered or mask.live >= k:
        return ()
    if where is None and kind is not None:
        if mask.live == 0:
            return (f"the index holds no {_KINDS[kind]}s; {_HOW_TO_ADD[kind]}",)
        return (f"the index holds {counted(mask.live, _KINDS[kind])}; there is no more to find",)
    if mask.live == 0:
        return ("the filter leaves no item; check its values, or search without it",)
    return (f"the filter leaves {counted(mask.live, 'item')}; there is no more to find",)


def _rows(items: ItemTable, where: str | None, kind: str | None) -> IntArray:
    if where is None:
        return items.rows_where(None, kind=kind)
    condition = filters.parse(where)
    for key in condition.keys:
        if not items.has_key(key.path):
            examples = items.sample_meta(_ITEMS_FOR_HINTS)
            if examples:  # in an empty index every key is unknown, and no answer is the right one
                raise condition.unknown(key, {name for meta in examples for name in _names(meta)})
    return items.rows_where(condition, kind=kind)


def _names(meta: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    """The keys of some metadata as a filter writes them, those of inner objects behind a dot."""
    for key, value in meta.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _names(value, f"{prefix}{key}.")
