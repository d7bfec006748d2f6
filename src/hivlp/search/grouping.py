"""Near-equal images among the hits of a search, such as a burst, as one hit; it knows rows, not items.

N rows, D width of the finest level.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hivlp.search.cascade import RawResult
from hivlp.types import FloatArray, IntArray

BURST = 50
"""Rows beyond those that are wanted which are looked at for groups at first."""
_MOST = 2_000  # in the end, however many of them are near-equal
# Cosine of two images at the finest level from which on they count as near-equal. Measured with `mini`:
# frames of a burst and crops by a fiftieth have more, different photographs of Flickr8k less than 0.87, and
# one product image in a hundred has another product above it (docs/search.md). CLIP and others were not
# measured and give unlike images higher cosines.
_OF_MINI, _OF_OTHERS = 0.92, 0.97


def least_cosine(model: str) -> float:
    """The cosine from which on two images count as near-equal, for the model of an index."""
    return _OF_MINI if model == "mini" else _OF_OTHERS


def groups(vectors_ND: FloatArray, least: float) -> list[list[int]]:
    """Rows in groups: each row joins the first group whose first row is at least this similar.

    Args:
        vectors_ND: unit vectors, best hit first.
        least: a cosine in (0, 1].

    Returns:
        The row numbers of each group, in their order; groups in the order of their first rows.

    Example:
        >>> groups(np.array([[1, 0], [0, 1], [1, 0]], np.float32), 0.9)
        [[0, 2], [1]]
    """
    near_NN = np.tril(vectors_ND @ vectors_ND.T >= least, -1)  # of each row to those before it
    is_single_N = ~near_NN.any(axis=1)
    made: dict[int, list[int]] = {row: [row] for row in np.flatnonzero(is_single_N).tolist()}
    for row in np.flatnonzero(~is_single_N).tolist():
        first = next((first for first in np.flatnonzero(near_NN[row]).tolist() if first in made), row)
        made.setdefault(first, []).append(row)
    return [made[first] for first in sorted(made)]


def run(
    find: Callable[[Sequence[int], int], list[RawResult]],
    queries: int,
    k: int,
    *,
    depth: int,
    most: int,
    least: float,
    vectors: Callable[[IntArray], FloatArray],
    are_images: Callable[[IntArray], NDArray[np.bool_]],
) -> list[RawResult]:
    """The best k groups of each query; a group is its best row, with the others in ``similar``.

    All queries are searched at once. Those that lack groups are searched again, four times as deep.

    Args:
        find: searches for some of the queries, to a depth.
        queries: how many there are.
        k: number of groups.
        depth: number of rows to look at first.
        most: number of rows that there are to look at.
        least: as for `groups`.
        vectors: unit vectors of some rows at the finest level.
        are_images: which of some rows are images. Texts stay by themselves.
    """
    most = min(most, max(depth, _MOST))
    results: dict[int, RawResult] = {}
    left: Sequence[int] = range(queries)
    while left:
        depth = max(1, min(depth, most))
        for query, result in zip(left, find(left, depth), strict=True):
            begin = time.perf_counter()
            made = _groups_of_images(result.rows, vectors(result.rows), least, are_images)[:k]
            results[query] = _grouped(result, made, 1e3 * (time.perf_counter() - begin))
        left = [query for query in left if len(results[query].rows) < k and depth < most]
        depth *= 4
    return [results[query] for query in range(queries)]


def _groups_of_images(
    rows_N: IntArray,
    vectors_ND: FloatArray,
    least: float,
    are_images: Callable[[IntArray], NDArray[np.bool_]],
) -> list[list[int]]:
    """`groups`, with each text in a group of its own. Only rows with a near-equal one are asked for."""
    made = groups(vectors_ND, least)
    near = np.array([place for group in made if len(group) > 1 for place in group], np.int64)
    if not near.size:
        return made
    texts = near[~are_images(rows_N[near])]
    if not texts.size:
        return made
    images = np.setdiff1d(np.arange(len(rows_N)), texts)
    made = [[int(images[place]) for place in group] for group in groups(vectors_ND[images], least)]
    return sorted([*made, *([int(place)] for place in texts)])


def _grouped(result: RawResult, made: Sequence[Sequence[int]], ms: float) -> RawResult:
    """The first rows of the groups, with the time that grouping took."""
    first = np.array([group[0] for group in made], np.int64)
    scores, spent = result.rerank_scores, result.timings_ms
    return replace(
        result,
        rows=result.rows[first],
        scores=result.scores[first],
        coarse_scores=result.coarse_scores[first],
        coarse_ranks=result.coarse_ranks[first],
        rerank_scores=None if scores is None else scores[first],
        timings_ms=replace(spent, fine=spent.fine + ms),
        similar=tuple(result.rows[np.array(group[1:], np.int64)] for group in made),
    )
