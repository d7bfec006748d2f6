"""What a search may be asked besides its query, and what that makes of the hits; it searches nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypedDict

from hivlp.errors import QueryError
from hivlp.match import MatchModel
from hivlp.search.plan import Plan
from hivlp.types import KINDS, Hit, Hits

Candidates: TypeAlias = "int | Literal['all']"


class SearchOptions(TypedDict, total=False):
    """Options that every search of an ``Index`` takes, all by name.

    Attributes:
        candidates: how many rows the coarse level hands to the fine one; None leaves it to the index.
        exact: score every item at the finest level.
        recall: take the fastest plan that was measured (``hivlp tune``) to keep this recall, in (0, 1].
        plan: the whole recipe. Of ``candidates``, ``exact``, ``recall`` and ``plan`` only one can be given.
        min_score: keep only hits with at least this cosine at the finest level, in [-1, 1]; where that leaves
            none, a note tells the best score that there was.
        min_probability: keep only pictures that are a match with at least this probability, in [0, 1]. For
            words, in an index that was tuned on captions; only pictures are searched then.
        where: only items that meet this filter, such as ``"color = 'red' and price < 20"``; a note says so
            where it leaves fewer than k. ``docs/search.md`` has its language.
        kind: only items of this kind, ``image`` or ``text``; None for all.
        rerank: score so many of the best, at least k, anew together with the words, by the fusion head of the
            model; for searches by words only. What can't be read again stands behind them.
    """

    candidates: Candidates | None
    exact: bool
    recall: float | None
    plan: Plan | None
    min_score: float | None
    min_probability: float | None
    where: str | None
    kind: str | None
    rerank: int | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Search options that were checked, with ``candidates`` and ``exact`` made a plan."""

    plan: Plan | None
    recall: float | None
    min_score: float | None
    min_probability: float | None
    where: str | None
    kind: str | None
    rerank: int | None

    @staticmethod
    def of(options: SearchOptions, *, words: bool = True) -> Asked:
        """The options, checked for a search by words, or (``words=False``) by anything else.

        Raises:
            QueryError: a value that can't be, or options that exclude each other or do not fit the search.
            TypeError: an option that there is none of.
        """
        left: dict[str, Any] = dict(options)
        candidates, exact = left.pop("candidates", None), left.pop("exact", False)
        asked = Asked(
            plan=_plan(candidates, exact, left.pop("plan", None), left.get("recall")),
            recall=left.pop("recall", None),
            min_score=left.pop("min_score", None),
            min_probability=left.get("min_probability"),
            where=left.pop("where", None),
            kind=_kind(left.pop("kind", None), left.pop("min_probability", None)),
            rerank=left.pop("rerank", None),
        )
        if left:
            known = ", ".join(SearchOptions.__annotations__)
            raise TypeError(f"a search has no option {next(iter(left))!r}; it takes {known}")
        asked._check()
        if asked.min_probability is not None and not words:
            raise QueryError(
                f"a least probability ({asked.min_probability}) is for searches by words only: it says how "
                "well a picture fits them. Leave it out, or give a least score (--min-score, min_score=...)."
            )
        if asked.rerank is not None and not words:
            raise QueryError(
                f"re-ranking ({asked.rerank}) is for searches by words only: it reads them beside each "
                "picture. Leave it out."
            )
        return asked

    def check_depth(self, k: int) -> None:
        """Raises QueryError where fewer items would be re-ranked than are wanted."""
        if self.rerank is not None and self.rerank < k:
            raise QueryError(
                f"rerank={self.rerank} would score fewer than the k={k} hits that are wanted; give {k} or "
                "more"
            )

    def _check(self) -> None:
        if self.min_score is not None and not -1 <= self.min_score <= 1:  # NaN is refused too
            raise QueryError(
                f"a least score of {self.min_score} can't be; scores are cosines, so it must be in [-1, 1], "
                "such as 0.2"
            )
        if self.min_probability is not None and not 0 <= self.min_probability <= 1:
            raise QueryError(
                f"a least probability of {self.min_probability} can't be; it must be in [0, 1], such as 0.5"
            )
        if self.kind is not None and self.kind not in KINDS:
            raise QueryError(
                f"there is no kind {self.kind!r} of items; take {' or '.join(KINDS)}, or leave it out"
            )

    def kept(self, hits: Hits, match: MatchModel | None) -> Hits:
        """The hits that are good enough, with their probabilities where a match model tells them."""
        if match is not None:
            hits = replace(hits, hits=tuple(_with_probability(hit, match) for hit in hits))
        elif self.min_probability is not None:
            raise QueryError(
                f"a least probability ({self.min_probability}) needs an index, or a model, that knows what a "
                "match is. Tune an index of pictures with captions (hivlp tune INDEX), or give a least score "
                "(--min-score, min_score=...)."
            )
        good = tuple(hit for hit in hits if self._good(hit))
        if good or not hits.hits:
            return replace(hits, hits=good)
        return replace(hits, hits=good, notes=(*hits.notes, self._nothing(hits)))

    def _good(self, hit: Hit) -> bool:
        if self.min_score is not None and hit.score < self.min_score:
            return False
        # a text is no picture that the words were written for: it has a score and no probability
        return self.min_probability is None or (hit.probability or 0.0) >= self.min_probability

    def _nothing(self, hits: Hits) -> str:
        # The best is rounded downwards: it never looks like enough.
        if self.min_score is not None and all(hit.score < self.min_score for hit in hits):
            best = math.floor(max(hit.score for hit in hits) * 1000) / 1000
            return f"nothing scored at least {self.min_score:g}; the best was {best:.3f}"
        enough = [hit for hit in hits if self.min_score is None or hit.score >= self.min_score]
        best = math.floor(max(hit.probability or 0.0 for hit in enough) * 1000) / 1000
        return (
            f"nothing found: no hit is a match with a probability of {self.min_probability:g} or more; the "
            f"best had {best:.3f}"
        )


def _kind(kind: str | None, min_probability: float | None) -> str | None:
    """The kind to search: only pictures have a probability, so texts must not take their places."""
    return "image" if kind is None and min_probability is not None else kind


def _with_probability(hit: Hit, match: MatchModel) -> Hit:
    return replace(hit, probability=match.probability(hit.score)) if hit.kind == "image" else hit


def _plan(candidates: Candidates | None, exact: bool, plan: Plan | None, recall: float | None) -> Plan | None:
    asked = {"candidates": candidates is not None, "exact": exact, "recall": recall is not None}
    given = [name for name, is_given in {**asked, "plan": plan is not None}.items() if is_given]
    if len(given) > 1:
        raise QueryError(f"{' and '.join(given)} exclude each other; give one of them")
    if exact:
        return Plan(name="exact", candidates="all")
    return plan if candidates is None else Plan(candidates=candidates)
