"""The common part of adding pictures and adding texts: it finds the samples that are new or changed."""

from __future__ import annotations

import itertools
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from hivlp.data.originals import is_there
from hivlp.data.sources import Source
from hivlp.encode.rotated import fitted_first
from hivlp.ingest.identity import is_named_by_place, is_same_file, is_same_name
from hivlp.ingest.report import AddReport
from hivlp.types import Failure, Item, Progress, Sample

if TYPE_CHECKING:
    from hivlp.encode import EncodedBatch, Encoder
    from hivlp.stores.base import Store


@dataclass(frozen=True, slots=True)
class Content:
    """What the content of a sample is known by.

    Attributes:
        sha256: None where it can't be read.
        facts: the metadata that it fills.
    """

    sha256: str | None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


class _Candidate:
    """A sample beside the item that it is, None where the index has no such item."""

    def __init__(self, sample: Sample, item: Item | None, read: Callable[[Sample], Content]) -> None:
        self.sample, self.item = sample, item
        self._read = read

    @cached_property
    def content(self) -> Content:
        """The content of the sample, read once."""
        return self._read(self.sample)

    def has_same_content(self) -> bool:
        return (
            self.item is not None and self.item.sha256 is not None and self.item.sha256 == self.content.sha256
        )


class Adding(ABC):
    """One run over a source, with its report so far. Each kind of items has a subclass."""

    kind: ClassVar[str]
    facts: ClassVar[tuple[str, ...]] = ()
    """The metadata keys that the content itself fills."""

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        source: Iterable[Sample],
        *,
        batch_size: int,
        resume: bool,
        progress: Progress | None,
    ) -> None:
        self.store = store
        self.encoder = encoder
        self.source = source
        self.batch_size = batch_size
        self.resume = resume
        self.progress = progress
        self.report = AddReport()
        self.start = time.perf_counter()
        self.total: int | None = source.count() if isinstance(source, Source) else None
        self.describes = getattr(source, "describes", True)
        self._seen = set[str]()

    @abstractmethod
    def problem(self, sample: Sample) -> str | None:
        """Why a sample is not an item of this kind; None where it is one."""

    @abstractmethod
    def read(self, sample: Sample) -> Content:
        """The hash of a sample's content, and what it says of itself."""

    @abstractmethod
    def encoded(self, fresh: Iterator[Sample]) -> Iterator[EncodedBatch]:
        """The samples in batches with their embeddings."""

    @abstractmethod
    def after_indexing(self, samples: list[Sample]) -> None:
        """Called with samples that are in the index now, new ones and known ones."""

    def at_their_places(self, samples: list[Sample]) -> list[Item | None]:
        """The item of each sample's place, whatever its id; None where there is no such item."""
        return [None] * len(samples)

    def run(self) -> AddReport:
        for batch in fitted_first(self.encoder, self.encoded(self._fresh())):
            self.report.failed += batch.failures
            self.report.partial += batch.partial
            self.keep(batch)
            self._report_progress()
        self.report.failed += getattr(self.source, "failures", [])
        self.report.notes += getattr(self.source, "notes", [])
        self._report_progress()
        return self.report

    def keep(self, batch: EncodedBatch) -> None:
        """Writes the samples of a batch."""
        if not batch.samples:
            return
        items = [
            self.item(sample, sha256=sha256, size=size)
            for sample, sha256, size in zip(batch.samples, batch.sha256, batch.sizes, strict=True)
        ]
        self.report.replaced += self.store.append(items, batch.embeddings).replaced
        self.report.indexed += len(items)
        self.after_indexing(batch.samples)

    def _fresh(self) -> Iterator[Sample]:
        """The samples to encode. Others are counted; where only a description has changed, it is written."""
        samples = self._usable()
        while chunk := list(itertools.islice(samples, self.batch_size)):
            skipped: list[Sample] = []
            described: dict[str, Item] = {}
            for candidate in self._candidates(chunk):
                item = candidate.item
                if item is None or not (self.resume or candidate.has_same_content()):
                    # The encoder reads a changed file again: its hash must be of the bytes that it encodes,
                    # and to keep the bytes of a chunk of photographs takes hundreds of megabytes.
                    yield self.kept(candidate.sample, item, has_new_content=True)
                    continue
                sample = self.kept(candidate.sample, item)
                if not self.resume:  # an index of an earlier version may know less of its files
                    sample = replace(sample, meta={**candidate.content.facts, **sample.meta})
                skipped.append(sample)
                now = self.item(sample, sha256=item.sha256, size=(item.width, item.height))
                self.report.moved += now.uri != item.uri
                if (not self.resume or now.uri != item.uri) and _description(now) != _description(item):
                    described[item.id] = now
            if described:
                self.store.describe(described)
            self.report.skipped += len(skipped)
            self.after_indexing(skipped)
            self._report_progress()

    def _candidates(self, chunk: list[Sample]) -> list[_Candidate]:
        """The samples with the items that they are: those of their places, else those of their ids.

        Where an id belongs to another thing of the index, the sample gets its whole uri as its id: two
        folders may both hold an IMG_1.jpg, and adding the second must not replace the first.
        """
        placed = [
            sample if item is None else _as_item(sample, item)
            for sample, item in zip(chunk, self.at_their_places(chunk), strict=True)
        ]
        items = self.store.fetch([sample.id for sample in placed])
        found = [_Candidate(sample, item, self.read) for sample, item in zip(placed, items, strict=True)]
        renamed = [one for one in found if self._is_another(one)]
        if renamed:
            items = self.store.fetch([one.sample.uri for one in renamed])
            for one, item in zip(renamed, items, strict=True):
                one.sample, one.item = replace(one.sample, id=one.sample.uri), item
        return [one for one, sample in zip(found, chunk, strict=True) if self._is_first(one, sample)]

    def _is_first(self, candidate: _Candidate, given: Sample) -> bool:
        """Whether a candidate is to be indexed: of this kind, and the first one of its id."""
        sample, item = candidate.sample, candidate.item
        if item is not None and item.kind != self.kind:
            self._failed(sample, f"has the id {sample.id!r} of an item of kind {item.kind}; rename it")
        elif sample.id not in self._seen:
            self._seen.add(sample.id)
            return True
        elif sample.id == given.id:
            self._failed(sample, f"has the id {sample.id!r} of an earlier sample; the first one is indexed")
        else:  # one file by two paths
            self.report.skipped += 1
        return False

    def _usable(self) -> Iterator[Sample]:
        for sample in self.source:
            problem = self.problem(sample)
            if problem is None:
                yield sample
            else:
                self._failed(sample, problem)

    def _is_another(self, candidate: _Candidate) -> bool:
        """Whether item and sample are two things in two places, rather than one that was changed or moved."""
        sample, item = candidate.sample, candidate.item
        if item is None:
            return False
        if item.kind != self.kind:
            return True
        if item.uri == sample.uri or not (is_named_by_place(sample) and is_named_by_place(item)):
            return False
        if is_same_file(item, sample):
            candidate.sample = replace(sample, uri=item.uri)
            return False
        return not candidate.has_same_content() or is_there(item.uri)

    def _failed(self, sample: Sample, error: str) -> None:
        self.report.failed.append(Failure(uri=sample.uri, error=error))

    def _report_progress(self) -> None:
        report = self.report
        report.seconds = time.perf_counter() - self.start
        if self.progress is not None:
            failed = len(report.failed)
            done = report.indexed + report.skipped + failed
            self.progress(f"{report.skipped:,} unchanged, {failed:,} failed", done, self.total)

    def kept(self, sample: Sample, item: Item | None, *, has_new_content: bool = False) -> Sample:
        """The sample with what the index knows of it, where the source says nothing about that.

        A folder knows captions of text files alone: those of a table that was indexed earlier stay. What a
        file said of itself stays as long as its content.
        """
        if item is None:
            return sample
        meta = dict(item.meta)
        if has_new_content:
            meta = {name: value for name, value in meta.items() if name not in self.facts}
        if self.describes:
            meta = {name: value for name, value in meta.items() if name in self.facts}
            return replace(sample, meta={**meta, **sample.meta})
        captions = meta.pop("captions", [] if item.caption is None else [item.caption])
        return replace(sample, captions=sample.captions or tuple(captions), meta={**meta, **sample.meta})

    def item(self, sample: Sample, *, sha256: str | None, size: tuple[int | None, int | None]) -> Item:
        """An item shows one caption; its metadata holds all of them, and the split."""
        meta = dict(sample.meta)
        if len(sample.captions) > 1:
            meta.setdefault("captions", list(sample.captions))
        if sample.split is not None:
            meta.setdefault("split", sample.split)
        return Item(
            id=sample.id,
            uri=sample.uri,
            kind=self.kind,
            caption=sample.captions[0] if sample.captions else None,
            meta=meta,
            sha256=sha256,
            width=size[0],
            height=size[1],
        )


def _as_item(sample: Sample, item: Item) -> Sample:
    """The sample as the item that its file is, which keeps its uri unless the name is spelled anew."""
    return replace(sample, id=item.id, uri=sample.uri if is_same_name(item.uri, sample.uri) else item.uri)


def _description(item: Item) -> tuple[str, str | None, str]:
    return item.uri, item.caption, json.dumps(dict(item.meta), sort_keys=True, default=str)
