"""`Index`, the façade a user holds: an encoder beside a store. It knows no file format and no ranking.

index = Index.create("photos.hivlp", "mini")
index.add("my/photos")
hits = index.search("two dogs on a beach", k=10)
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
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
from hivlp.errors import ImageError, ModelError, QueryError
from hivlp.ingest import AddReport, Pruned
from hivlp.match import MatchModel
from hivlp.search.query import Part, clean_query, items_of, mixed
from hivlp.search.request import Asked, SearchOptions
from hivlp.search.rerank import HOW_TO_TRAIN, Reranking, Scorer, has_head, open_scorer
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, Hits, Item, Progress, Sample

if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import Unpack

    from hivlp.encode import Encoder
    from hivlp.search.tuned import Tuned
    from hivlp.stores.base import Store


class Index:
    """A searchable collection of pictures: an encoder beside a store. Use `create` or `open` to get one."""

    def __init__(self, store: Store, encoder: Encoder) -> None:
        store.check_model(encoder.fingerprint, encoder.name)
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
            model: a model's name or folder, or an encoder that was loaded before.
            dtype: how the vectors are stored.

        Raises:
            IndexFolderError: there is something at `path`.
            ModelError: there is no such model.
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
        """The index at `path`, open for writing; a new one where there is nothing yet."""
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
        """An index that exists.

        Args:
            path: its folder.
            model: None loads the model that the index names. Another one than made the index is refused.
            writable: take the lock, so that `add` and `delete` work. There is one writer at a time.
            threads: that compute embeddings, where the model is loaded here; 0 leaves it to the runtime.

        Raises:
            IndexFolderError: there is no index, or it was made with another model.
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
        """Indexes every picture of a source that the index does not hold yet.

        What has the id and the content hash of an indexed item is skipped without being decoded (a changed
        caption or place is taken over); what has its id and another content replaces it. Whatever can't be
        used is listed and never fatal. Each batch is durable before the next: a kill loses at most the batch
        in flight, and a second call goes on.

        Args:
            source: a folder, a file of captions, another spec of `data.sources.open_source`, or samples.
            split: only this split of the source.
            image_root: where the pictures lie that a caption file names by relative paths.
            batch_size: pictures a batch.
            workers: threads that decode beside the model.
            resume: skip every item whose id is known, without reading its file to compare the content.
            captions: also keep each caption as an item of kind ``text``, with the id
                ``<id of the picture>#<n>`` and the metadata ``{"of": <id of the picture>}``.
            progress: called after every batch; see `types.Progress`.
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
        """Indexes texts, as items of kind ``text`` whose caption is the text; what is known is skipped.

        Args:
            texts: the texts; or a ``Path``, of a ``.txt`` with one a line or of a table with a column
                ``text`` or ``caption``; or what `data.sources.open_texts` gives.
            ids: one a text; without them a text is named by its content, and the same text is one item.
            meta: metadata, one mapping a text.
            split: only this split of a table.
            batch_size: texts a batch. Each batch is durable before the next.
            resume: skip every item whose id is known, without comparing the content.
            progress: called after every batch; see `types.Progress`.

        Raises:
            DataError: the file can't be read as texts.
            QueryError: the numbers of texts, ids and metadata differ.
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
        if not isinstance(self.store, LocalStore):
            raise QueryError("only an index folder of this machine can be exported; open one")
        return exchange.export_index(self.store, out, shard_size=shard_size, progress=progress)

    def delete(self, ids: Iterable[str]) -> int:
        """Removes items by id. Returns how many there were; unknown ids are no error."""
        return self.store.delete(ids)

    def prune(self, folder: str | Path) -> Pruned:
        """Removes the pictures below a folder whose files are gone, and the captions kept beside them.

        Only what is surely gone goes: where the folder above a missing file is empty, as that of a disk that
        is not mounted, it stays and a note says so.

        Args:
            folder: what was indexed, or a folder in it.

        Returns:
            The ids of what was removed, and notes.

        Raises:
            QueryError: the store is no index folder of this machine.
            IndexFolderError: the index is open for reading only.
        """
        if not isinstance(self.store, LocalStore):
            raise QueryError("only an index folder on this machine can be pruned; open one")
        self.store.check_writable()
        return ingest.prune(self.store, Path(folder).absolute())

    def search(
        self,
        text: str,
        k: int = 10,
        **options: Unpack[SearchOptions],
    ) -> Hits:
        """The k items that fit the words best, best first.

        Args:
            text: what to look for. What is longer than the model reads is cut, and a note says so.
            k: how many hits; fewer come back where the index, or `candidates`, is smaller.
            options: see `hivlp.search.request.SearchOptions`.

        Raises:
            QueryError: the text is empty, a number is out of range, or the filter can't be understood.
        """
        return self.search_batch([text], k, **options)[0]

    def search_batch(
        self,
        texts: Sequence[str],
        k: int = 10,
        **options: Unpack[SearchOptions],
    ) -> list[Hits]:
        """`search` for several texts at once; the milliseconds of the batch are shared out evenly."""
        asked = Asked.of(options)
        if isinstance(texts, str):  # whose letters would be searched one by one
            raise QueryError(
                f"several texts are wanted, and {texts[:40]!r} is one; give [text], or search it"
            )
        cleaned = [clean_query(text) for text in texts]
        if not cleaned:
            return []
        start = time.perf_counter()
        embeddings = self.encoder.encode_texts(cleaned)
        found = self._found(embeddings, k, asked, start=start, texts=cleaned)
        return [
            replace(hits, notes=(*notes_on(text, self.encoder), *hits.notes))
            for hits, text in zip(found, cleaned, strict=True)
        ]

    def search_image(
        self,
        image: str | Path | bytes | Image,
        k: int = 10,
        **options: Unpack[SearchOptions],
    ) -> Hits:
        """The k items that are most like a picture: a path, encoded bytes or a PIL image. See `search`.

        Raises:
            ImageError: the picture can't be decoded.
            QueryError: there is no such file, or a number is out of range.
        """
        asked = Asked.of(options, words=False)
        start = time.perf_counter()
        return self._found(self._of_image(image), k, asked, start=start)[0]

    def search_item(
        self,
        name: str,
        k: int = 10,
        **options: Unpack[SearchOptions],
    ) -> Hits:
        """The k items that are most like an item of the index, by its stored vectors; without itself.

        Raises:
            QueryError: no item has this id, or a number is out of range. See `search`.
        """
        return self.search_mix([Part(item=name)], k, **options)

    def search_mix(self, parts: Sequence[Part], k: int = 10, **options: Unpack[SearchOptions]) -> Hits:
        """The k items that fit a mix best, such as a picture and the words "at night"; without its own items.

        Args:
            parts: words, pictures and items with their weights. At every level the vector that is searched is
                the weighted sum of theirs.
            k: how many hits.
            options: see `hivlp.search.request.SearchOptions`. Only searches by words alone have
                probabilities.

        Raises:
            QueryError: a part or an option can't be, or the parts cancel each other out.
            ImageError: a picture can't be decoded.
        """
        asked = Asked.of(options, words=False)
        start = time.perf_counter()
        embeddings = mixed([self._of_part(part) for part in parts], [part.weight for part in parts])
        return self._found(embeddings, k, asked, start=start, without=items_of(parts))[0]

    def search_vectors(
        self,
        queries: Embeddings,
        k: int = 10,
        *,
        texts: Sequence[str] | None = None,
        without: Collection[str] = (),
        **options: Unpack[SearchOptions],
    ) -> list[Hits]:
        """The k items nearest to each of Q vectors that the encoder, or `mixed`, made before.

        Args:
            queries: unit vectors at the levels of the index, Q × D at each.
            k: how many hits a query.
            texts: the words that the vectors are of, so that pictures get their match probabilities, and can
                be re-ranked.
            without: ids that no answer shall hold.
            options: see `hivlp.search.request.SearchOptions`.

        Raises:
            QueryError: a vector or an option can't be.
        """
        asked = Asked.of(options, words=texts is not None)
        return self._found(queries, k, asked, texts=texts, without=without)

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
        """Measures plans on this index and keeps those that hold their recall; see `hivlp.tune.tune`.

        Measured with your queries, else with captions of the pictures, else (where fewer than 50 pictures
        have one) with points between items. The result says which.

        Args:
            recall: the recall@k that a search must keep, in (0, 1].
            k: results that the recall counts.
            queries: texts, better some hundred: real ones make the promise worth most.
            count: how many captions or points to take.
            kinds: kinds of coarse indexes to try.
            seed: of the choice of captions or points.
            progress: see `types.Progress`; it counts plans.

        Raises:
            QueryError: an impossible target, or too few queries.
            IndexFolderError: the index is open for reading only.
        """
        if not isinstance(self.store, LocalStore):
            raise QueryError("only an index folder on this machine can be tuned; a server has its own ways")
        tuning.check(self.store, recall, k, kinds)
        texts = None if queries is None else [clean_query(text) for text in queries]
        asked = tuning.tuning_queries(self.store, self.encoder, texts, count, seed)
        return tuning.tune(self.store, asked, recall=recall, k=k, kinds=kinds, progress=progress)

    def __len__(self) -> int:
        return self.store.count()

    def refresh(self) -> bool:
        """Takes up what other processes have written since. True where there was something."""
        return self.store.refresh()

    def info(self) -> dict[str, Any]:
        """What the index holds, JSON-compatible."""
        return self.store.info()

    def close(self) -> None:
        """Gives back files and the lock."""
        self.store.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _found(
        self,
        queries: Embeddings,
        k: int,
        asked: Asked,
        *,
        start: float | None = None,
        texts: Sequence[str] | None = None,
        without: Collection[str] = (),
    ) -> list[Hits]:
        """Searches; ``start`` is when encoding the queries began, ``texts`` are their words."""
        asked.check_depth(k)
        encode_ms = 0.0 if start is None else (time.perf_counter() - start) * 1e3 / max(len(queries), 1)
        rerank = self._reranking(texts, asked)
        found = self.store.search(
            queries,
            k=k + len(without) if k > 0 else k,
            plan=asked.plan,
            recall=asked.recall,
            rerank=rerank,
            where=asked.where,
            kind=asked.kind,
        )
        if rerank is not None:
            found = [replace(h, notes=(*h.notes, *rerank.note(query))) for query, h in enumerate(found)]
        match = self.match if texts is not None else None
        return [asked.kept(_timed(_others(hits, without, k), encode_ms), match) for hits in found]

    def _reranking(self, texts: Sequence[str] | None, asked: Asked) -> Reranking | None:
        if asked.rerank is None or texts is None:
            return None
        if self._scorer is None:
            if not has_head(self.encoder.name):
                raise QueryError(
                    f"rerank={asked.rerank} can't be: the model of this index has no fusion head to re-rank "
                    f"with. Leave it out, or index with a model that has one ({HOW_TO_TRAIN})"
                )
            self._scorer = open_scorer(self.encoder.name)
        return Reranking(self._scorer, self.encoder, self.place, texts, asked.rerank)

    def place(self, item: Item) -> str:
        """Where the picture of an item lies: its ``uri``; one sent to a service moves with its index."""
        return item.uri if self._folder is None else place_of(item, self._folder)

    @property
    def match(self) -> MatchModel | None:
        """How likely a hit of a search by words is a match: as tuning found, else as training did."""
        return self.store.match or self._match_of_model

    @cached_property
    def _match_of_model(self) -> MatchModel | None:
        return stored_match(self.encoder)

    @cached_property
    def _folder(self) -> Path | None:
        path = self.store.info().get("path")
        return None if path is None else Path(path)

    def _of_part(self, part: Part) -> Embeddings:
        if part.text is not None:
            return self.encoder.encode_texts([clean_query(part.text)])
        return self.store.embeddings([part.item]) if part.item is not None else self._of_image(part.image)

    def _of_image(self, image: str | Path | bytes | Image | None) -> Embeddings:
        if isinstance(image, (str, Path)):
            image = Path(image)
            if not image.is_file():
                raise QueryError(f"{image} is no file; give the path of a picture to search with")
        assert image is not None
        try:
            return self.encoder.encode_images([image])
        except ImageError as error:
            raise ImageError(f"{image}: {error}" if isinstance(image, Path) else str(error)) from error


def notes_on(text: str, encoder: Encoder) -> tuple[str, ...]:
    """What a person should know of how an encoder reads a text: one sentence a note."""
    notes = list[str]()
    if encoder.cuts(text):
        notes.append("the query is longer than the model reads; its end was cut and does not count")
    if unread := unread_by(encoder, text):
        named = ", ".join(repr(word[:20]) for word in unread[:3])
        notes.append(
            f"the model can't read {named}: such letters were not in the captions that it learned from"
        )
    return tuple(notes)


def import_index(
    folder: str | Path,
    out: str | Path,
    model: str | Path | Encoder | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Makes an index at `out` of a folder that `Index.export` or clip-retrieval wrote.

    Args:
        folder: it.
        out: the index folder to make.
        model: what made the vectors; needed where the folder does not say it, and checked where it does.
        progress: see `types.Progress`; it counts items.

    Returns:
        ``index``, ``items``, ``kinds``, ``widths`` and ``notes``. See `exchange.import_index`.
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
    return exchange.import_index(folder, out, model=made_by, progress=progress)


def _text_samples(
    texts: Path | Source | Iterable[str],
    ids: Sequence[str] | None,
    meta: Sequence[Mapping[str, Any]] | None,
    split: str | None,
) -> Iterable[Sample]:
    if isinstance(texts, Path):
        return open_texts(texts, split=split)
    return texts if isinstance(texts, Source) else ingest.text_samples(texts, ids, meta)


def _others(hits: Hits, without: Collection[str], k: int) -> Hits:
    """The first k hits that are none of some items, ranked anew."""
    if not without:
        return hits
    left = [hit for hit in hits if hit.id not in without][:k]
    return replace(hits, hits=tuple(replace(hit, rank=rank) for rank, hit in enumerate(left, start=1)))


def _timed(hits: Hits, encode_ms: float) -> Hits:
    return replace(hits, timings_ms=replace(hits.timings_ms, encode=encode_ms)) if encode_ms else hits


def _encoder(model: str | Path | Encoder, *, runtime: str | None = None, threads: int = 0) -> Encoder:
    if not isinstance(model, (str, Path)):
        return model
    return load(model, runtime=runtime, threads=threads)


def _name(encoder: Encoder) -> str:
    """The name for the manifest: one by which `open` can load the model from any working directory."""
    return str(Path(encoder.name).resolve()) if Path(encoder.name).is_dir() else encoder.name


def _opened(model: str | Path | Encoder, store: Store, threads: int) -> Encoder:
    """The encoder of a store, run as what it holds was made."""
    try:
        return _encoder(model, runtime=runtime_of(store.model_fingerprint), threads=threads)
    except ModelError as error:
        if model != store.model_name:
            raise
        raise ModelError(
            f"the index was made with the model {store.model_name!r}, which can't be loaded: {error}. "
            "Name the place of that model with --model, or model=..."
        ) from error
