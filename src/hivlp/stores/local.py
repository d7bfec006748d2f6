"""An index folder on this machine as a store; it knows no models and no images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hivlp.errors import QueryError
from hivlp.index import lookups
from hivlp.index.batch import AppendReport
from hivlp.index.coarse import CoarseIndex, CoarseShelf, CoarseSpec
from hivlp.index.compact import CompactReport
from hivlp.index.folder import IndexFolder
from hivlp.index.items import StaleState
from hivlp.index.layout import sizes
from hivlp.index.mask import RowMask
from hivlp.index.state import State
from hivlp.index.vectors import LevelArray
from hivlp.index.where import Condition
from hivlp.match import MatchModel
from hivlp.search import cascade, grouping
from hivlp.search.cascade import RawResult
from hivlp.search.choice import Choice, choose, few_candidates
from hivlp.search.plan import Plan, default_plan
from hivlp.search.tuned import Tuned
from hivlp.stores.base import ItemScorer, Listing
from hivlp.stores.filters import Filters, note
from hivlp.types import Embeddings, FloatArray, Hit, Hits, IntArray, Item, Progress

StateAnswer = TypeVar("StateAnswer")

_log = logging.getLogger(__name__)


class LocalStore:
    """``Store`` over an ``IndexFolder``; a coarse index is built when a plan first needs it."""

    def __init__(self, folder: IndexFolder) -> None:
        self.folder = folder
        self._coarse = CoarseShelf(folder.path)
        self._filters = Filters()
        self._tuned = Tuned.read(folder.path, self.widths)

    @classmethod
    def create(
        cls,
        address: str | Path,
        *,
        model_name: str,
        model_fingerprint: str,
        widths: Sequence[int],
        preprocessing: Mapping[str, Any],
        dtype: str = "float16",
    ) -> LocalStore:
        """A new and empty index folder, open for writing."""
        return cls(
            IndexFolder.create(
                address,
                model_name=model_name,
                model_fingerprint=model_fingerprint,
                widths=widths,
                preprocessing=preprocessing,
                dtype=dtype,
            )
        )

    @classmethod
    def open(cls, address: str | Path, *, writable: bool = False) -> LocalStore:
        """An index folder that exists."""
        return cls(IndexFolder.open(address, writable=writable))

    @property
    def model_name(self) -> str:
        return self.folder.manifest.model_name

    @property
    def model_fingerprint(self) -> str:
        return self.folder.manifest.model_fingerprint

    @property
    def widths(self) -> tuple[int, ...]:
        return self.folder.manifest.widths

    def append(self, items: Sequence[Item], embeddings: Embeddings) -> AppendReport:
        """Adds items; durable on return. See ``IndexFolder.append``."""
        return self.folder.append(items, embeddings)

    def describe(self, items: Mapping[str, Item]) -> None:
        """Describes items anew, also with new ids. See ``IndexFolder.describe``."""
        self.folder.describe(items)

    def delete(self, ids: Iterable[str]) -> int:
        """Removes items by id; returns how many there were."""
        return self.folder.delete(ids)

    def compact(self, progress: Progress | None = None) -> CompactReport:
        """Frees the space of deleted items. See ``IndexFolder.compact``."""
        before = sum(sizes(self.folder.path).values())
        report = self.folder.compact(progress)
        if not report.dropped:
            return report
        self.prepare()  # rows were renumbered, so the files in coarse/ are out of date
        return replace(report, bytes_freed=before - sum(sizes(self.folder.path).values()))

    def count(self) -> int:
        """Number of items that a search can find."""
        return len(self.folder)

    def search(
        self,
        queries: Embeddings,
        *,
        k: int,
        plan: Plan | None = None,
        rerank: ItemScorer | None = None,
        where: str | None = None,
        kind: str | None = None,
        recall: float | None = None,
        without: Collection[str] = (),
        group: float | None = None,
    ) -> list[Hits]:
        """The best k items of each query. See ``Store.search``."""

        def answer(state: State) -> list[Hits]:
            view = self._view(state, where, kind, without)
            choice = self._choice(plan, recall, state, view, k)
            reranked = 0 if rerank is None else rerank.depth
            row_scorer = None if rerank is None else self._row_scorer(rerank, state)

            def ordered(plan_: Plan) -> Plan:
                return plan_ if rerank is None else replace(plan_, rerank=reranked)

            def find(some: Sequence[int], depth: int) -> list[RawResult]:
                usual = depth <= k + grouping.BURST  # a deeper search of a tuned index needs more candidates
                plan_ = choice.plan if usual else self._choice(plan, recall, state, view, depth).plan
                return cascade.run(ordered(plan_), queries.take(some), view, depth, rerank=row_scorer)

            if group is None:
                results = find(range(len(queries)), k)
            else:
                candidates = view.mask.live if plan is None or plan.candidates == "all" else plan.candidates
                results = grouping.run(
                    find,
                    len(queries),
                    k,
                    depth=reranked or k + grouping.BURST,
                    most=reranked or min(view.mask.live, candidates),
                    least=group,
                    vectors=lambda rows: view.embeddings(rows, view.widths[-1:]).fine,
                    are_images=lambda rows: self._are_images(rows, state.generation),
                )
            items = self._items_of(results, state.generation)
            chosen = ordered(choice.plan)
            notes = (
                *choice.notes,
                *note(state.mask, view.mask, k, where=where, kind=kind),
                *few_candidates(chosen, k),
            )
            return [_hits(result, items, chosen, notes) for result in results]

        return self._at_one_state(answer)

    def view(self, *, where: str | None = None, kind: str | None = None) -> LocalView:
        """The index as of the last ``refresh``, for ``cascade.run``; stays valid while the index changes."""
        return self._at_one_state(lambda state: self._view(state, where, kind))

    def listed(
        self, *, offset: int = 0, limit: int = 100, where: str | None = None, kind: str | None = None
    ) -> Listing:
        """Items without a search, those added last first. See ``Store.listed``."""

        def answer(state: State) -> Listing:
            rows = self._view(state, where, kind).mask.live_rows()
            end = max(0, len(rows) - offset)
            some = rows[max(0, end - limit) : end][::-1].tolist()
            with self.folder.items.at(state.generation):
                return Listing(tuple(self.folder.items.fetch(some)), offset, len(rows))

        return self._at_one_state(answer)

    def fetch(self, ids: Sequence[str]) -> list[Item | None]:
        """The items of these ids in their order, None for an unknown id."""
        with self.folder.items.one_moment():
            rows = self.folder.items.rows_of(ids)
            items = dict(zip(rows, self.folder.items.fetch(list(rows.values())), strict=True))
        return [items.get(name) for name in ids]

    def sample(self, count: int) -> list[Item]:
        """The first items, as examples of the metadata."""
        return self.folder.items.sample(count)

    def embeddings(self, ids: Sequence[str]) -> Embeddings:
        """The stored vectors of these ids, float32, of unit length. Raises QueryError for an unknown id."""
        return self._at_one_state(lambda state: self._embeddings(ids, state))

    def known_ids(self, ids: Iterable[str]) -> dict[str, str | None]:
        """Those of the ids that are in the index, with the SHA-256 of their content."""
        return self.folder.items.known_ids(ids)

    def known_uris(self, uris: Iterable[str]) -> dict[str, str | None]:
        """Those of the uris that are in the index, with the SHA-256 of their content."""
        return self.folder.items.known_uris(uris)

    def items_at(self, uris: Iterable[str]) -> list[Item]:
        """The items at these places, in the order in which they were added."""
        return lookups.at_uris(self.folder.items, uris)

    def items_with(self, hashes: Iterable[str], *, kind: str) -> list[Item]:
        """The items of a kind with one of these SHA-256, some of each, in the order of their adding."""
        return lookups.with_content(self.folder.items, hashes, kind=kind)

    def items_below(self, folder: str, *, kind: str) -> Iterator[Item]:
        """The items of a kind whose uri begins with a folder, in the order in which they were added."""
        return lookups.below(self.folder.items, folder, kind=kind)

    def doubled_items(self, *, kind: str) -> list[Item]:
        """The items of a kind that share their uri or content with another one, in the order of adding."""
        return lookups.doubled(self.folder.items, kind=kind)

    def refresh(self) -> bool:
        """Takes up what other processes have written since. True where there was something."""
        before, self._tuned = self._tuned, Tuned.read(self.folder.path, self.widths)
        return self.folder.refresh() or self._tuned != before

    @property
    def tuned(self) -> Tuned | None:
        """What tuning has measured; None where the index was not tuned."""
        return self._tuned

    @property
    def match(self) -> MatchModel | None:
        """How the score of a search by words becomes a match probability, where tuning measured it."""
        return None if self._tuned is None else self._tuned.match

    def check_writable(self) -> None:
        """Raises IndexFolderError where the folder is open for reading only."""
        self.folder.check_writable()

    def keep_tuned(self, tuned: Tuned) -> None:
        """Writes what tuning has measured, and the coarse indexes that its plans need, into the folder."""
        self.folder.check_writable()
        tuned.write(self.folder.path)
        self._tuned = Tuned.read(self.folder.path, self.widths)  # rounded, as every other process reads it
        self._coarse.keep_only(tuned.specs(self.widths))
        self.prepare()

    def prepare(self) -> None:
        """Writes the coarse indexes that searches will need into the folder, so that opening it is quick.

        A coarse index is written only when it lacks a tenth of the rows or more; those that no search will
        need
        are removed. Does nothing where the folder is not open for writing. A full disk is no error: the items
        are safe, and a coarse index can be built again at any time.
        """
        if not self.folder.writable:
            return
        state = self.folder.state()
        plan = default_plan(state.mask.live, self.widths)
        usual = set[CoarseSpec]() if plan.candidates == "all" else {plan.spec(self.widths)}
        specs = usual if self._tuned is None else self._tuned.specs(self.widths)
        try:
            self._coarse.remove_others(specs)
            for spec in specs:
                self._coarse.keep(spec, state.levels[spec.width], generation=state.generation)
        except OSError as error:
            _log.warning("the coarse index of %s was not written to disk: %s", self.folder.path, error)

    def rows_where(self, condition: Condition | None, *, kind: str | None = None) -> IntArray:
        """Row numbers of the items that meet a condition and are of a kind, ascending."""
        return self.folder.items.rows_where(condition, kind=kind)

    def items_of(self, rows: Sequence[int]) -> list[Item]:
        """The items of these rows, in this order."""
        return self.folder.items.fetch(rows)

    def rows_of(self, ids: Iterable[str]) -> dict[str, int]:
        """Row number of each of these ids that is in the index; numbers hold until the next compaction."""
        return self.folder.items.rows_of(ids)

    def info(self) -> dict[str, Any]:
        """The facts of the index, JSON-compatible; ``coarse_bytes`` are those in memory right now."""
        coarse_bytes = {spec.name: index.nbytes() for spec, index in self._coarse.held().items()}
        return {**self.folder.info(), "tuned": self._tuned is not None, "coarse_bytes": coarse_bytes}

    def verify(self, progress: Progress | None = None) -> list[str]:
        """Checks every promise of the format; one sentence per problem, an empty list for a sound index."""
        return self.folder.verify(progress)

    def close(self) -> None:
        """Releases files and the lock; a second call does nothing."""
        self.folder.close()

    def __enter__(self) -> LocalStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def coarse(self, spec: CoarseSpec, state: State) -> CoarseIndex:
        """The coarse index of this spec, built or grown until it holds the rows of the state."""
        return self._coarse.get(spec, state.levels[spec.width], generation=state.generation)

    def _at_one_state(self, answer: Callable[[State], StateAnswer]) -> StateAnswer:
        """The answer from the current state, or from a newer one where a compaction has renumbered rows."""
        while True:
            try:
                return answer(self.folder.state())
            except StaleState:
                self.folder.refresh()

    def _view(
        self, state: State, where: str | None, kind: str | None, without: Collection[str] = ()
    ) -> LocalView:
        if where is None and kind is None and not without:
            return LocalView(state, self)
        with self.folder.items.at(state.generation):
            mask = self._filters.narrowed(state.mask, self.folder.items, where=where, kind=kind)
            if without:
                left_out = self.folder.items.rows_of(without).values()
                mask = mask.without(np.fromiter(left_out, np.int64))
        return LocalView(replace(state, mask=mask), self)

    def _choice(
        self, plan: Plan | None, recall: float | None, state: State, view: LocalView, k: int
    ) -> Choice:
        if plan is not None:
            return Choice(plan)
        return choose(
            self._tuned,
            recall=recall,
            items=state.mask.live,
            live=view.mask.live,
            widths=self.widths,
            k=k,
            where=self.folder.path,
        )

    def _row_scorer(self, rerank: ItemScorer, state: State) -> cascade.RowScorer:
        """The scorer of items as a scorer of rows."""

        def score(query: int, rows_K: IntArray) -> FloatArray:
            with self.folder.items.at(state.generation):
                items = self.folder.items.fetch(rows_K.tolist())
            return rerank(query, items)

        return score

    def _embeddings(self, ids: Sequence[str], state: State) -> Embeddings:
        with self.folder.items.at(state.generation):
            row_of = self.folder.items.rows_of(ids)
        for name in ids:
            if row_of.get(name, state.mask.rows) >= state.mask.rows:
                raise QueryError(
                    f"the index {self.folder.path} has no item {name!r}: give the id or the path "
                    "that `hivlp search` shows"
                )
        return LocalView(state, self).embeddings(np.array([row_of[name] for name in ids], dtype=np.int64))

    def _items_of(self, results: list[RawResult], generation: int) -> dict[int, Item]:
        rows = sorted({int(row) for one in results for some in (one.rows, *one.similar) for row in some})
        with self.folder.items.at(generation):
            return dict(zip(rows, self.folder.items.fetch(rows), strict=True))

    def _are_images(self, rows: IntArray, generation: int) -> NDArray[np.bool_]:
        with self.folder.items.at(generation):
            return np.array([item.kind == "image" for item in self.folder.items.fetch(rows.tolist())])


@dataclass(frozen=True)
class LocalView:
    """One state of a local store, as a ``cascade.View``."""

    state: State
    store: LocalStore

    @property
    def mask(self) -> RowMask:
        return self.state.mask

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(self.state.levels)

    def level(self, width: int) -> LevelArray:
        return self.state.levels[width]

    def coarse(self, spec: CoarseSpec) -> CoarseIndex:
        return self.store.coarse(spec, self.state)

    def embeddings(self, rows: IntArray, widths: Sequence[int] = ()) -> Embeddings:
        """The stored vectors of some rows at some levels, else at all: float32, of unit length."""
        return Embeddings.normalised(
            {w: self.level(w)[rows].astype(np.float32) for w in widths or self.widths}
        )


def _hits(result: RawResult, items: Mapping[int, Item], plan: Plan, notes: tuple[str, ...]) -> Hits:
    rows: list[int] = result.rows.tolist()
    rerank_scores = result.rerank_scores
    hits = [
        Hit(
            rank=rank,
            id=items[row].id,
            uri=items[row].uri,
            kind=items[row].kind,
            score=_cosine(result.scores[rank - 1]),
            coarse_score=_cosine(result.coarse_scores[rank - 1]),
            coarse_rank=int(result.coarse_ranks[rank - 1]),
            caption=items[row].caption,
            meta=items[row].meta,
            rerank_score=None if rerank_scores is None else float(rerank_scores[rank - 1]),
            width=items[row].width,
            height=items[row].height,
            similar=tuple(items[other].id for other in result.similar[rank - 1]) if result.similar else (),
        )
        for rank, row in enumerate(rows, start=1)
    ]
    return Hits(hits=tuple(hits), timings_ms=result.timings_ms, plan=plan.as_dict(), notes=notes)


def _cosine(score: np.floating[Any]) -> float:
    """Half-precision storage leaves a vector's length up to 2^-11 above 1; a cosine is never above it."""
    return min(1.0, max(-1.0, float(score)))
