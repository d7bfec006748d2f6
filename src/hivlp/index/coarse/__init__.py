"""Structures that name the likely rows of a query from one level; they know no fine level and no items."""

from __future__ import annotations

from hivlp.index.coarse.base import CoarseIndex, Effort, best_first
from hivlp.index.coarse.faiss_index import principal_directions
from hivlp.index.coarse.kinds import KINDS
from hivlp.index.coarse.shelf import CoarseShelf
from hivlp.index.coarse.spec import CODES, LINKS, CoarseSpec, check_kind

__all__ = [
    "CODES",
    "KINDS",
    "LINKS",
    "CoarseIndex",
    "CoarseShelf",
    "CoarseSpec",
    "Effort",
    "best_first",
    "check_kind",
    "make",
    "principal_directions",
]


def make(spec: CoarseSpec) -> CoarseIndex:
    """An empty coarse index."""
    return KINDS[spec.kind](spec)
