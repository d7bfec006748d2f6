"""The queries of a benchmark: captions in three sets; it knows neither items nor engines.

``choose`` and ``report`` are captions of pictures that the model never trained on. Plans are chosen on the
first and reported on the second, and no picture has captions in both. ``scenes`` are captions of drawn
scenes, which are easier and stand apart.

C captions, Q queries, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hivlp.data.sources import open_source
from hivlp.encode import Encoder
from hivlp.errors import DataError, QueryError
from hivlp.tune.queries import encoded
from hivlp.tune.statistics import recall_bound
from hivlp.types import FloatArray

CHOOSE, REPORT, SCENES = "choose", "report", "scenes"
_MOST_SCENES = 300
_UNSEEN = "val"


@dataclass(frozen=True)
class Captions:
    """Texts, and for each the picture that it was written for."""

    texts: Sequence[str]
    pictures: Sequence[str]


@dataclass(frozen=True)
class QuerySet:
    """Q texts and their vectors, Q × D."""

    texts: Sequence[str]
    vectors_QD: FloatArray


def query_sets(
    sources: Sequence[str], given: Sequence[str], encoder: Encoder, *, count: int, seed: int
) -> dict[str, QuerySet]:
    """The sets of queries, each with different vectors.

    Args:
        sources: of the items. Without ``given`` the captions of their split ``val`` are the queries.
        given: sources of captions that the model never trained on, used whole unless they have ``val``.
        encoder: of the captions.
        count: queries in ``choose`` and ``report`` together.
        seed: of the choice.

    Raises:
        DataError: there are too few captions, or no source has a split ``val``.
    """
    rng = np.random.default_rng(seed)
    photographs = [one for one in given or sources if not _is_drawn(one)]
    drawn = [one for one in (*given, *sources) if _is_drawn(one)]
    if photographs:
        found = halves(_gathered(photographs, whole=bool(given)), encoder, count, rng)
        return {**found, **_scenes(drawn, encoder, rng)} if drawn else found
    return halves(_gathered(drawn, whole=True), encoder, count, rng)


def described(sources: Sequence[str], given: Sequence[str]) -> str:
    """What the queries of ``choose`` and ``report`` are, for people."""
    if all(_is_drawn(one) for one in given or sources):
        return "captions of drawn scenes"
    return "captions of photographs of split val" if not given else "captions of photographs given"


def halves(captions: Captions, encoder: Encoder, count: int, rng: np.random.Generator) -> dict[str, QuerySet]:
    """Captions of one half of the pictures to choose plans by, of the other half to report."""
    vectors_CD = encoded(encoder, captions.texts).fine
    _, first = np.unique(vectors_CD, axis=0, return_index=True)
    names = np.unique([captions.pictures[row] for row in first])
    chosen = set(rng.permutation(names)[: len(names) // 2].tolist())
    shuffled = rng.permutation(np.sort(first))
    found = {}
    for name in (CHOOSE, REPORT):
        rows = [row for row in shuffled if (captions.pictures[row] in chosen) == (name == CHOOSE)]
        if len(rows) < count // 2:
            raise DataError(
                f"{len(rows):,} captions are too few for a half of {count:,} queries; name more captions "
                "with --queries, or lower --query-count"
            )
        found[name] = _taken(captions, vectors_CD, rows[: count // 2])
    return found


def unseen_split(spec: str) -> str | None:
    """The split of a source that no model trained on; None for a source without it."""
    return _UNSEEN if _is_drawn(spec) or _UNSEEN in open_source(spec).splits() else None


def require_enough(count: int, target: float) -> None:
    """Refuses fewer queries than could ever hold the target.

    Raises:
        QueryError: even if every query found all, the lower bound of half of them would stay below it.
    """
    most = recall_bound(np.ones(max(1, count // 2), np.float32))
    if most < target:
        raise QueryError(
            f"query_count={count} is invalid for recall={target:g}: the lower bound of {count // 2} queries "
            f"is at most {most:.4f}. Give more queries, or lower --recall."
        )


def _gathered(sources: Sequence[str], *, whole: bool) -> Captions:
    """Captions of the split ``val``; of a source without splits all if ``whole``, else none."""
    texts: list[str] = []
    pictures: list[str] = []
    for spec in sources:
        split = unseen_split(spec)
        if split is None and not whole:
            continue
        for sample in open_source(spec, split=split):
            texts += sample.captions
            pictures += [f"{spec}\n{sample.id}"] * len(sample.captions)
    if not texts:
        raise DataError(
            f"{', '.join(sources)} has no captions of a split val, and others may have been trained on; "
            "name captions with --queries, or divide a source by ?held_out=0.1"
        )
    return Captions(texts, pictures)


def _scenes(sources: Sequence[str], encoder: Encoder, rng: np.random.Generator) -> Mapping[str, QuerySet]:
    captions = _gathered(sources, whole=True)
    some: list[int] = rng.permutation(len(captions.texts))[: 4 * _MOST_SCENES].tolist()
    captions = Captions([captions.texts[row] for row in some], [captions.pictures[row] for row in some])
    vectors_CD = encoded(encoder, captions.texts).fine
    _, first = np.unique(vectors_CD, axis=0, return_index=True)
    return {SCENES: _taken(captions, vectors_CD, np.sort(first)[:_MOST_SCENES].tolist())}


def _taken(captions: Captions, vectors_CD: FloatArray, rows: Sequence[int]) -> QuerySet:
    return QuerySet([captions.texts[row] for row in rows], vectors_CD[rows])


def _is_drawn(spec: str) -> bool:
    return spec.startswith("scenes:")
