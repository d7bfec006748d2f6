"""What every store promises: items and their vectors go in, the answers to queries come out.

A store knows nothing of models or pictures: it takes embeddings and gives hits. Ids are strings and are the
only names that leave a store; row numbers stay inside. A store may be used by several threads at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from hivlp.index.batch import AppendReport
from hivlp.index.compact import CompactReport
from hivlp.match import MatchModel
from hivlp.search.plan import Plan
from hivlp.types import Embeddings, FloatArray, Hits, Item, Progress

SelfStore = TypeVar("SelfStore", bound="Store")


class Rerank(Protocol):
    """Scores the best ``depth`` items of a query anew; one finite score an item, higher is better."""

    @property
    def depth(self) -> int: ...

    def __call__(self, query: int, items: Sequence[Item], /) -> FloatArray: ...


class Store(Protocol):
    """Where an index lives. ``create`` and ``open`` take the address: a folder, or a URL of a server.

    All methods raise IndexFolderError for a damaged, locked or foreign index, and QueryError for a query that
    can't be answered as asked.
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

    def check_model(self, fingerprint: str, name: str) -> None:
        """Refuses another model than the one that made the index, naming both."""
        ...

    def append(self, items: Sequence[Item], embeddings: Embeddings) -> AppendReport:
        """Adds items; durable on return. An id that is known is replaced where its content changed."""
        ...

    def delete(self, ids: Iterable[str]) -> int:
        """Removes items by id; unknown ids are no error. Returns how many there were."""
        ...

    def compact(self, progress: Progress | None = None) -> CompactReport:
        """Gives back the space of deleted items. A store that does so by itself reports nothing done."""
        ...

    def search(
        self,
        queries: Embeddings,
        *,
        k: int,
        plan: Plan | None = None,
        rerank: Rerank | None = None,
        where: str | None = None,
        kind: str | None = None,
        recall: float | None = None,
    ) -> list[Hits]:
        """The best k items of each query, best first.

        Without ``plan`` the index chooses: the plan that was tuned, else one by its size. ``recall`` asks for
        the fastest plan that was measured to keep it.

        ``where`` lets only items through that meet a filter (see ``index.where``), ``kind`` only those of one
        kind; a note says so where they leave fewer than k.
        ``rerank`` puts the best of them into another order, whatever the plan.
        ``timings_ms.encode`` is 0: whoever made the embeddings knows what they cost. Milliseconds of a batch
        are shared out evenly among its queries. Fewer than k hits come back where the index or the plan's
        candidates hold fewer.
        """
        ...

    @property
    def match(self) -> MatchModel | None:
        """How likely a hit of a search by words is a match, where tuning could tell."""
        ...

    def prepare(self) -> None:
        """What makes the next opening and searching quick, after much was added. May do nothing."""
        ...

    def count(self) -> int:
        """Number of items that a search can find."""
        ...

    def fetch(self, ids: Sequence[str]) -> list[Item | None]:
        """The items of these ids in their order, None where there is none."""
        ...

    def sample(self, count: int) -> list[Item]:
        """Some items, to see what their metadata looks like."""
        ...

    def embeddings(self, ids: Sequence[str]) -> Embeddings:
        """The stored vectors of these ids, float32 and of unit length: to search by an item of the index."""
        ...

    def known_ids(self, ids: Iterable[str]) -> dict[str, str | None]:
        """Those of the ids that are in the index, with the SHA-256 of their content."""
        ...

    def known_uris(self, uris: Iterable[str]) -> dict[str, str | None]:
        """Those of the uris that are in the index, with the SHA-256 of their content."""
        ...

    def refresh(self) -> bool:
        """Takes up what other processes have written since. True where there was something."""
        ...

    def info(self) -> dict[str, Any]:
        """What ``hivlp info`` shows, JSON-compatible: at least ``items``, ``kinds`` and ``tuned``."""
        ...

    def verify(self, progress: Progress | None = None) -> list[str]:
        """Checks every promise of the format; one sentence a problem, an empty list when all is well."""
        ...

    def close(self) -> None:
        """Gives back files and the lock; a second call does nothing."""
        ...

    def __enter__(self: SelfStore) -> SelfStore: ...

    def __exit__(self, *error: object) -> None: ...
