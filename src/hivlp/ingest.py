"""Brings the pictures of a source into a store: new ones are encoded, known ones skipped or described anew.

It knows sources, encoders and stores; it opens none of them. `retriever.Index.add` is its only caller.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hivlp.data.sources import Source
from hivlp.encode import encode_stream
from hivlp.types import Failure, Item, Sample

if TYPE_CHECKING:
    from hivlp.encode import EncodedBatch, Encoder
    from hivlp.stores.base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far `Index.add` is.

    Attributes:
        done: samples dealt with: indexed, skipped or failed.
        total: samples of the source; None where it can't be known before its end.
    """

    done: int
    total: int | None
    indexed: int
    skipped: int
    failed: int


@dataclass(slots=True, kw_only=True)
class AddReport:
    """What `Index.add` did.

    Attributes:
        indexed: items that were encoded and written.
        replaced: those of them that took the place of an item with the same id and other content.
        skipped: items that the index had already, with the same content.
        failed: everything that could not be used, and why.
        seconds: wall-clock time.
        notes: what the source has to say, such as an option without effect.
    """

    indexed: int = 0
    replaced: int = 0
    skipped: int = 0
    failed: list[Failure] = field(default_factory=list[Failure])
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list[str])

    @property
    def items_per_s(self) -> float:
        """Items written a second; 0 where none was."""
        return self.indexed / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "indexed": self.indexed,
            "replaced": self.replaced,
            "skipped": self.skipped,
            "failed": [failure.as_dict() for failure in self.failed],
            "seconds": round(self.seconds, 3),
            "items_per_s": round(self.items_per_s, 2),
            "notes": self.notes,
        }


def add(
    store: Store,
    encoder: Encoder,
    source: Iterable[Sample],
    *,
    batch_size: int,
    workers: int,
    resume: bool,
    progress: Callable[[Progress], None] | None,
) -> AddReport:
    """Encodes and stores what the store does not hold yet; see `retriever.Index.add` for the arguments."""
    return _Adding(store, encoder, source, progress).run(batch_size, workers, resume=resume)


class _Adding:
    """One call of `add`: its report so far, and what it works on."""

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        source: Iterable[Sample],
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.store = store
        self.encoder = encoder
        self.source = source
        self.progress = progress
        self.report = AddReport()
        self.start = time.perf_counter()
        self.total: int | None = source.count() if isinstance(source, Source) else None

    def run(self, batch_size: int, workers: int, *, resume: bool) -> AddReport:
        fresh = self._fresh(batch_size, resume=resume)
        for batch in encode_stream(self.encoder, fresh, batch_size=batch_size, workers=workers):
            self.report.failed += batch.failures
            if batch.samples:
                self.report.replaced += self.store.append(_items(batch), batch.embeddings).replaced
                self.report.indexed += len(batch.samples)
            self._tell()
        self.report.failed += getattr(self.source, "failures", [])
        self.report.notes += getattr(self.source, "notes", [])
        self._tell()
        return self.report

    def _fresh(self, at_once: int, *, resume: bool) -> Iterator[Sample]:
        """The samples to encode; the others are counted, and described anew where only that has changed."""
        samples = self._usable()
        while chunk := self._told_apart(list(itertools.islice(samples, at_once))):
            known = self.store.fetch([sample.id for sample in chunk])
            described: list[Item] = []
            for sample, item in zip(chunk, known, strict=True):
                if item is None or not (resume or _same_content(item, sample)):
                    yield sample
                    continue
                self.report.skipped += 1
                now = _item(sample, sha256=item.sha256, size=(item.width, item.height))
                if not resume and _description(now) != _description(item):
                    described.append(now)
            if described:
                # Same content, so the store keeps its vectors and writes the description only.
                self.store.append(described, self.store.embeddings([item.id for item in described]))
            self._tell()

    def _told_apart(self, chunk: list[Sample]) -> list[Sample]:
        """The samples, those named by a path that another picture of the index has by their whole uri.

        Two folders may both hold an IMG_1.jpg; adding the second must not replace what the first one gave.
        """
        known = self.store.fetch([sample.id for sample in chunk])
        return [
            replace(sample, id=sample.uri) if item is not None and _another(item, sample) else sample
            for sample, item in zip(chunk, known, strict=True)
        ]

    def _usable(self) -> Iterator[Sample]:
        seen: set[str] = set()
        for sample in self.source:
            if sample.image is None:
                self._failed(sample, "has no picture, so there is nothing to index")
            elif sample.id in seen:
                self._failed(sample, f"has the id {sample.id!r} of an earlier one; the first one is kept")
            else:
                seen.add(sample.id)
                yield sample

    def _failed(self, sample: Sample, error: str) -> None:
        self.report.failed.append(Failure(uri=sample.uri, error=error))

    def _tell(self) -> None:
        report = self.report
        report.seconds = time.perf_counter() - self.start
        if self.progress is not None:
            indexed, skipped, failed = report.indexed, report.skipped, len(report.failed)
            done = indexed + skipped + failed
            self.progress(
                Progress(done=done, total=self.total, indexed=indexed, skipped=skipped, failed=failed)
            )


def _another(item: Item, sample: Sample) -> bool:
    """Whether an item and a sample of one id are two pictures in two places, rather than one that changed."""
    named_by_path = sample.uri.endswith(sample.id) and item.uri.endswith(item.id)
    return named_by_path and item.uri != sample.uri and not _same_content(item, sample)


def _same_content(item: Item, sample: Sample) -> bool:
    try:
        return item.sha256 is not None and hashlib.sha256(sample.read()).hexdigest() == item.sha256
    except OSError:
        return False  # the encoder's reader will meet the same error and list it


def _description(item: Item) -> tuple[str, str | None, str]:
    return item.uri, item.caption, json.dumps(dict(item.meta), sort_keys=True, default=str)


def _items(batch: EncodedBatch) -> list[Item]:
    rows = zip(batch.samples, batch.sha256, batch.sizes, strict=True)
    return [_item(sample, sha256=sha256, size=size) for sample, sha256, size in rows]


def _item(sample: Sample, *, sha256: str | None, size: tuple[int | None, int | None]) -> Item:
    """An item shows one caption; all of them, and the split, are kept in its metadata."""
    meta = dict(sample.meta)
    if len(sample.captions) > 1:
        meta.setdefault("captions", list(sample.captions))
    if sample.split is not None:
        meta.setdefault("split", sample.split)
    return Item(
        id=sample.id,
        uri=sample.uri,
        caption=sample.captions[0] if sample.captions else None,
        meta=meta,
        sha256=sha256,
        width=size[0],
        height=size[1],
    )
