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
from typing import TYPE_CHECKING, Any

from hivlp import ingest
from hivlp.data.originals import place_of
from hivlp.data.sources import Source, open_given, open_texts
from hivlp.encode.base import stored_match
from hivlp.errors import QueryError
from hivlp.ingest import AddReport
from hivlp.inputs import ImageLike, as_image, check_count
from hivlp.match import MatchModel
from hivlp.progress import Shown, shown
from hivlp.retriever.stored import StoredIndex
from hivlp.search.grouping import least_cosine
from hivlp.search.notes import notes_on, spelled
from hivlp.search.query import Part, Query, clean_query, items_of, mixed, parts_of, words_of
from hivlp.search.request import SearchRequest, takes_search_options
from hivlp.search.rerank import HOW_TO_TRAIN, FusionReranker, Scorer, has_head, open_scorer
from hivlp.types import Embeddings, Hits, Item, Sample

if TYPE_CHECKING:
    pass


class Index(StoredIndex):
    """A searchable collection of images and texts. Use `create` or `open` to get one."""

    _scorer: Scorer | None = None

    def add(
        self,
        source: str | Path | ImageLike | Sample | Iterable[str | Path | ImageLike | Sample],
        *,
        split: str | None = None,
        image_root: Path | None = None,
        batch_size: int = 32,
        workers: int = 2,
        resume: bool = False,
        captions: bool = False,
        progress: Shown = None,
    ) -> AddReport:
        """Indexes every image of a source that the index does not hold yet.

        An image with the id and the content hash of an indexed item is skipped without decoding (a changed
        caption or path is stored); with a known id and other content it replaces the item. Images that can't
        be used are listed in the report and never fatal. Each batch is durable before the next one starts: a
        kill loses at most the current batch, and a second call continues.

        Args:
            source: a folder, a file of captions or another spec of `data.sources.open_source`; or a list of
                paths (of images, folders and files of captions), of images in any form of
                `hivlp.inputs.as_image`, and of samples. An image from memory gets a hash of its pixels as its
                id; give a `Sample` for another one, and for captions.
            split: only this split of the source.
            image_root: folder of the images that a caption file or a list names by relative paths.
            batch_size: images per batch.
            workers: threads that decode images beside the model.
            resume: skip every item whose id is known, without reading its file to compare the content.
            captions: also store each caption as an item of kind ``text``, with the id
                ``<id of the image>#<n>`` and the metadata ``{"of": <id of the image>}``.
            progress: True shows a bar; or a function that is called after every batch, see `types.Progress`.

        Raises:
            DataError: the source can't be read, or something in the list is neither a path, an image nor a
                sample.
            IndexFolderError: the index is open for reading only.
        """
        check_count("batch_size", batch_size)
        check_count("workers", workers)
        samples = open_given(source, image_root=image_root, split=split)
        with shown(progress, "indexing") as advance:
            report = ingest.add(
                self.store,
                self.encoder,
                samples,
                batch_size=batch_size,
                workers=workers,
                resume=resume,
                captions=captions,
                progress=advance,
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
        progress: Shown = None,
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
            progress: True shows a bar; or a function that is called after every batch, see `types.Progress`.

        Raises:
            DataError: the file can't be read as texts.
            QueryError: texts, ids and metadata differ in number.
        """
        check_count("batch_size", batch_size)
        samples = _text_samples(texts, ids, meta, split)
        with shown(progress, "indexing", unit="texts") as advance:
            report = ingest.add_texts(
                self.store, self.encoder, samples, batch_size=batch_size, resume=resume, progress=advance
            )
        self.store.prepare()
        return report

    @takes_search_options
    def search(self, query: Query, request: SearchRequest) -> Hits:
        """The k items that fit a query best, best first.

            index.search("two dogs on a beach", k=5)
            index.search(Path("beach.jpg"), min_score=0.3)
            index.search(Part(item="beach.jpg"))
            index.search([Part(image="beach.jpg"), Part(text="at night", weight=0.5)])

        Args:
            query: words (``str``); an image in another form of `hivlp.inputs.as_image`: a ``Path``, encoded
                bytes, a file opened in binary mode, a PIL image or an array; a `Part`, such as an item of the
                index; or a list of parts, whose weighted sum is searched at every level. Items in
                the query are left out of the answer. A text longer than the model reads is cut, and a note
                says so.
            {options}

        Match probabilities and re-ranking are for words alone.

        Raises:
            QueryError: the query or an option is invalid, or the index can't serve the option.
            ImageError: an image can't be decoded.
        """
        return self._search_parts(parts_of(query), request)

    @takes_search_options
    def search_batch(self, texts: Sequence[str], request: SearchRequest) -> list[Hits]:
        """`search` for several texts at once, encoded and searched together.

        The milliseconds of the batch are shared out evenly.

        Args:
            texts: a list of texts; a single text goes to `search`.
            {options}

        Returns:
            The hits of each text, in their order.

        Raises:
            QueryError: a text or an option is invalid, or the index can't serve the option.
        """
        if isinstance(texts, str):  # its letters would be searched one by one
            raise QueryError(f"{texts[:40]!r} is one text: pass a list of texts, or use search")
        if not isinstance(texts, Iterable):
            raise QueryError(f"{texts!r:.40} ({type(texts).__name__}) is invalid: must be a list of texts")
        several = [parts_of(Part(text=clean_query(text))) for text in texts]
        if request.spell or any(words_of(parts) is None for parts in several):
            return [self._search_parts(parts, request) for parts in several]
        words = [part.text or "" for parts in several for part in parts]
        self.check(request, words=True)
        if not words:
            return []
        start = time.perf_counter()
        embeddings = self.encoder.encode_texts(words)
        encode_ms = _ms_since(start) / len(words)
        found = self._search(embeddings, request, texts=words)
        return [
            _described(hits, encode_ms, notes_on(text, self.encoder))
            for hits, text in zip(found, words, strict=True)
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
        if not isinstance(queries, Embeddings):
            raise QueryError(
                f"queries of type {type(queries).__name__} are invalid: must be Embeddings, as the encoder "
                "of the index gives them"
            )
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

    def _search_parts(self, parts: list[Part], request: SearchRequest) -> Hits:
        """The answer to one query, of the parts that `parts_of` gave."""
        corrections: tuple[str, ...] = ()
        if request.spell:
            parts, corrections = spelled(parts, self.encoder)
        words = words_of(parts)
        self.check(request, words=words is not None)
        start = time.perf_counter()
        embeddings = mixed([self._encode(part) for part in parts], [part.weight for part in parts])
        encode_ms = _ms_since(start)
        (hits,) = self._search(
            embeddings, request.leaving_out(items_of(parts)), texts=None if words is None else [words]
        )
        notes = [
            note for part in parts if part.text is not None for note in notes_on(part.text, self.encoder)
        ]
        return _described(hits, encode_ms, [*corrections, *notes])

    def _search(
        self, queries: Embeddings, request: SearchRequest, *, texts: Sequence[str] | None
    ) -> list[Hits]:
        rerank = None if texts is None or request.rerank is None else self._reranker(texts, request.rerank)
        found = self.store.search(
            queries,
            k=request.depth,
            plan=request.fixed_plan,
            recall=request.recall,
            rerank=rerank,
            where=request.filter,
            kind=request.searched_kind,
            without=request.without,
            group=least_cosine(self.encoder.name) if request.group else None,
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
            return self.encoder.encode_texts([part.text])
        if part.item is not None:
            return self.store.embeddings([part.item])
        assert part.image is not None
        return self._encode_image(part.image)

    def _encode_image(self, image: ImageLike) -> Embeddings:
        found = as_image(image)
        if isinstance(found, Path) and not found.is_file():
            raise QueryError(f"{found} is not a file: give the path of an image to search with")
        return self.encoder.encode_images([found])


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
