"""`Index`, the façade a user holds: an encoder beside a store. It knows no file format and no ranking.

index = Index.create("photos.hivlp", "mini")
index.add("my/photos")
hits = index.search("two dogs on a beach", k=10)
"""

from __future__ import annotations

import math
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hivlp import ingest
from hivlp.data.sources import Source, open_source, open_texts
from hivlp.encode import load
from hivlp.errors import ImageError, ModelError, QueryError
from hivlp.ingest import AddReport, Progress
from hivlp.plans import Plan
from hivlp.stores.local import LocalStore
from hivlp.types import KINDS, Embeddings, Hits, Sample

if TYPE_CHECKING:
    from PIL.Image import Image

    from hivlp.encode import Encoder
    from hivlp.stores.base import Store

Candidates: TypeAlias = "int | Literal['all']"


class Index:
    """A searchable collection of pictures: an encoder beside a store. Use `create` or `open` to get one."""

    def __init__(self, store: Store, encoder: Encoder) -> None:
        store.check_model(encoder.fingerprint, encoder.name)
        self.store = store
        self.encoder = encoder

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
        encoder = _encoder(model)
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
        cls, path: str | Path, model: str | Path | Encoder | None = None, *, writable: bool = False
    ) -> Index:
        """An index that exists.

        Args:
            path: its folder.
            model: None loads the model that the index names. Another one than made the index is refused.
            writable: take the lock, so that `add` and `delete` work. There is one writer at a time.

        Raises:
            IndexFolderError: there is no index, or it was made with another model.
            ModelError: the model can't be found.
        """
        store = LocalStore.open(path, writable=writable)
        try:
            return cls(store, _encoder(model if model is not None else _named_by(store)))
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
        progress: Callable[[Progress], None] | None = None,
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
            progress: called after every batch.
        """
        samples: Iterable[Sample] = (
            open_source(source, image_root=image_root, split=split)
            if isinstance(source, (str, Path))
            else source
        )
        return ingest.add(
            self.store,
            self.encoder,
            samples,
            batch_size=batch_size,
            workers=workers,
            resume=resume,
            captions=captions,
            progress=progress,
        )

    def add_texts(
        self,
        texts: Path | Source | Iterable[str],
        ids: Sequence[str] | None = None,
        meta: Sequence[Mapping[str, Any]] | None = None,
        *,
        split: str | None = None,
        batch_size: int = 256,
        resume: bool = False,
        progress: Callable[[Progress], None] | None = None,
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
            progress: called after every batch.

        Raises:
            DataError: the file can't be read as texts.
            QueryError: the numbers of texts, ids and metadata differ.
        """
        samples = _text_samples(texts, ids, meta, split)
        return ingest.add_texts(
            self.store, self.encoder, samples, batch_size=batch_size, resume=resume, progress=progress
        )

    def delete(self, ids: Iterable[str]) -> int:
        """Removes items by id. Returns how many there were; unknown ids are no error."""
        return self.store.delete(ids)

    def search(
        self,
        text: str,
        k: int = 10,
        *,
        candidates: Candidates | None = None,
        exact: bool = False,
        plan: Plan | None = None,
        min_score: float | None = None,
        where: str | None = None,
        kind: str | None = None,
    ) -> Hits:
        """The k items that fit the words best, best first.

        Args:
            text: what to look for. What is longer than the model reads is cut, and a note says so.
            k: how many hits; fewer come back where the index, or `candidates`, is smaller.
            candidates: how many rows the coarse level hands to the fine one; None leaves it to the index.
            exact: score every item at the finest level.
            plan: the whole recipe, instead of `candidates` and `exact`.
            min_score: keep only hits with at least this cosine at the finest level, in [-1, 1]; when that
                leaves none, a note tells the best score that there was.
            where: only items that meet this filter, such as ``"color = 'red' and price < 20"``; a note says
                so where it leaves fewer than k. The language is described in ``docs/search.md``.
            kind: only items of this kind, ``image`` or ``text``; None for all.

        Raises:
            QueryError: the text is empty, a number is out of range, or the filter can't be understood.
        """
        return self.search_batch(
            [text],
            k,
            candidates=candidates,
            exact=exact,
            plan=plan,
            min_score=min_score,
            where=where,
            kind=kind,
        )[0]

    def search_batch(
        self,
        texts: Sequence[str],
        k: int = 10,
        *,
        candidates: Candidates | None = None,
        exact: bool = False,
        plan: Plan | None = None,
        min_score: float | None = None,
        where: str | None = None,
        kind: str | None = None,
    ) -> list[Hits]:
        """`search` for several texts at once; the milliseconds of the batch are shared out evenly."""
        plan = _plan(candidates, exact, plan)
        _check_score(min_score)
        _check_kind(kind)
        cleaned = [clean_query(text) for text in texts]
        if not cleaned:
            return []
        start = time.perf_counter()
        embeddings = self.encoder.encode_texts(cleaned)
        found = self._found(embeddings, start, k, plan, min_score, where, kind)
        return [
            replace(hits, notes=(*self._notes(text), *hits.notes))
            for hits, text in zip(found, cleaned, strict=True)
        ]

    def search_image(
        self,
        image: str | Path | bytes | Image,
        k: int = 10,
        *,
        candidates: Candidates | None = None,
        exact: bool = False,
        plan: Plan | None = None,
        min_score: float | None = None,
        where: str | None = None,
        kind: str | None = None,
    ) -> Hits:
        """The k items that are most like a picture: a path, encoded bytes or a PIL image. See `search`.

        Raises:
            ImageError: the picture can't be decoded.
            QueryError: there is no such file, or a number is out of range.
        """
        plan = _plan(candidates, exact, plan)
        _check_score(min_score)
        _check_kind(kind)
        if isinstance(image, (str, Path)):
            image = Path(image)
            if not image.is_file():
                raise QueryError(f"{image} is no file; give the path of a picture to search with")
        start = time.perf_counter()
        try:
            embeddings = self.encoder.encode_images([image])
        except ImageError as error:
            raise ImageError(f"{image}: {error}" if isinstance(image, Path) else str(error)) from error
        return self._found(embeddings, start, k, plan, min_score, where, kind)[0]

    def search_item(
        self,
        name: str,
        k: int = 10,
        *,
        candidates: Candidates | None = None,
        exact: bool = False,
        plan: Plan | None = None,
        min_score: float | None = None,
        where: str | None = None,
        kind: str | None = None,
    ) -> Hits:
        """The k items that are most like an item of the index, by its stored vectors; without itself.

        Raises:
            QueryError: no item has this id, or a number is out of range. See `search`.
        """
        plan = _plan(candidates, exact, plan)
        _check_score(min_score)
        _check_kind(kind)
        start = time.perf_counter()
        embeddings = self.store.embeddings([name])
        (hits,) = self._found(embeddings, start, k + 1 if k > 0 else k, plan, None, where, kind)
        others = [hit for hit in hits if hit.id != name][:k]
        hits = replace(hits, hits=tuple(replace(hit, rank=n) for n, hit in enumerate(others, start=1)))
        return hits if min_score is None else _at_least(min_score, hits)

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
        embeddings: Embeddings,
        start: float,
        k: int,
        plan: Plan | None,
        min_score: float | None,
        where: str | None,
        kind: str | None,
    ) -> list[Hits]:
        encode_ms = (time.perf_counter() - start) * 1000 / len(embeddings)
        found = self.store.search(embeddings, k=k, plan=plan, where=where, kind=kind)
        timed = [replace(hits, timings_ms=replace(hits.timings_ms, encode=encode_ms)) for hits in found]
        return timed if min_score is None else [_at_least(min_score, hits) for hits in timed]

    def _notes(self, text: str) -> list[str]:
        cut = self.encoder.cuts(text)
        return ["the query is longer than the model reads; its end was cut and does not count"] if cut else []


def _text_samples(
    texts: Path | Source | Iterable[str],
    ids: Sequence[str] | None,
    meta: Sequence[Mapping[str, Any]] | None,
    split: str | None,
) -> Iterable[Sample]:
    if isinstance(texts, Path):
        return open_texts(texts, split=split)
    return texts if isinstance(texts, Source) else ingest.text_samples(texts, ids, meta)


def clean_query(text: str) -> str:
    """The text without control characters and surrounding space.

    Raises:
        QueryError: nothing that can be seen is left.
    """
    # Control characters, and surrogates (undecodable bytes of a command line), would upset a tokenizer.
    # Format characters stay: they join the parts of emoji and of Persian words. Alone they show nothing.
    visible = "".join(" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in text)
    words = " ".join(visible.split())
    if all(unicodedata.category(letter) == "Cf" for letter in words.replace(" ", "")):
        raise QueryError(
            f"the query {text[:20]!r} has no visible character; give some words, such as 'a dog in the snow'"
        )
    return words


def _plan(candidates: Candidates | None, exact: bool, plan: Plan | None) -> Plan | None:
    if sum((candidates is not None, exact, plan is not None)) > 1:
        raise QueryError("candidates, exact and plan exclude each other; give one of them")
    if exact:
        return Plan(name="exact", candidates="all")
    return plan if candidates is None else Plan(candidates=candidates)


def _check_score(min_score: float | None) -> None:
    if min_score is not None and not -1 <= min_score <= 1:  # NaN is refused too
        raise QueryError(
            f"min_score={min_score} can't be; scores are cosines, so it must be in [-1, 1], such as 0.2"
        )


def _check_kind(kind: str | None) -> None:
    if kind is not None and kind not in KINDS:
        raise QueryError(f"there is no kind {kind!r} of items; take {' or '.join(KINDS)}, or leave it out")


def _at_least(min_score: float, hits: Hits) -> Hits:
    """The hits with this score or a better one; a note where there is none of them."""
    kept = tuple(hit for hit in hits if hit.score >= min_score)
    if kept or not hits.hits:
        return replace(hits, hits=kept)
    best = math.floor(max(hit.score for hit in hits) * 1000) / 1000  # downwards: it never looks like enough
    return replace(
        hits,
        hits=kept,
        notes=(*hits.notes, f"nothing scored at least {min_score:g}; the best was {best:.3f}"),
    )


def _encoder(model: str | Path | Encoder) -> Encoder:
    return load(model) if isinstance(model, (str, Path)) else model


def _name(encoder: Encoder) -> str:
    """The name for the manifest: one by which `open` can load the model from any working directory."""
    return str(Path(encoder.name).resolve()) if Path(encoder.name).is_dir() else encoder.name


def _named_by(store: Store) -> Encoder:
    try:
        return load(store.model_name)
    except ModelError as error:
        raise ModelError(
            f"the index was made with the model {store.model_name!r}, which can't be loaded: {error}. "
            "Name the place of that model with --model, or model=..."
        ) from error
