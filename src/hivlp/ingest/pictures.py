"""Adds pictures to a store and, on request, each of their captions as an item of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hivlp.encode import encode_stream
from hivlp.ingest.adding import Adding
from hivlp.ingest.report import AddReport
from hivlp.ingest.texts import Captions
from hivlp.messages import counted
from hivlp.types import Progress, Sample

if TYPE_CHECKING:
    from hivlp.encode import EncodedBatch, Encoder
    from hivlp.stores.base import Store


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
    return _Pictures(
        store,
        encoder,
        source,
        batch_size=batch_size,
        resume=resume,
        progress=progress,
        workers=workers,
        captions=captions,
    ).run()


class _Pictures(Adding):
    kind = "image"

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

    def problem(self, sample: Sample) -> str | None:
        return "has no picture, so there is nothing to index" if sample.image is None else None

    def sha256(self, sample: Sample) -> str | None:
        try:
            return hashlib.sha256(sample.read()).hexdigest()
        except OSError:
            return None  # the encoder meets the same error and reports it

    def encoded(self, fresh: Iterator[Sample]) -> Iterator[EncodedBatch]:
        return encode_stream(self.encoder, fresh, batch_size=self.batch_size, workers=self.workers)

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
