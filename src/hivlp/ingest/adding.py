"""What adding pictures and adding texts have in common: which samples are new, what becomes of the others."""

from __future__ import annotations

import itertools
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from hivlp.data.sources import Source
from hivlp.encode.rotated import fitted_first
from hivlp.ingest.report import AddReport
from hivlp.types import Failure, Item, Progress, Sample

if TYPE_CHECKING:
    from hivlp.encode import EncodedBatch, Encoder
    from hivlp.stores.base import Store


class Adding(ABC):
    """One run over a source: its report so far, and what it works on. A subclass is one kind of items."""

    kind: ClassVar[str]

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

    @abstractmethod
    def problem(self, sample: Sample) -> str | None:
        """Why a sample is nothing of this kind, else None."""

    @abstractmethod
    def sha256(self, sample: Sample) -> str | None:
        """The hash of a sample's content; None where it can't be read."""

    @abstractmethod
    def encoded(self, fresh: Iterator[Sample]) -> Iterator[EncodedBatch]:
        """The samples in batches with their embeddings."""

    @abstractmethod
    def kept(self, samples: list[Sample]) -> None:
        """Called with samples that are in the index now, were they written or there before."""

    def run(self) -> AddReport:
        for batch in fitted_first(self.encoder, self.encoded(self._fresh())):
            self.report.failed += batch.failures
            if batch.samples:
                items = [
                    self._item(sample, sha256=sha256, size=size)
                    for sample, sha256, size in zip(batch.samples, batch.sha256, batch.sizes, strict=True)
                ]
                self.report.replaced += self.store.append(items, batch.embeddings).replaced
                self.report.indexed += len(items)
                self.kept(batch.samples)
            self._tell()
        self.report.failed += getattr(self.source, "failures", [])
        self.report.notes += getattr(self.source, "notes", [])
        self._tell()
        return self.report

    def _fresh(self) -> Iterator[Sample]:
        """The samples to encode; the others are counted, and described anew where only that has changed."""
        samples = self._usable()
        while chunk := list(itertools.islice(samples, self.batch_size)):
            chunk = self._told_apart(chunk)
            known = self.store.fetch([sample.id for sample in chunk])
            skipped: list[Sample] = []
            described: list[Item] = []
            for sample, item in zip(chunk, known, strict=True):
                if item is None or not (self.resume or self._same_content(item, sample)):
                    yield sample
                    continue
                skipped.append(sample)
                now = self._item(sample, sha256=item.sha256, size=(item.width, item.height))
                if not self.resume and _description(now) != _description(item):
                    described.append(now)
            if described:
                # Same content, so the store keeps its vectors and writes the description only.
                self.store.append(described, self.store.embeddings([item.id for item in described]))
            self.report.skipped += len(skipped)
            self.kept(skipped)
            self._tell()

    def _told_apart(self, chunk: list[Sample]) -> list[Sample]:
        """The samples, those whose id belongs to another thing of the index by their whole uri.

        Two folders may both hold an IMG_1.jpg; adding the second must not replace what the first one gave.
        """
        known = self.store.fetch([sample.id for sample in chunk])
        apart = [
            replace(sample, id=sample.uri) if item is not None and self._another(item, sample) else sample
            for sample, item in zip(chunk, known, strict=True)
        ]
        usable: list[Sample] = []
        for sample, item in zip(apart, self.store.fetch([sample.id for sample in apart]), strict=True):
            if item is None or item.kind == self.kind:
                usable.append(sample)
            else:
                self._failed(sample, f"has the id {sample.id!r} of an item of kind {item.kind}; rename it")
        return usable

    def _usable(self) -> Iterator[Sample]:
        seen: set[str] = set()
        for sample in self.source:
            problem = self.problem(sample)
            if problem is not None:
                self._failed(sample, problem)
            elif sample.id in seen:
                self._failed(sample, f"has the id {sample.id!r} of an earlier one; the first one is kept")
            else:
                seen.add(sample.id)
                yield sample

    def _another(self, item: Item, sample: Sample) -> bool:
        """Whether item and sample of one id are two things in two places, rather than one that changed."""
        if item.kind != self.kind:
            return True
        named_by_path = sample.uri.endswith(sample.id) and item.uri.endswith(item.id)
        return named_by_path and item.uri != sample.uri and not self._same_content(item, sample)

    def _same_content(self, item: Item, sample: Sample) -> bool:
        return item.sha256 is not None and self.sha256(sample) == item.sha256

    def _failed(self, sample: Sample, error: str) -> None:
        self.report.failed.append(Failure(uri=sample.uri, error=error))

    def _tell(self) -> None:
        report = self.report
        report.seconds = time.perf_counter() - self.start
        if self.progress is not None:
            failed = len(report.failed)
            done = report.indexed + report.skipped + failed
            self.progress(f"{report.skipped:,} skipped, {failed:,} failed", done, self.total)

    def _item(self, sample: Sample, *, sha256: str | None, size: tuple[int | None, int | None]) -> Item:
        """An item shows one caption; all of them, and the split, are kept in its metadata."""
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


def _description(item: Item) -> tuple[str, str | None, str]:
    return item.uri, item.caption, json.dumps(dict(item.meta), sort_keys=True, default=str)
