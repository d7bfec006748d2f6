"""Adds pictures to a store and, on request, each of their captions as an item of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from hivlp.data.facts import NAMES, facts_of
from hivlp.data.originals import is_contact_sheet
from hivlp.data.sources.folder import FolderSource
from hivlp.encode import encode_stream
from hivlp.ingest.adding import Adding, Content
from hivlp.ingest.identity import is_named_by_place, is_same_file, moved_from, places
from hivlp.ingest.pruning import count_gone
from hivlp.ingest.report import AddReport
from hivlp.ingest.texts import Captions, captions_of
from hivlp.messages import counted
from hivlp.types import Item, Progress, Sample

if TYPE_CHECKING:
    from hivlp.encode import EncodedBatch, Encoder
    from hivlp.stores.base import Store


def with_facts(sample: Sample, data: bytes) -> Sample:
    """The sample with what its file says of itself; what the source says of it counts more."""
    facts = facts_of(data, _name(sample))
    return replace(sample, meta={**facts, **sample.meta}) if facts else sample


def _name(sample: Sample) -> str:
    return PurePath(sample.uri.replace("\\", "/").rpartition("#")[2]).name


def add(
    store: Store,
    encoder: Encoder,
    source: Iterable[Sample],
    *,
    batch_size: int,
    workers: int,
    resume: bool,
    captions: bool,
    progress: Progress | None,
) -> AddReport:
    """Encodes and stores pictures that are new or changed; see `retriever.Index.add` for the arguments."""
    report = _Pictures(
        store,
        encoder,
        source,
        batch_size=batch_size,
        resume=resume,
        progress=progress,
        workers=workers,
        captions=captions,
    ).run()
    if isinstance(source, FolderSource):
        report.gone = count_gone(store, source.folder)
    return report


class _Pictures(Adding):
    kind = "image"
    facts = NAMES

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        source: Iterable[Sample],
        *,
        batch_size: int,
        resume: bool,
        progress: Progress | None,
        workers: int,
        captions: bool,
    ) -> None:
        super().__init__(store, encoder, source, batch_size=batch_size, resume=resume, progress=progress)
        self.workers = workers
        self.captions = (
            Captions(store, encoder, self.report, batch_size=batch_size, resume=resume) if captions else None
        )
        self.report.skipped_files = getattr(source, "skipped", self.report.skipped_files)

    def problem(self, sample: Sample) -> str | None:
        return "has no picture, so there is nothing to index" if sample.image is None else None

    def read(self, sample: Sample) -> Content:
        try:
            data = sample.read()
        except OSError:
            return Content(None)  # the encoder meets the same error and reports it
        return Content(hashlib.sha256(data).hexdigest(), facts_of(data, _name(sample)))

    def encoded(self, fresh: Iterator[Sample]) -> Iterator[EncodedBatch]:
        return encode_stream(
            self.encoder,
            fresh,
            batch_size=self.batch_size,
            workers=self.workers,
            leave=self._needs_no_encoding,
            describe=with_facts,
        )

    def run(self) -> AddReport:
        report = super().run()
        if report.cut:
            report.notes.append(
                f"{counted(report.cut, 'caption is', 'captions are')} longer than the model reads; the rest "
                "of each is ignored"
            )
        return report

    def after_indexing(self, samples: list[Sample]) -> None:
        if self.captions is not None:
            self.captions.update(samples)

    def at_their_places(self, samples: list[Sample]) -> list[Item | None]:
        """The item of each file whose sample has a path as its id: one of that id, else of a path."""
        spelled = [places(sample) if is_named_by_place(sample) else [] for sample in samples]
        at = dict[str, list[Item]]()
        for item in self.store.items_at(place for several in spelled for place in several):
            if item.kind == self.kind:
                at.setdefault(item.uri, []).append(item)
        found = [[item for place in several for item in at.get(place, [])] for several in spelled]
        return [
            min(items, key=lambda item: (item.id != sample.id, not is_named_by_place(item)), default=None)
            for sample, items in zip(samples, found, strict=True)
        ]

    def _needs_no_encoding(self, data: bytes, sha256: str) -> bool:
        return is_contact_sheet(data) or bool(self.store.items_with([sha256], kind=self.kind))

    def keep(self, batch: EncodedBatch) -> None:
        """Writes what is new of a batch, and then what has the content of an item."""
        known = {item.sha256 for item in self.store.items_with(batch.sha256, kind=self.kind)}
        new, others = list[int](), list(batch.left)
        for row, (sample, sha256) in enumerate(zip(batch.samples, batch.sha256, strict=True)):
            if sha256 in known:
                others.append((sample, sha256))
            else:
                known.add(sha256)
                new.append(row)
        super().keep(
            replace(
                batch,
                samples=[batch.samples[row] for row in new],
                embeddings=batch.embeddings.take(new),
                sizes=[batch.sizes[row] for row in new],
                sha256=[batch.sha256[row] for row in new],
            )
        )
        if others:
            self._keep_known(others)

    def _keep_known(self, samples: list[tuple[Sample, str]]) -> None:
        """Takes in samples with the content of items: the same file, a moved one, or a copy."""
        having = dict[str | None, list[Item]]()
        for item in self.store.items_with((sha256 for _, sha256 in samples), kind=self.kind):
            having.setdefault(item.sha256, []).append(item)
        taken = {
            item.id for item in self.store.fetch([sample.id for sample, _ in samples]) if item is not None
        }
        moved, copies, known = dict[str, Item](), list[tuple[Sample, Item]](), list[Sample]()
        for sample, sha256 in samples:
            items = [item for item in having.get(sha256, []) if item.id not in moved]
            by_place = is_named_by_place(sample)
            before = moved_from(sample, items) if by_place and sample.id not in taken else None
            if by_place and any(is_same_file(item, sample) for item in items):
                self.report.skipped += 1
            elif before is not None:
                sample = self.kept(sample, before)
                if not is_named_by_place(before):
                    sample = replace(sample, id=before.id)
                moved[before.id] = self.item(sample, sha256=sha256, size=(before.width, before.height))
                known.append(sample)
            elif having.get(sha256):
                copies.append((self.kept(sample, having[sha256][0]), having[sha256][0]))
            else:
                self.report.skipped_files.file(sample.uri, "contact sheets", "a contact sheet of hivlp")
        self._keep_moved(moved)
        self.after_indexing(known)
        self._keep_copies([(sample, moved.get(of.id, of)) for sample, of in copies])

    def _keep_moved(self, moved: dict[str, Item]) -> None:
        if moved:
            captions = captions_of(self.store, moved)
            self.store.describe({**moved, **captions})
            self.report.moved += len(moved)
            self.report.skipped += len(moved)

    def _keep_copies(self, copies: list[tuple[Sample, Item]]) -> None:
        if copies:
            items = [self.item(sample, sha256=of.sha256, size=(of.width, of.height)) for sample, of in copies]
            vectors = self.store.embeddings([of.id for _, of in copies])
            self.report.replaced += self.store.append(items, vectors).replaced
            self.report.indexed += len(items)
            self.report.copies += len(items)
            self.after_indexing([sample for sample, _ in copies])
