"""The store of an index: opening, keeping and closing it. It encodes and searches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from hivlp import exchange, ingest
from hivlp import tune as tuning
from hivlp.encode.rotated import as_indexed, with_levels
from hivlp.errors import HivlpError, IndexFolderError, QueryError
from hivlp.index.compact import CompactReport
from hivlp.index.verify import Findings
from hivlp.index.verify import verify as verify_folder
from hivlp.ingest import Pruned
from hivlp.inputs import as_path, as_texts
from hivlp.messages import counted
from hivlp.progress import Shown, shown
from hivlp.retriever.models import lasting_name, loaded, loaded_for
from hivlp.search.query import clean_query
from hivlp.search.wording import read
from hivlp.stores.local import LocalStore

if TYPE_CHECKING:
    from hivlp.encode import Encoder
    from hivlp.search.tuned import Tuned
    from hivlp.stores.base import Store

Opened = TypeVar("Opened", bound="StoredIndex")


class StoredIndex:
    """A store and the encoder that made its vectors. `Index` adds to it and searches it."""

    def __init__(self, store: Store, encoder: Encoder) -> None:
        """An index of a store and the encoder that made its vectors.

        Raises:
            IndexFolderError: another model made the vectors.
        """
        if encoder.fingerprint != store.model_fingerprint:
            raise IndexFolderError(
                f"{store.info().get('path', 'the index')} was made with the model {store.model_name!r} "
                f"({store.model_fingerprint}), not with {encoder.name!r} ({encoder.fingerprint}); vectors of "
                f"two models can't be compared. Open it with {store.model_name!r}, or index the images again "
                f"with {encoder.name!r} into a new folder."
            )
        self.store = store
        self.encoder = encoder

    @classmethod
    def create(
        cls: type[Opened], path: str | Path, model: str | Path | Encoder = "mini", *, dtype: str = "float16"
    ) -> Opened:
        """A new and empty index, open for writing.

        Args:
            path: the folder to make, such as ``photos.hivlp``.
            model: name or folder of a model, or a loaded encoder.
            dtype: number type of the stored vectors: ``float16`` or ``float32``.

        Raises:
            IndexFolderError: `path` exists already.
            ModelError: the model does not exist.
        """
        path = as_path(path)
        encoder = with_levels(loaded(model), path)
        store = LocalStore.create(
            path,
            model_name=lasting_name(encoder),
            model_fingerprint=encoder.fingerprint,
            widths=encoder.widths,
            preprocessing=encoder.preprocessing.model_dump(mode="json"),
            dtype=dtype,
        )
        return cls(store, encoder)

    @classmethod
    def ensure(cls: type[Opened], path: str | Path, model: str | Path | Encoder | None = None) -> Opened:
        """The index at `path`, open for writing; a new one where nothing exists yet."""
        path = as_path(path)
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            return cls.open(path, model, writable=True)
        return cls.create(path, model if model is not None else "mini")

    @classmethod
    def open(
        cls: type[Opened],
        path: str | Path,
        model: str | Path | Encoder | None = None,
        *,
        writable: bool = False,
        threads: int = 0,
    ) -> Opened:
        """Opens an existing index.

        Args:
            path: the index folder.
            model: None loads the model that the index names. A model other than its own is refused.
            writable: take the write lock, so that `add` and `delete` work. There is one writer at a time.
            threads: threads that compute embeddings, for a model loaded here; 0 lets the runtime choose.

        Raises:
            IndexFolderError: there is no index at `path`, or another model made it.
            ModelError: the model can't be found.
        """
        store = LocalStore.open(as_path(path), writable=writable)
        try:
            encoder = loaded_for(store, store.model_name if model is None else model, threads)
            return cls(store, as_indexed(encoder, store.folder.path, store.widths, items=store.count()))
        except BaseException:
            store.close()
            raise

    def export(
        self,
        out: str | Path,
        *,
        shard_size: int = exchange.SHARD_SIZE,
        progress: Shown = None,
    ) -> dict[str, Any]:
        """Writes items and vectors as a folder in clip-retrieval's layout. See `exchange.export_index`."""
        store = self.folder_store("exported")
        with shown(progress, "exporting") as advance:
            return exchange.export_index(store, as_path(out, "out"), shard_size=shard_size, progress=advance)

    def delete(self, ids: str | Iterable[str]) -> int:
        """Removes items by id; a ``str`` is one id.

        Returns:
            The number of items removed; unknown ids are no error.
        """
        if not isinstance(ids, Iterable):
            raise QueryError(f"ids={ids!r:.40} is invalid: must be an id or a list of ids")
        return self.store.delete([ids] if isinstance(ids, str) else ids)

    def compact(self, progress: Shown = None) -> CompactReport:
        """Frees the disk space of deleted items; searches go on meanwhile.

        Args:
            progress: True shows a bar; or a function, see `types.Progress`. It counts rows over all levels.

        Returns:
            ``dropped``, the number of deleted rows that were removed, and ``bytes_freed``.

        Raises:
            QueryError: the store is not an index folder on this machine.
            IndexFolderError: the index is open for reading only.
        """
        store = self.folder_store("compacted")
        with shown(progress, "compacting", unit="rows") as advance:
            return store.compact(advance)

    def verify(self, progress: Shown = None) -> Findings:
        """Reads all files of the index and checks every promise of the format.

        Args:
            progress: True shows a bar; or a function, see `types.Progress`. It counts rows over all levels.

        Returns:
            ``problems``, one sentence each and empty for a sound index, and ``notes``.

        Raises:
            QueryError: the store is not an index folder on this machine.
        """
        path = self.folder_store("verified").folder.path
        with shown(progress, "verifying", unit="rows") as advance:
            return verify_folder(path, advance)

    def prune(self, folder: str | Path) -> Pruned:
        """Removes the images below a folder whose files are gone, and the captions stored beside them.

        An image is removed only if its file is certainly gone: where the folder above a missing file is
        empty, as for a disk that is not mounted, the image stays and a note says so.

        Args:
            folder: the folder that was indexed, or one inside it.

        Returns:
            The ids of the removed items, and notes.

        Raises:
            QueryError: the store is not an index folder on this machine.
            IndexFolderError: the index is open for reading only.
        """
        store = self.folder_store("pruned")
        store.check_writable()
        return ingest.prune(store, as_path(folder, "folder").absolute())

    def tune(
        self,
        recall: float = 0.99,
        *,
        k: int = 10,
        queries: Sequence[str] | None = None,
        count: int = 2_000,
        kinds: Sequence[str] = tuning.KINDS,
        seed: int = 0,
        progress: Shown = None,
    ) -> Tuned:
        """Measures plans on this index and stores those that keep their recall; see `hivlp.tune.tune`.

        Measures with your queries, else with captions of the images, else (with captions of fewer than 50
        images) with points between items. The result says which.

        Args:
            recall: the recall@k that a search must keep, in (0, 1].
            k: number of hits that the recall counts.
            queries: texts, preferably some hundred: real queries make the measured recall most reliable.
            count: number of captions or points to use.
            kinds: kinds of coarse indexes to try.
            seed: random seed for choosing captions or points.
            progress: True shows a bar; or a function, see `types.Progress`. It counts plans.

        Raises:
            QueryError: a target out of range, too few queries, or the store is not an index folder on this
                machine.
            IndexFolderError: the index is open for reading only.
        """
        store = self.folder_store("tuned")
        tuning.check(store, recall, k, kinds)
        texts = None if queries is None else [read(clean_query(text)).wanted for text in as_texts(queries)]
        chosen = tuning.tuning_queries(store, self.encoder, texts, count, seed)
        with shown(progress, "tuning", unit="plans") as advance:
            return tuning.tune(store, chosen, recall=recall, k=k, kinds=kinds, progress=advance)

    def __repr__(self) -> str:
        store = self.store
        where = store.folder.path if isinstance(store, LocalStore) else type(store).__name__
        levels = ", ".join(map(str, self.encoder.widths))
        try:
            items = counted(len(self), "item")
        except HivlpError:
            items = "closed"
        return f"<{type(self).__name__} {str(where)!r}: {items}, model {self.encoder.name}, levels {levels}>"

    def __len__(self) -> int:
        return self.store.count()

    def refresh(self) -> bool:
        """Takes up what other processes have written since. True where there was something."""
        return self.store.refresh()

    def info(self) -> dict[str, Any]:
        """Facts about the index, JSON-compatible."""
        return self.store.info()

    def close(self) -> None:
        """Releases files and the lock."""
        self.store.close()

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def folder_store(self, action: str) -> LocalStore:
        """The store, for an operation on the files of an index folder."""
        if not isinstance(self.store, LocalStore):
            raise QueryError(
                f"only an index folder on this machine can be {action}, and this index is in a "
                f"{type(self.store).__name__}: use the tools of that server"
            )
        return self.store
