"""Adds texts to a store: those of a list or a file, and the captions of pictures as items of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hivlp.data.sources.base import clean_text
from hivlp.encode import encode_text_stream
from hivlp.errors import QueryError
from hivlp.ingest.adding import Adding, Content
from hivlp.ingest.report import AddReport
from hivlp.inputs import as_texts
from hivlp.messages import counted
from hivlp.types import Item, Progress, Sample

if TYPE_CHECKING:
    from hivlp.encode import EncodedBatch, Encoder
    from hivlp.stores.base import Store


def add_texts(
    store: Store,
    encoder: Encoder,
    texts: Iterable[Sample],
    *,
    batch_size: int,
    resume: bool,
    progress: Progress | None,
) -> AddReport:
    """Encodes and stores the texts (the first captions) of samples that are new or changed."""
    adding = _Texts(store, encoder, texts, batch_size=batch_size, resume=resume, progress=progress)
    report = adding.run()
    report.cut = adding.cut
    if adding.cut:
        report.notes.append(
            f"{counted(adding.cut, 'text is', 'texts are')} longer than the model reads; the rest of each is "
            "ignored"
        )
    return report


def text_samples(
    texts: Iterable[str], ids: Sequence[str] | None = None, meta: Sequence[Mapping[str, Any]] | None = None
) -> Iterator[Sample]:
    """Plain texts as samples. Without ids a text is named by its content, so that equal texts are one item.

    Raises:
        QueryError: the numbers of texts, ids and metadata differ.
    """
    if isinstance(texts, str):
        raise QueryError(f"{texts[:40]!r} is a single text, and a list of texts is needed; pass [text]")
    texts = as_texts(texts)
    for name, others in (("ids", ids), ("meta", meta)):
        if isinstance(others, (str, Mapping)):
            raise QueryError(f"{name}={others!r:.40} is invalid: must be a list with one entry for each text")
        if others is not None and len(others) != len(texts):
            raise QueryError(
                f"{len(texts)} texts and {len(others)} {name} were passed; pass {name} of the same length"
            )
    return (_sample(text, n, ids, meta) for n, text in enumerate(texts))


def text_id(text: str) -> str:
    """The id of a text without a name: a hash of its content, so that equal texts are one item."""
    return f"text-{_sha256(clean_text(text))[:16]}"


def _sample(text: str, n: int, ids: Sequence[str] | None, meta: Sequence[Mapping[str, Any]] | None) -> Sample:
    text = clean_text(text)
    name = ids[n] if ids is not None else text_id(text)
    return Sample(id=name, uri=name, image=None, captions=(text,), meta=meta[n] if meta is not None else {})


class Captions:
    """The captions of pictures as items of kind ``text``, with ids like ``<id of the picture>#<n>``."""

    def __init__(
        self, store: Store, encoder: Encoder, report: AddReport, *, batch_size: int, resume: bool
    ) -> None:
        self.store = store
        self.encoder = encoder
        self.report = report
        self.batch_size = batch_size
        self.resume = resume

    def update(self, pictures: list[Sample]) -> None:
        """Writes the captions of these pictures and removes items of captions that they no longer have."""
        added = add_texts(
            self.store,
            self.encoder,
            (caption for picture in pictures for caption in _captions(picture)),
            batch_size=self.batch_size,
            resume=self.resume,
            progress=None,
        )
        self.report.captions += added.indexed
        self.report.cut += added.cut
        self.report.failed += added.failed
        self._remove_surplus(pictures)

    def _remove_surplus(self, pictures: list[Sample]) -> None:
        behind = [(picture.id, len(picture.captions)) for picture in pictures]
        while behind:
            names = [f"{name}#{n}" for name, n in behind]
            left = [
                (name, n)
                for (name, n), item in zip(behind, self.store.fetch(names), strict=True)
                if item is not None and item.kind == "text" and item.meta.get("of") == name
            ]
            self.store.delete(f"{name}#{n}" for name, n in left)
            behind = [(name, n + 1) for name, n in left]


def captions_of(store: Store, moved: Mapping[str, Item]) -> dict[str, Item]:
    """The captions of pictures that get new ids, as they are to be described then, by their ids so far.

    Args:
        moved: the pictures as they will be, by their ids so far.
    """
    found = dict[str, Item]()
    behind = [(name, 0) for name in moved]
    while behind:
        old = store.fetch([f"{name}#{n}" for name, n in behind])
        new = store.fetch([f"{moved[name].id}#{n}" for name, n in behind])
        left = list[tuple[str, int]]()
        for (name, n), item, other in zip(behind, old, new, strict=True):
            if item is None or item.kind != "text" or item.meta.get("of") != name:
                continue
            left.append((name, n + 1))
            picture = moved[name]
            if other is None or picture.id == name:
                found[item.id] = replace(
                    item,
                    id=f"{picture.id}#{n}",
                    uri=f"{picture.uri}#{n}",
                    meta={**item.meta, "of": picture.id},
                )
        behind = left
    return found


def _captions(picture: Sample) -> Iterator[Sample]:
    for n, caption in enumerate(picture.captions):
        yield Sample(
            id=f"{picture.id}#{n}",
            uri=f"{picture.uri}#{n}",
            image=None,
            captions=(caption,),
            meta={"of": picture.id},
        )


class _Texts(Adding):
    kind = "text"
    cut = 0

    def problem(self, sample: Sample) -> str | None:
        if sample.captions and sample.captions[0]:
            return None
        return "is an empty text, so there is nothing to index"

    def read(self, sample: Sample) -> Content:
        return Content(_sha256(sample.captions[0]))

    def after_indexing(self, samples: list[Sample]) -> None:
        """Nothing follows a text."""

    def encoded(self, fresh: Iterator[Sample]) -> Iterator[EncodedBatch]:
        for batch in encode_text_stream(self.encoder, fresh, batch_size=self.batch_size):
            self.cut += sum(self.encoder.cuts(sample.captions[0]) for sample in batch.samples)
            yield batch


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
