"""The interface of a store: items and their vectors go in, the hits of a search come out.

A store knows nothing of models or images: it takes embeddings and gives hits. Ids are strings and are the
only names that leave a store; row numbers stay inside. A store may be used by several threads at a time.

The interface has what an index folder and a database server can both do. Compacting, verifying, tuning,
pruning and exporting work on the files of an index folder and belong to `LocalStore`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from hivlp.index.batch import AppendReport
from hivlp.match import MatchModel
from hivlp.search.plan import Plan
from hivlp.types import Embeddings, FloatArray, Hits, Item

SelfStore = TypeVar("SelfStore", bound="Store")


@dataclass(frozen=True, slots=True)
class Listing:
    """Some items of an index, those added last first.

    Attributes:
        items: the items.
        offset: how many stand before them.
        total: how many there are, with these.
    """

    items: tuple[Item, ...]
    offset: int
    total: int

    @property
    def next_offset(self) -> int | None:
        """Where the next page begins; None after the last one."""
        after = self.offset + len(self.items)
        return after if self.items and after < self.total else None


class ItemScorer(Protocol):
    """Scores the best ``depth`` items of a query again: one finite score per item, higher is better."""

    @property
    def depth(self) -> int: ...

    def __call__(self, query: int, items: Sequence[Item], /) -> FloatArray: ...


class Store(Protocol):
    """Where the items of an index are stored. ``create`` and ``open`` take its address.

    All methods raise IndexFolderError for a damaged, locked or foreign index, and QueryError for a search
    that the store can't answer.
    """

    @classmethod
    def create(
        cls: type[SelfStore],
        address: str | Path,
        *,
        model_name: str,
        model_fingerprint: str,
        widths: Sequence[int],
        preprocessing: Mapping[str, Any],
        dtype: str = "float16",
    ) -> SelfStore:
        """A new and empty index, open for writing. Refused where something already is at the address."""
        ...

    @classmethod
    def open(cls: type[SelfStore], address: str | Path, *, writable: bool = False) -> SelfStore:
        """An index that exists. One writer at a time, any number of readers."""
        ...

    @property
    def model_name(self) -> str:
        """Name of the model that made the vectors."""
        ...

    @property
    def model_fingerprint(self) -> str:
        """Fingerprint of the model that made the vectors."""
        ...

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the stored levels, narrowest first."""
        ...

    @property
    def match(self) -> MatchModel | None:
        """How the score of a search by words becomes a match probability, where tuning measured it."""
        ...

    def append(self, items: Sequence[Item], embeddings: Embeddings) -> AppendReport:
        """Adds items; durable on return. An item with a known id is replaced where its content changed."""
        ...

    def describe(self, items: Mapping[str, Item]) -> None:
        """Describes items anew, durable on return; the key is the id so far, vectors and content stay."""
        ...

    def delete(self, ids: Iterable[str]) -> int:
        """Removes items by id; unknown ids are no error. Returns the number of items removed."""
        ...

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
        """The best k items of each query, best first.

        Milliseconds of a batch are shared out evenly among its queries; ``timings_ms.encode`` is 0, since the
        caller made the embeddings.

        Args:
            queries: unit vectors at the levels of the index, Q × D at each.
            k: number of hits; fewer come back where the index or the plan's candidates hold fewer.
            plan: None lets the index choose: the plan that was tuned, else one by its size.
            rerank: puts the best hits into another order, whatever the plan.
            where: only items that pass this filter (see ``index.where``).
            kind: only items of this kind. A note says so where filter or kind leave fewer than k items.
            recall: use the fastest plan that was measured to keep this recall.
            without: ids of items that are left out. Unknown ids are no error.
            group: the cosine at the finest level from which on images count as near-equal: the best of them
                is the hit and has the ids of the others. None groups nothing.
        """
        ...

    def listed(
        self, *, offset: int = 0, limit: int = 100, where: str | None = None, kind: str | None = None
    ) -> Listing:
        """Items without a search, those added last first.

        Args:
            offset: how many to leave out.
            limit: how many to give.
            where: only items that pass this filter.
            kind: only items of this kind.
        """
        ...

    def fetch(self, ids: Sequence[str]) -> list[Item | None]:
        """The items of these ids in their order, None for an unknown id."""
        ...

    def items_at(self, uris: Iterable[str]) -> list[Item]:
        """The items at these places, in the order in which they were added."""
        ...

    def items_with(self, hashes: Iterable[str], *, kind: str) -> list[Item]:
        """The items of a kind with one of these SHA-256, some of each, in the order of their adding."""
        ...

    def items_below(self, folder: str, *, kind: str) -> Iterator[Item]:
        """The items of a kind whose uri begins with a folder, in the order in which they were added."""
        ...

    def embeddings(self, ids: Sequence[str]) -> Embeddings:
        """The stored vectors of these ids, float32 and of unit length.

        Raises QueryError for an unknown id.
        """
        ...

    def count(self) -> int:
        """Number of items that a search can find."""
        ...

    def sample(self, count: int) -> list[Item]:
        """Some items, as examples of the metadata."""
        ...

    def info(self) -> dict[str, Any]:
        """The facts that ``hivlp info`` shows, JSON-compatible: at least ``items``, ``kinds``, ``tuned``."""
        ...

    def prepare(self) -> None:
        """Called after much was added, to make the next opening and search quick. May do nothing."""
        ...

    def refresh(self) -> bool:
        """Takes up what other processes have written since. True where there was something."""
        ...

    def close(self) -> None:
        """Releases files and locks; a second call does nothing."""
        ...

    def __enter__(self: SelfStore) -> SelfStore: ...

    def __exit__(self, *error: object) -> None: ...
