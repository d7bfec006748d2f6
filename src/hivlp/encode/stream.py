"""Samples in, embeddings out, with decoding in threads beside the model so that neither waits for the other.

One bad picture is a failure in its batch, never the end of the run. The order stays.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from numpy.typing import NDArray

from hivlp.data.images import MAX_PIXELS, read_bytes
from hivlp.encode.base import Encoder, stacked
from hivlp.errors import ImageError
from hivlp.types import Embeddings, Failure, Sample

_Outcome: TypeAlias = "_Decoded | _Left | Failure"
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedBatch:
    """The samples of a batch that could be encoded, row by row with their embeddings, and the failures.

    Attributes:
        sizes: width and height of each picture as it is shown, in pixels; None for a text.
        sha256: hash of each picture's encoded bytes, or of each text in UTF-8.
        partial: pictures among the samples that were used in part, and why.
        left: samples that were not to be encoded, with the hash of their content.
    """

    samples: list[Sample]
    embeddings: Embeddings
    sizes: list[tuple[int | None, int | None]]
    sha256: list[str]
    failures: list[Failure]
    partial: list[Failure] = field(default_factory=list[Failure])
    left: list[tuple[Sample, str]] = field(default_factory=list[tuple[Sample, str]])


@dataclass(frozen=True, slots=True)
class _Left:
    sample: Sample
    sha256: str


@dataclass(frozen=True, slots=True)
class _Decoded:
    sample: Sample
    pixels: NDArray[Any]
    size: tuple[int, int]
    sha256: str
    note: str | None


def encode_stream(
    encoder: Encoder,
    samples: Iterable[Sample],
    *,
    batch_size: int = 32,
    workers: int = 2,
    max_pixels: int = MAX_PIXELS,
    leave: Callable[[bytes, str], bool] = lambda data, sha256: False,
    describe: Callable[[Sample, bytes], Sample] = lambda sample, data: sample,
) -> Iterator[EncodedBatch]:
    """Batches of encoded samples in the order of `samples`.

    Args:
        workers: decoding threads.
        max_pixels: larger pictures are failures; see `data.images`.
        leave: says of a picture's bytes and their hash whether it needs no encoding; called by the threads.
        describe: completes a sample from the bytes of its picture; called by the threads.
    """

    def decode(sample: Sample) -> _Outcome:
        try:
            data = read_bytes(sample.image) if isinstance(sample.image, Path) else sample.read()
            sha256 = hashlib.sha256(data).hexdigest()
            if leave(data, sha256):
                return _Left(describe(sample, data), sha256)
            picture = encoder.load_picture(data, max_pixels=max_pixels)
        except (ImageError, OSError, ValueError) as error:
            return Failure(uri=sample.uri, error=_reason(error))
        size = (picture.width, picture.height)
        return _Decoded(describe(sample, data), picture.pixels, size, sha256, picture.note)

    for outcomes in _batched(look_ahead(decode, samples, workers=workers, depth=2 * batch_size), batch_size):
        yield _encode(encoder, outcomes)


def look_ahead(
    work: Callable[[_Task], _Result], tasks: Iterable[_Task], *, workers: int, depth: int
) -> Iterator[_Result]:
    """Results in the order of `tasks`, computed by threads up to `depth` tasks ahead of the reader."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting = deque[Future[_Result]]()
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def encode_text_stream(
    encoder: Encoder, samples: Iterable[Sample], *, batch_size: int = 256
) -> Iterator[EncodedBatch]:
    """Batches of the encoded texts, the first captions, of samples without pictures, in their order."""
    rest = iter(samples)
    while batch := list(itertools.islice(rest, batch_size)):
        texts = [sample.captions[0] for sample in batch]
        yield EncodedBatch(
            samples=batch,
            embeddings=encoder.encode_texts(texts),
            sizes=[(None, None)] * len(batch),
            sha256=[hashlib.sha256(text.encode()).hexdigest() for text in texts],
            failures=[],
        )


def _reason(error: Exception) -> str:
    """The message of an error without the path that the failure already names."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _batched(outcomes: Iterator[_Outcome], size: int) -> Iterator[list[_Outcome]]:
    batch: list[_Outcome] = []
    for outcome in outcomes:
        batch.append(outcome)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _encode(encoder: Encoder, outcomes: list[_Outcome]) -> EncodedBatch:
    decoded = [outcome for outcome in outcomes if isinstance(outcome, _Decoded)]
    return EncodedBatch(
        samples=[one.sample for one in decoded],
        embeddings=stacked(encoder, [one.pixels for one in decoded]),
        sizes=[one.size for one in decoded],
        sha256=[one.sha256 for one in decoded],
        failures=[outcome for outcome in outcomes if isinstance(outcome, Failure)],
        partial=[Failure(uri=one.sample.uri, error=one.note) for one in decoded if one.note is not None],
        left=[(outcome.sample, outcome.sha256) for outcome in outcomes if isinstance(outcome, _Left)],
    )
