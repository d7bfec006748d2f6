"""`Index`, the class that users work with: an encoder and a store. It knows no file format and no ranking.

index = Index.create("photos.hivlp", "mini")
index.add("my/photos")
hits = index.search("two dogs on a beach", k=10)
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hivlp import exchange, ingest
from hivlp import tune as tuning
from hivlp.data.originals import place_of
from hivlp.data.sources import Source, open_source, open_texts
from hivlp.encode import load
from hivlp.encode.base import runtime_of, stored_match, unread_by
from hivlp.encode.rotated import as_indexed, with_levels
from hivlp.errors import ImageError, IndexFolderError, ModelError, QueryError
from hivlp.index.compact import CompactReport
from hivlp.index.verify import Findings
from hivlp.index.verify import verify as verify_folder
from hivlp.ingest import AddReport, Pruned
from hivlp.match import MatchModel
from hivlp.search.query import Part, Query, clean_query, items_of, mixed, parts_of, words_of
from hivlp.search.request import SearchRequest, takes_search_options
from hivlp.search.rerank import HOW_TO_TRAIN, FusionReranker, Scorer, has_head, open_scorer
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, Hits, Item, Progress, Sample

if TYPE_CHECKING:
    from PIL.Image import Image

    from hivlp.encode import Encoder
    from hivlp.search.tuned import Tuned
    from hivlp.stores.base import Store


class Index:
    """A searchable collection of images and texts. Use `create` or `open` to get one."""

    def __init__(self, store: Store, encoder: Encoder) -> None:
        """An index of a store and the encoder that made its vectors.

        Raises:
            IndexFolderError: another model made the vectors.
        """
        if encoder.fingerprint != store.model_fingerprint:
            raise IndexFolderError(
                f"{store.info().get('path', 'the index')} was made with the model {store.model_name!r} "
                f"({store.model_fingerprint}), not with {encoder.name!r} ({encoder.fingerprint}); vectors "
                "of two "
                f"models can't be compared. Open it with {store.model_name!r}, or index the images again "
                f"with {encoder.name!r} into a new folder."
            )
        self.store = store
        self.encoder = encoder
        self._scorer: Scorer | None = None

    @classmethod
    def create(
        cls, path: str | Path, model: str | Path | Encoder = "mini", *, dtype: str = "float16"
    ) -> Index:
        """A new and empty index, open for writing.

        Args:
            path: the folder to make, such as ``photos.hivlp``.
            model: name or folder of a model, or a loaded encoder.
            dtype: number type of the stored vectors: ``float16`` or ``float32``.

        Raises:
            IndexFolderError: `path` exists already.
            ModelError: the model does not exist.
        """
        encoder = with_levels(_encoder(model), Path(path))
        store = LocalStore.create(
            path,
            model_name=_name(encoder),
            model_fingerprint=encoder.fingerprint,
            widths=encoder.widths,
            preprocessing=encoder.preprocessing.model_dump(mode="json"),
            dtype=dtype,
        )
        return cls(store, encoder)

    @classmethod
    def ensure(cls, path: str | Path, model: str | Path | Encoder | None = None) -> Index:
        """The index at `path`, open for writing; a new one where nothing exists yet."""
        path = Path(path)
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            return cls.open(path, model, writable=True)
        return cls.create(path, model if model is not None else "mini")

    @classmethod
    def open(
        cls,
        path: str | Path,
        model: str | Path | Encoder | None = None,
        *,
        writable: bool = False,
        threads: int = 0,
    ) -> Index:
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
        store = LocalStore.open(path, writable=writable)
        try:
            encoder = _opened(store.model_name if model is None else model, store, threads)
            return cls(store, as_indexed(encoder, store.folder.path, store.widths, items=store.count()))
        except BaseException:
            store.close()
            raise

    def add(
        self,
        source: str | Path | Iterable[Sample],
        *,
        split: str | None = None,
        image_root: Path | None = None,
        batch_size: int = 32,
        workers: int = 2,
        resume: bool = False,
        captions: bool = False,
        progress: Progress | None = None,
    ) -> AddReport:
        """Indexes every image of a source that the index does not hold yet.

        An image with the id and the content hash of an indexed item is skipped without decoding (a changed
        caption or path is stored); with a known id and other content it replaces the item. Images that can't
        be used are listed in the report and never fatal. Each batch is durable before the next one starts: a
        kill loses at most the current batch, and a second call continues.

        Args:
            source: a folder, a file of captions, another spec of `data.sources.open_source`, or samples.
            split: only this split of the source.
            image_root: folder of the images that a caption file names by relative paths.
            batch_size: images per batch.
            workers: threads that decode images beside the model.
            resume: skip every item whose id is known, without reading its file to compare the content.
            captions: also store each caption as an item of kind ``text``, with the id
                ``<id of the image>#<n>`` and the metadata ``{"of": <id of the image>}``.
            progress: called after every batch.
        """
        samples: Iterable[Sample] = (
            open_source(source, image_root=image_root, split=split)
            if isinstance(source, (str, Path))
            else source
        )
        report = ingest.add(
            self.store,
            self.encoder,
            samples,
            batch_size=batch_size,
            workers=workers,
            resume=resume,
            captions=captions,
            progress=progress,
        )
        self.store.prepare()
        return report

    def add_texts(
        self,
        texts: Path | Source | Iterable[str],
        ids: Sequence[str] | None = None,
        meta: Sequence[Mapping[str, Any]] | None = None,
        *,
        split: str | None = None,
        batch_size: int = 256,
        resume: bool = False,
        progress: Progress | None = None,
    ) -> AddReport:
        """Indexes texts, as items of kind ``text`` whose caption is the text; known texts are skipped.

        Args:
            texts: the texts; or the ``Path`` of a ``.txt`` with one text per line or of a table with a column
                ``text`` or ``caption``; or a source from `data.sources.open_texts`.
            ids: the id of each text; without them the id is made from the content, and equal texts are one
                item.
            meta: the metadata of each text.
            split: only this split of a table.
            batch_size: texts per batch. Each batch is durable before the next one starts.
            resume: skip every item whose id is known, without comparing the content.
            progress: called after every batch; see `types.Progress`.

        Raises:
            DataError: the file can't be read as texts.
            QueryError: texts, ids and metadata differ in number.
        """
        samples = _text_samples(texts, ids, meta, split)
        report = ingest.add_texts(
            self.store, self.encoder, samples, batch_size=batch_size, resume=resume, progress=progress
        )
        self.store.prepare()
        return report

    def export(
        self,
        out: str | Path,
        *,
        shard_size: int = exchange.SHARD_SIZE,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Writes items and vectors as a folder in clip-retrieval's layout. See `exchange.export_index`."""
        return exchange.export_index(
            self.folder_store("exported"), out, shard_size=shard_size, progress=progress
        )

    def delete(self, ids: Iterable[str]) -> int:
        """Removes items by id. Returns the number of items removed; unknown ids are no error."""
        return self.store.delete(ids)

    def compact(self, progress: Progress | None = None) -> CompactReport:
        """Frees the disk space of deleted items; searches go on meanwhile.

        Args:
            progress: see `types.Progress`; it counts rows over all levels.

        Returns:
            ``dropped``, the number of deleted rows that were removed, and ``bytes_freed``.

        Raises:
            QueryError: the store is not an index folder on this machine.
            IndexFolderError: the index is open for reading only.
        """
        return self.folder_store("compacted").compact(progress)

    def verify(self, progress: Progress | None = None) -> Findings:
        """Reads all files of the index and checks every promise of the format.

        Args:
            progress: see `types.Progress`; it counts rows over all levels.

        Returns:
            ``problems``, one sentence each and empty for a sound index, and ``notes``.

        Raises:
            QueryError: the store is not an index folder on this machine.
        """
        return verify_folder(self.folder_store("verified").folder.path, progress)

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
        return ingest.prune(store, Path(folder).absolute())

    @takes_search_options
    def search(self, query: Query, request: SearchRequest) -> Hits:
        """The k items that fit a query best, best first.

            index.search("two dogs on a beach", k=5)
            index.search(Path("beach.jpg"), min_score=0.3)
            index.search(Part(item="beach.jpg"))
            index.search([Part(image="beach.jpg"), Part(text="at night", weight=0.5)])

        Args:
            query: words (``str``); an image (``Path``, encoded bytes or a PIL image); a `Part`, such as an
                item of the index; or a list of parts, whose weighted sum is searched at every level. Items in
                the query are left out of the answer. A text longer than the model reads is cut, and a note
                says so.
            request: ``k=10`` and the other options, as keyword arguments: the fields of
                `hivlp.search.request.SearchRequest`. Match probabilities and re-ranking are for words alone.

        Raises:
            QueryError: the query or an option is invalid, or the index can't serve the option.
            ImageError: an image can't be decoded.
        """
        parts = parts_of(query)
        words = words_of(parts)
        self.check(request, words=words is not None)
        start = time.perf_counter()
        embeddings = mixed([self._encode(part) for part in parts], [part.weight for part in parts])
        encode_ms = _ms_since(start)
        (hits,) = self._search(
            embeddings, request.leaving_out(items_of(parts)), texts=None if words is None else [words]
        )
        notes = [
            note
            for part in parts
            if part.text is not None
            for note in notes_on(clean_query(part.text), self.encoder)
        ]
        return _described(hits, encode_ms, notes)

    @takes_search_options
    def search_batch(self, texts: Sequence[str], request: SearchRequest) -> list[Hits]:
        """`search` for several texts at once, encoded and searched together.

        The milliseconds of the batch are shared out evenly.
        """
        if isinstance(texts, str):  # its letters would be searched one by one
            raise QueryError(f"{texts[:40]!r} is one text: pass a list of texts, or use search")
        cleaned = [clean_query(text) for text in texts]
        self.check(request, words=True)
        if not cleaned:
            return []
        start = time.perf_counter()
        embeddings = self.encoder.encode_texts(cleaned)
        encode_ms = _ms_since(start) / len(cleaned)
        found = self._search(embeddings, request, texts=cleaned)
        return [
            _described(hits, encode_ms, notes_on(text, self.encoder))
            for hits, text in zip(found, cleaned, strict=True)
        ]

    def search_vectors(
        self,
        queries: Embeddings,
        request: SearchRequest | None = None,
        *,
        texts: Sequence[str] | None = None,
    ) -> list[Hits]:
        """The k items nearest to each of Q query vectors, from the encoder of the index or from `mixed`.

        Args:
            queries: unit vectors at the levels of the index, Q × D at each.
            request: the options of the search; None for their defaults.
            texts: the words of each query, where the queries are words: their hits get match probabilities
                and can be re-ranked.

        Raises:
            QueryError: a vector or an option is invalid.
        """
        request = request or SearchRequest()
        self.check(request, words=texts is not None)
        return self._search(queries, request, texts=texts)

    def check(self, request: SearchRequest, *, words: bool) -> None:
        """Refuses a request that this index can't serve, before anything is decoded or encoded.

        Args:
            request: the options of the search.
            words: whether the query is words alone.

        Raises:
            QueryError: an option does not fit the query, or needs a model or a tuned index that is missing.
        """
        request.check_query(words=words)
        if request.min_probability is not None and self.match is None:
            raise QueryError(
                f"min_probability={request.min_probability:g} needs a model or an index that estimates match "
                "probabilities. Tune an index of images with captions (hivlp tune INDEX), or use min_score "
                "(--min-score)."
            )
        if request.rerank is not None and self._scorer is None and not has_head(self.encoder.name):
            raise QueryError(
                f"rerank={request.rerank} needs a model with a fusion head, and the model of this index has "
                f"none. Leave it out, or index with a model that has one ({HOW_TO_TRAIN})"
            )

    def tune(
        self,
        recall: float = 0.99,
        *,
        k: int = 10,
        queries: Sequence[str] | None = None,
        count: int = 2_000,
        kinds: Sequence[str] = tuning.KINDS,
        seed: int = 0,
        progress: Progress | None = None,
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
            progress: see `types.Progress`; it counts plans.

        Raises:
            QueryError: a target out of range, too few queries, or the store is not an index folder on this
                machine.
            IndexFolderError: the index is open for reading only.
        """
        store = self.folder_store("tuned")
        tuning.check(store, recall, k, kinds)
        texts = None if queries is None else [clean_query(text) for text in queries]
        chosen = tuning.tuning_queries(store, self.encoder, texts, count, seed)
        return tuning.tune(store, chosen, recall=recall, k=k, kinds=kinds, progress=progress)

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

    def __enter__(self) -> Index:
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

    def _search(
        self, queries: Embeddings, request: SearchRequest, *, texts: Sequence[str] | None
    ) -> list[Hits]:
        rerank = None if texts is None or request.rerank is None else self._reranker(texts, request.rerank)
        found = self.store.search(
            queries,
            k=request.k,
            plan=request.fixed_plan,
            recall=request.recall,
            rerank=rerank,
            where=request.where,
            kind=request.searched_kind,
            without=request.without,
        )
        if rerank is not None:
            found = [
                replace(hits, notes=(*hits.notes, *rerank.notes(query))) for query, hits in enumerate(found)
            ]
        match = self.match if texts is not None else None
        return [request.select(hits, match) for hits in found]

    def _reranker(self, texts: Sequence[str], depth: int) -> FusionReranker:
        if self._scorer is None:
            self._scorer = open_scorer(self.encoder.name)
        return FusionReranker(self._scorer, self.encoder, self.place, texts, depth)

    def place(self, item: Item) -> str:
        """The path of the image of an item: its ``uri``; an uploaded image moves with its index."""
        return item.uri if self._folder is None else place_of(item, self._folder)

    @property
    def match(self) -> MatchModel | None:
        """How a score becomes a match probability: fitted by tuning, else by training; None for neither."""
        return self.store.match or self._match_of_model

    @cached_property
    def _match_of_model(self) -> MatchModel | None:
        return stored_match(self.encoder)

    @cached_property
    def _folder(self) -> Path | None:
        path = self.store.info().get("path")
        return None if path is None else Path(path)

    def _encode(self, part: Part) -> Embeddings:
        if part.text is not None:
            return self.encoder.encode_texts([clean_query(part.text)])
        if part.item is not None:
            return self.store.embeddings([part.item])
        assert part.image is not None
        return self._encode_image(part.image)

    def _encode_image(self, image: str | Path | bytes | Image) -> Embeddings:
        if isinstance(image, (str, Path)):
            image = Path(image)
            if not image.is_file():
                raise QueryError(f"{image} is not a file: give the path of an image to search with")
        try:
            return self.encoder.encode_images([image])
        except ImageError as error:
            raise ImageError(f"{image}: {error}" if isinstance(image, Path) else str(error)) from error


def notes_on(text: str, encoder: Encoder) -> tuple[str, ...]:
    """Notes for the user on how an encoder reads a text, one sentence each."""
    notes = list[str]()
    if encoder.cuts(text):
        notes.append("the query is longer than the model reads; its end was cut and ignored")
    if unread := unread_by(encoder, text):
        named = ", ".join(repr(word[:20]) for word in unread[:3])
        notes.append(f"the model can't read {named}: its training captions did not have such letters")
    return tuple(notes)


def import_index(
    folder: str | Path,
    out: str | Path,
    model: str | Path | Encoder | None = None,
    *,
    ids: str | Path | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Makes an index at `out` from a folder that `Index.export` or clip-retrieval wrote, or from a file .npy.

    Args:
        folder: the exported folder.
        out: the index folder to make.
        model: the model that made the vectors; needed if the folder does not name it, else compared with it.
        ids: a list of ids in the order of the vectors, in place of the folder's metadata.
        strict: refuse a folder with a bad vector or a repeated id.
        progress: see `types.Progress`; it counts items.

    Returns:
        ``index``, ``items``, ``kinds``, ``widths``, ``failed`` and ``notes``. See `exchange.import_index`.
    """
    made_by = None
    if model is not None:
        encoder = _encoder(model)
        made_by = exchange.ModelRecord(
            name=_name(encoder),
            fingerprint=encoder.fingerprint,
            widths=encoder.widths,
            preprocessing=encoder.preprocessing.model_dump(mode="json"),
        )
    return exchange.import_index(folder, out, model=made_by, ids=ids, strict=strict, progress=progress)


def _text_samples(
    texts: Path | Source | Iterable[str],
    ids: Sequence[str] | None,
    meta: Sequence[Mapping[str, Any]] | None,
    split: str | None,
) -> Iterable[Sample]:
    if isinstance(texts, Path):
        return open_texts(texts, split=split)
    return texts if isinstance(texts, Source) else ingest.text_samples(texts, ids, meta)


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3


def _described(hits: Hits, encode_ms: float, notes: Iterable[str]) -> Hits:
    """The hits with the time of encoding, and the notes on the query before those on the search."""
    return replace(hits, timings_ms=replace(hits.timings_ms, encode=encode_ms), notes=(*notes, *hits.notes))


def _encoder(model: str | Path | Encoder, *, runtime: str | None = None, threads: int = 0) -> Encoder:
    if not isinstance(model, (str, Path)):
        return model
    return load(model, runtime=runtime, threads=threads)


def _name(encoder: Encoder) -> str:
    """The name for the manifest, by which `open` can load the model from any working directory."""
    return str(Path(encoder.name).resolve()) if Path(encoder.name).is_dir() else encoder.name


def _opened(model: str | Path | Encoder, store: Store, threads: int) -> Encoder:
    """The encoder for a store, in the runtime that made its vectors."""
    try:
        return _encoder(model, runtime=runtime_of(store.model_fingerprint), threads=threads)
    except ModelError as error:
        if model != store.model_name:
            raise
        raise ModelError(
            f"the index was made with the model {store.model_name!r}, which can't be loaded: {error}. "
            "Give the path of that model with --model, or model=..."
        ) from error
