"""Pictures into a store, and, where that is asked for, each of their captions beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hivlp.encode import encode_stream
from hivlp.ingest.adding import Adding
from hivlp.ingest.report import AddReport
from hivlp.ingest.texts import Captions
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
    """Encodes and stores what the store does not hold yet; see `retriever.Index.add` for the arguments."""
    adding = _Pictures(store, encoder, source, batch_size=batch_size, resume=resume, progress=progress)
    adding.workers = workers
    if captions:
        adding.captions = Captions(store, encoder, adding.report, batch_size=batch_size, resume=resume)
    return adding.run()


class _Pictures(Adding):
    kind = "image"
    workers = 2
    captions: Captions | None = None

    def problem(self, sample: Sample) -> str | None:
        return "has no picture, so there is nothing to index" if sample.image is None else None

    def sha256(self, sample: Sample) -> str | None:
        try:
            return hashlib.sha256(sample.read()).hexdigest()
        except OSError:
            return None  # the encoder's reader will meet the same error and list it

    def encoded(self, fresh: Iterator[Sample]) -> Iterator[EncodedBatch]:
        return encode_stream(self.encoder, fresh, batch_size=self.batch_size, workers=self.workers)

    def kept(self, samples: list[Sample]) -> None:
        if self.captions is not None:
            self.captions.of(samples)
