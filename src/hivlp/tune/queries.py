"""Queries to tune with: one's own, captions of the pictures in the index, or points between its items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hivlp.encode import Encoder
from hivlp.errors import QueryError
from hivlp.index.where import parse
from hivlp.search import cascade as search
from hivlp.search.plan import default_plan
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, FloatArray, IntArray, Item

LEAST = 50
"""Fewer queries say too little about a recall."""
_TEXT_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class TuningQueries:
    """Queries to measure with.

    Attributes:
        embeddings: of Q queries, at every level of the index.
        described: what they are: ``captions``, ``queries`` or ``points between items``.
        own_ids: for each query the id of the item that it was written for, where that is known.
    """

    embeddings: Embeddings
    described: str
    own_ids: Sequence[str] | None = None


def tuning_queries(
    store: LocalStore, encoder: Encoder, texts: Sequence[str] | None, count: int, seed: int
) -> TuningQueries:
    """The best queries that there are: the given texts, else captions, else points between items.

    Args:
        store: the index.
        encoder: the model that made it.
        texts: queries as people write them; None where the queries are vectors.
        count: how many captions or points to take at most.
        seed: of their choice.
    """
    if texts is not None:
        require_enough(len(texts))  # before anything is encoded
        return TuningQueries(embeddings=encoded(encoder, texts), described="queries")
    captioned = store.rows_where(parse("caption is not null"), kind="image")
    if len(captioned) < LEAST:
        return points_between(store, count, seed=seed)
    rng = np.random.default_rng(seed)
    rows = rng.choice(captioned, min(count, len(captioned)), replace=False)
    items = store.items_of(rows.tolist())
    captions = [str(rng.choice(captions_of(item))) for item in items]
    return TuningQueries(
        embeddings=encoded(encoder, captions), described="captions", own_ids=[item.id for item in items]
    )


def require_enough(count: int) -> None:
    """Refuses fewer queries than can promise anything."""
    if count < LEAST:
        raise QueryError(
            f"{count} queries are too few to estimate a recall; give at least {LEAST}, better 1,000."
        )


def captions_of(item: Item) -> list[str]:
    """All captions of an item; the others than the first stand in its metadata."""
    listed = item.meta.get("captions")
    captions = [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []
    return captions or [item.caption or item.id]


def encoded(encoder: Encoder, texts: Sequence[str]) -> Embeddings:
    """Embeddings of any number of texts."""
    starts = range(0, len(texts), _TEXT_BATCH)
    return Embeddings.concatenate([encoder.encode_texts(texts[s : s + _TEXT_BATCH]) for s in starts])


def points_between(store: LocalStore, count: int, *, seed: int = 0) -> TuningQueries:
    """Queries for an index without captions: points between an item and one of its near neighbours.

    They lie where items lie, without being any of them. Real queries may be harder: texts do not lie among
    pictures. So the promise is worth less than with captions, and ``queries`` of the result says so.
    """
    view = store.view()
    rng = np.random.default_rng(seed)
    live_N = view.mask.live_rows()
    rows = np.sort(rng.choice(live_N, min(count, len(live_N)), replace=False))
    items = view.embeddings(rows)
    near = search.run(default_plan(len(live_N), view.widths), items, view, 10)
    other = np.array(
        [_other(row, result.rows, rng) for row, result in zip(rows, near, strict=True)], np.int64
    )
    share_Q1 = rng.uniform(0.3, 0.7, (len(rows), 1)).astype(np.float32)
    others = view.embeddings(other)
    mixed: dict[int, FloatArray] = {
        w: np.asarray(items[w] + share_Q1 * (others[w] - items[w]), np.float32) for w in items.widths
    }
    return TuningQueries(embeddings=Embeddings.normalised(mixed), described="points between items")


def _other(row: int, near: IntArray, rng: np.random.Generator) -> int:
    """One of the near rows; the row itself only if it is the only row."""
    others = near[near != row]
    return int(rng.choice(others)) if len(others) else row
