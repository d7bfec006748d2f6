"""More items than there are real ones: real rows plus noise, with the shape and the density of real ones.

item = normalise(real row + scale · spread of that row · noise)

- the noise is Gaussian with the covariance of the differences between real items and their nearest ones,
  scaled to length 1;
- the spread of a row is its distance to its fifth nearest real row, so dense places stay dense;
- the scale makes the typical distance to the nearest item (a geometric mean) what the real data's own curve
  says for this many items. The curve is the typical distance within random subsets of the real rows, of an
  eighth up to all: a straight line in logarithms, continued to the wanted size.

Equal items are fitted to once: they say nothing of how near to each other different ones are. It sees items
only, never a query. R real rows, D width, N items, B rows of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hivlp.encode.heads import unit
from hivlp.errors import DataError
from hivlp.types import FloatArray, IntArray

VERSION = 2  # part of the key of stored data; a change of what comes out needs another
_NEIGHBOUR = 5
_PROBES = 2_000
_TINY = 1e-3  # equal pictures have distance 0, which has no logarithm
_BLOCK_ROWS = 16_384
_NEARBY, _MOST_SIMULATED = 20, 200_000
_ROUGH = 0.02  # below it a distance from a cosine in float32 is mostly rounding
_FEWEST = 8


@dataclass(frozen=True)
class Generator:
    """What was fitted. ``rows`` draws from it.

    Attributes:
        real_RD: the real rows, of length 1.
        spread_R: distance of each to its fifth nearest.
        root_DD: a standard normal row times this is noise of mean squared length 1.
        scale: factor of all spreads.
        slope: of the logarithm of the nearest distance by the logarithm of the number of items; negative.
        typical: the distance to the nearest item that the curve says for the wanted size.
    """

    real_RD: FloatArray
    spread_R: FloatArray
    root_DD: FloatArray
    scale: float
    slope: float
    typical: float

    def rows(self, count: int, *, seed: int) -> Iterator[FloatArray]:
        """Blocks of generated rows; the same seed gives the same rows."""
        for block, start in enumerate(range(0, count, _BLOCK_ROWS)):
            rng = np.random.default_rng([seed, block])
            bases_B = rng.integers(0, len(self.real_RD), min(_BLOCK_ROWS, count - start))
            yield self._around(bases_B, self.scale, rng)

    def _around(self, bases_B: IntArray, scale: float, rng: np.random.Generator) -> FloatArray:
        noise_BD = rng.standard_normal((len(bases_B), len(self.root_DD)), dtype=np.float32) @ self.root_DD
        return unit(self.real_RD[bases_B] + np.float32(scale) * self.spread_R[bases_B, None] * noise_BD)


def fit(real_RD: FloatArray, count: int, *, seed: int = 0) -> Generator:
    """A generator for an index of ``count`` items, of which the first are the real rows themselves.

    Raises:
        DataError: fewer than eight rows differ from each other.
    """
    rng = np.random.default_rng(seed)
    around = 1 + max(_NEIGHBOUR, _NEARBY)
    near_RK, rows_RK = neighbours(real_RD, real_RD, around)
    while not (first_R := _first_of_equals(near_RK, rows_RK)).all():  # once, if no row has twenty equals
        real_RD = real_RD[first_R]
        near_RK, rows_RK = neighbours(real_RD, real_RD, around)
    if len(real_RD) < _FEWEST:
        raise DataError(
            f"{len(real_RD)} different items are too few to generate more from; must be at least {_FEWEST}. "
            "Name more sources with --data."
        )
    spread_R = np.maximum(near_RK[:, min(_NEIGHBOUR, near_RK.shape[1] - 1)], _TINY)
    slope = _slope(real_RD, rng)
    typical = _geometric_mean(near_RK[:, 1]) * (count / len(real_RD)) ** slope
    draft = Generator(real_RD, spread_R, _root(real_RD, near_RK, rows_RK), 0.0, slope, typical)
    scale = _scale(draft, rows_RK, count, rng)
    return Generator(real_RD, spread_R, draft.root_DD, scale, slope, typical)


def neighbours(items_ND: FloatArray, queries_QD: FloatArray, count: int) -> tuple[FloatArray, IntArray]:
    """Distances and rows of the nearest items of each query, exact; for unit vectors."""
    import faiss

    index: Any = faiss.IndexFlatIP(items_ND.shape[1])
    index.add(np.ascontiguousarray(items_ND, np.float32))
    cosines_QK, rows_QK = index.search(np.ascontiguousarray(queries_QD), min(count, len(items_ND)))
    distances_QK = np.sqrt(np.maximum(2 - 2 * cosines_QK, 0))
    queries, places = np.nonzero(distances_QK < _ROUGH)
    for start in range(0, len(queries), _BLOCK_ROWS):
        some_B = slice(start, start + _BLOCK_ROWS)
        rows_B = rows_QK[queries[some_B], places[some_B]]
        apart_B = np.linalg.norm(items_ND[rows_B] - queries_QD[queries[some_B]], axis=1)
        distances_QK[queries[some_B], places[some_B]] = apart_B
    return distances_QK, rows_QK


def _first_of_equals(near_RK: FloatArray, rows_RK: IntArray) -> NDArray[np.bool_]:
    """Whether no earlier row among the nearest equals a row, up to rounding."""
    earlier_RK = rows_RK < np.arange(len(rows_RK))[:, None]
    return np.logical_not(((near_RK <= _TINY) & earlier_RK).any(axis=1))


def _root(real_RD: FloatArray, near_RK: FloatArray, rows_RK: IntArray) -> FloatArray:
    """The noise: differences between rows and the nearest ones that are not equal to them."""
    apart_RK = near_RK > _TINY
    apart_R, place_R = apart_RK.any(axis=1), apart_RK.argmax(axis=1)
    nearest_R = rows_RK[np.arange(len(rows_RK)), place_R]
    differences_RD = unit(real_RD[apart_R] - real_RD[nearest_R[apart_R]])
    values_D, vectors_DD = np.linalg.eigh(differences_RD.T @ differences_RD / len(differences_RD))
    root_DD = np.sqrt(np.maximum(values_D, 0))[:, None] * vectors_DD.T
    return (root_DD / np.linalg.norm(root_DD)).astype(np.float32)


def _slope(real_RD: FloatArray, rng: np.random.Generator) -> float:
    """How the typical nearest distance falls with the number of items, both in logarithms."""
    shuffled_RD = real_RD[rng.permutation(len(real_RD))]
    sizes = sorted({max(4, len(real_RD) // part) for part in (8, 4, 2, 1)})
    typical = []
    for size in sizes:
        near_QK, _ = neighbours(shuffled_RD[:size], shuffled_RD[: min(size, _PROBES)], 2)
        typical.append(_geometric_mean(near_QK[:, 1]))
    return float(np.polyfit(np.log(sizes), np.log(typical), 1)[0])


def _scale(draft: Generator, rows_RK: IntArray, count: int, rng: np.random.Generator) -> float:
    """The scale at which the simulated typical nearest distance is the one wanted, by bisection.

    The nearest item of one that was made from a real row was made from that row or from one nearby. So only
    such surroundings are simulated, at full density, for a sample of rows.
    """
    siblings = max(1, round(count / len(draft.real_RD)) - 1)
    around = rows_RK.shape[1]
    probes = max(16, min(_PROBES, len(rows_RK), _MOST_SIMULATED // (around * siblings)))
    chosen = rng.choice(len(rows_RK), min(probes, len(rows_RK)), replace=False)
    seeds = rng.integers(0, 2**31, len(chosen))

    def typical(scale: float) -> float:
        distances = []
        for row, seed in zip(chosen, seeds, strict=True):
            bases = np.repeat(rows_RK[row], siblings)
            made_ND = draft._around(bases, scale, np.random.default_rng(seed))
            own = int(np.flatnonzero(rows_RK[row] == row)[0]) * siblings if row in rows_RK[row] else 0
            others_ND = np.concatenate([np.delete(made_ND, own, 0), draft.real_RD[rows_RK[row]]])
            distances.append(2 - 2 * float((others_ND @ made_ND[own]).max()))
        return _geometric_mean(np.sqrt(np.maximum(distances, 0)))

    low, high = 0.02, 4.0
    for _ in range(9):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if typical(middle) < draft.typical else (low, middle)
    return (low * high) ** 0.5


def _geometric_mean(distances: Any) -> float:
    return float(np.exp(np.log(np.maximum(distances, _TINY)).mean()))
