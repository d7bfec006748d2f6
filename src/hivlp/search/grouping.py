"""Near-equal images among the hits of a search, such as a burst, as one hit; pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hivlp.types import FloatArray, Hit

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
    made = list[list[int]]()
    firsts_GD = np.empty_like(vectors_ND)
    for row, vector_D in enumerate(vectors_ND):
        near = np.flatnonzero(firsts_GD[: len(made)] @ vector_D >= least)
        if near.size:
            made[int(near[0])].append(row)
        else:
            firsts_GD[len(made)] = vector_D
            made.append([row])
    return made


def grouped(hits: Sequence[Hit], vectors_ND: FloatArray, least: float) -> tuple[Hit, ...]:
    """The first hit of each group with the ids of the others, ranked anew; texts stay by themselves.

    Args:
        hits: best first.
        vectors_ND: their unit vectors at the finest level, one a hit.
        least: as for `groups`.
    """
    images = [row for row, hit in enumerate(hits) if hit.kind == "image"]
    texts = [row for row, hit in enumerate(hits) if hit.kind != "image"]
    similar: dict[int, tuple[str, ...]] = dict.fromkeys(texts, ())
    for first, *others in groups(vectors_ND[images], least):
        similar[images[first]] = tuple(hits[images[row]].id for row in others)
    return tuple(
        replace(hits[row], rank=rank, similar=similar[row])
        for rank, row in enumerate(sorted(similar), start=1)
    )
