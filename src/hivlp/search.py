"""The cascade: coarse candidates, fine re-scoring, optional re-ranking; it knows neither files nor models.

Everything that searches calls ``run``: the command line, the server, evaluation, benchmarks. With all items as
candidates the answer is exact by construction. Scores are cosines computed in float32; equal scores are ordered
by the lower row.

Q queries, D width of a level, N rows of the index, K kept candidates.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hivlp.errors import QueryError
from hivlp.index.coarse import KINDS, CoarseIndex, RowMask
from hivlp.types import Embeddings, FloatArray, IntArray, Timings

Rerank: TypeAlias = Callable[[int, IntArray], FloatArray]
"""Scores the rows of one query jointly: ``rerank(position of the query, rows_K) -> scores_K``, higher is better."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The recipe of one search. JSON-able by ``as_dict`` and ``from_dict``.

    Attributes:
        name: what people call it.
        coarse: kind of the coarse index, a key of ``index.coarse.KINDS``.
        coarse_width: width of the level that the coarse index reads; None for the narrowest.
        candidates: how many rows the coarse index hands to the fine stage, at least 1; ``"all"`` scores every
            row at the fine level and so equals brute force.
        rerank: how many of the best fine rows go to the re-ranking function; 0 for none.
    """

    name: str = "cascade"
    coarse: str = "exact"
    coarse_width: int | None = None
    candidates: int | Literal["all"] = 200
    rerank: int = 0
