"""Groups of images that are one file or nearly one picture, from stored vectors; it loads no model.

N images of the index, Q of a block, K neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np

from hivlp.errors import QueryError
from hivlp.search import cascade
from hivlp.search.grouping import least_cosine
from hivlp.search.plan import default_plan
from hivlp.stores.local import LocalStore, LocalView
from hivlp.types import IntArray, Item, Progress

KindOfGroup: TypeAlias = Literal["same file", "burst", "near-equal"]

_BLOCK = 256
_NEIGHBOURS = 50
_BURST_S = 10  # seconds between two frames of a burst


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """An image that is near-equal to the one to keep.

    Attributes:
        cosine: of both at the finest level.
    """

    item: Item
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGroup:
    """Images that show the same.

    Attributes:
        kind: ``same file`` where all have the same bytes; ``burst`` where each was taken within ten seconds
            of the one before; ``near-equal`` for the others, such as resized or edited copies.
        keep: the one with the most pixels; of equal ones the one with the shortest id, since copies have
            longer names, and then the one that was added first.
        others: those that could go, the most alike first.
    """

    kind: KindOfGroup
    keep: Item
    others: tuple[Near, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-compatible."""
        others = [{**_named(near.item), "cosine": round(near.cosine, 4)} for near in self.others]
        return {"kind": self.kind, "keep": _named(self.keep), "others": others}


def duplicates(
    store: LocalStore, *, at_least: float | None = None, progress: Progress | None = None
) -> list[DuplicateGroup]:
    """Groups of duplicate images, the largest first.

    Each image is searched in the index by its stored vectors. Beginning with the image of the most pixels,
    an image takes all that are near-equal to it and belong to no group yet.

    Args:
        store: the index.
        at_least: the cosine from which on images count as near-equal, in (0, 1]; None for that by which a
            search groups them (see `search.grouping`).
        progress: see `types.Progress`; it counts images.

    Raises:
        QueryError: `at_least` is out of range.

    Example:
        >>> with LocalStore.open("photos.hivlp") as store:  # doctest: +SKIP
        ...     spare = [near.item.uri for group in duplicates(store) for near in group.others]
    """
    if at_least is not None and not 0 < at_least <= 1:
        raise QueryError(f"at_least={at_least} is invalid: must be above 0 and at most 1")
    least = least_cosine(store.model_name) if at_least is None else at_least
    view = store.view(kind="image")
    rows_N = view.mask.live_rows()
    near: dict[int, dict[int, float]] = {}
    for start in range(0, len(rows_N), _BLOCK):
        near |= _neighbours(view, rows_N[start : start + _BLOCK], least)
        if progress is not None:
            progress("", min(start + _BLOCK, len(rows_N)), len(rows_N))
    for row, others in list(near.items()):  # near in one direction is near in both
        for other, cosine in others.items():
            near.setdefault(other, {}).setdefault(row, cosine)
    order = sorted(near)
    items = dict(zip(order, store.items_of(order), strict=True))
    groups = [_group(items[row], others, items) for row, others in _taken(near, items)]
    return sorted(groups, key=lambda group: (-len(group.others), group.keep.id))


def _neighbours(view: LocalView, rows_Q: IntArray, least: float) -> dict[int, dict[int, float]]:
    """For each row that has any, the other rows that are near-equal to it, with their cosines."""
    queries = view.embeddings(rows_Q)
    found: dict[int, dict[int, float]] = {}
    left, count = np.arange(len(rows_Q)), _NEIGHBOURS
    while left.size:
        count = min(count, view.mask.live)
        plan = default_plan(view.mask.live, view.widths, count)
        results = cascade.run(plan, queries.take(left), view, count)
        for place, result in zip(left.tolist(), results, strict=True):
            row = int(rows_Q[place])
            pairs = zip(result.rows.tolist(), result.scores.tolist(), strict=True)
            others = {other: score for other, score in pairs if score >= least and other != row}
            if others:
                found[row] = others
        full = [place for place in left.tolist() if len(found.get(int(rows_Q[place]), ())) >= count - 1]
        left = np.array(full if count < view.mask.live else [], np.int64)
        count *= 4
    return found


def _taken(
    near: dict[int, dict[int, float]], items: dict[int, Item]
) -> Iterator[tuple[int, dict[int, float]]]:
    """Each image to keep with those that it takes."""
    free = set(near)
    for row in sorted(near, key=lambda row: (-_pixels(items[row]), len(items[row].id), row)):
        if row in free:
            free.discard(row)
            others = {other: cosine for other, cosine in near[row].items() if other in free}
            free -= others.keys()
            if others:
                yield row, others


def _group(keep: Item, others: dict[int, float], items: dict[int, Item]) -> DuplicateGroup:
    order = sorted(others, key=lambda row: (-others[row], row))
    nears = tuple(Near(item=items[row], cosine=min(1.0, others[row])) for row in order)
    return DuplicateGroup(kind=_kind([keep, *(near.item for near in nears)]), keep=keep, others=nears)


def _kind(items: Sequence[Item]) -> KindOfGroup:
    if items[0].sha256 is not None and len({item.sha256 for item in items}) == 1:
        return "same file"
    try:
        moments = sorted(datetime.fromisoformat(str(item.meta["taken_at"])).timestamp() for item in items)
    except (KeyError, ValueError, OverflowError):
        return "near-equal"
    is_burst = all(after - before <= _BURST_S for before, after in pairwise(moments))
    # days without a time, as some names of files have, say nothing of seconds
    has_times = all(len(str(item.meta["taken_at"])) > len("2021-06-15") for item in items)
    return "burst" if is_burst and has_times else "near-equal"


def _pixels(item: Item) -> int:
    return (item.width or 0) * (item.height or 0)


def _named(item: Item) -> dict[str, Any]:
    return {"id": item.id, "uri": item.uri, "width": item.width, "height": item.height}
