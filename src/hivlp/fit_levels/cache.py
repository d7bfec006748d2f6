"""The vectors of a frozen encoder on the disk: encoded once, resumed after an interrupted run.

The cache is an index folder: that is durable, recognises files by content, and refuses another model.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hivlp import ingest
from hivlp.data.sources import Source
from hivlp.encode import Encoder
from hivlp.errors import DataError
from hivlp.evaluate.protocols import EncodedPairs
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, Failure, IntArray, Item, Progress

_EVERY = 2_000
_WITHOUT_CAPTIONS = (
    "the source has no picture with a caption, and levels are learned from pairs; give a source with "
    "captions (without any, `hivlp index` makes levels by itself, see docs/fit-levels.md)"
)


@dataclass(frozen=True, slots=True)
class Cached:
    """Images and captions with their vectors, and equal wordings of captions.

    Attributes:
        pairs: the vectors, as an evaluation takes them.
        ids: of the images.
        wording_T: a number for each different wording of the captions.
    """

    pairs: EncodedPairs
    ids: list[str]
    wording_T: IntArray

    def take(self, chosen_I: IntArray) -> Cached:
        """Some of the images, by row, with their captions."""
        pairs = self.pairs
        place_I = np.full(len(self.ids), -1)
        place_I[chosen_I] = np.arange(len(chosen_I))
        rows_T = np.flatnonzero(place_I[pairs.picture_of] >= 0)
        chosen = EncodedPairs(
            images=pairs.images.take(chosen_I),
            texts=pairs.texts.take(rows_T),
            picture_of=place_I[pairs.picture_of[rows_T]].astype(np.int64),
            failed=pairs.failed,
            split=pairs.split,
            captions=[pairs.captions[int(row)] for row in rows_T] if pairs.captions else (),
        )
        return Cached(chosen, [self.ids[int(row)] for row in chosen_I], self.wording_T[rows_T])


def cached(
    source: Source,
    encoder: Encoder,
    root: Path,
    *,
    key: str,
    split: str | None,
    workers: int = 2,
    batch_size: int = 32,
    progress: Progress = lambda *_: None,
) -> Cached:
    """The vectors of a source's images and captions; what is in the cache already is not encoded again.

    Args:
        root: the folder of caches; each source and model has its own in it.
        key: names the source.
        split: names the split in reports.

    Raises:
        DataError: no image of the source has a caption.
    """
    if not any(sample.captions for sample in source):
        raise DataError(_WITHOUT_CAPTIONS)
    digest = hashlib.sha256(json.dumps([encoder.fingerprint, key, split]).encode()).hexdigest()[:12]
    path = root / f"{split or 'all'}-{digest}.hivlp"
    store = LocalStore.open(path, writable=True) if path.exists() else _created(path, encoder)
    with store:
        failed = _fill(store, encoder, source, workers, batch_size, progress)
        return _read(store, split, failed)


def _created(path: Path, encoder: Encoder) -> LocalStore:
    return LocalStore.create(
        path,
        model_name=encoder.name,
        model_fingerprint=encoder.fingerprint,
        widths=encoder.widths,
        preprocessing=encoder.preprocessing.model_dump(mode="json"),
    )


def _fill(
    store: LocalStore, encoder: Encoder, source: Source, workers: int, batch_size: int, progress: Progress
) -> list[Failure]:
    reported = 0

    def report(line: str, done: int = 0, total: int | None = None) -> None:
        nonlocal reported
        if done >= reported + _EVERY or reported < done == total:
            reported = done
            of = f" of {total:,}" if total else ""
            progress(f"{source.name}: {done:,}{of} images: {line}")

    added = ingest.add(
        store, encoder, source, batch_size=batch_size, workers=workers, resume=False, captions=True,
        progress=report,
    )  # fmt: skip
    return added.failed


def _read(store: LocalStore, split: str | None, failed: list[Failure]) -> Cached:
    rows_N = store.rows_where(None)
    items = store.items_of(rows_N.tolist())
    row_of = {item.id: int(row) for row, item in zip(rows_N, items, strict=True)}
    captions = [item for item in items if item.kind == "text" and item.meta.get("of") in row_of]
    described = {item.meta["of"] for item in captions}
    pictures = [item for item in items if item.kind == "image" and item.id in described]
    if not pictures:
        raise DataError(_WITHOUT_CAPTIONS)
    place = {item.id: number for number, item in enumerate(pictures)}
    wordings = [item.caption or "" for item in captions]
    return Cached(
        pairs=EncodedPairs(
            images=_vectors(store, pictures, row_of),
            texts=_vectors(store, captions, row_of),
            picture_of=np.array([place[item.meta["of"]] for item in captions], np.int64),
            failed=failed,
            split=split,
            captions=wordings,
        ),
        ids=[item.id for item in pictures],
        wording_T=np.unique(wordings, return_inverse=True)[1].astype(np.int64),
    )


def _vectors(store: LocalStore, items: list[Item], row_of: dict[str, int]) -> Embeddings:
    rows_N = np.array([row_of[item.id] for item in items], np.int64)
    view = store.view()
    levels = {width: np.asarray(view.level(width)[rows_N], np.float32) for width in view.widths}
    return Embeddings.normalised(levels)
