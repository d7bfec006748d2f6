"""A source packed for training: images decoded once into one array on disk, captions beside it.

Decoding costs more than a small model's training step, and a run sees every image many times. A pack holds
uint8 pixels (N, 3, S, S) as a memory-mapped file, so batches are slices and a run can be resumed at any step.
It knows no model: tokens and augmentation come later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hivlp.config import Preprocessing
from hivlp.data.images import load_pixels
from hivlp.encode.stream import look_ahead
from hivlp.errors import DataError, ImageError
from hivlp.files import write_atomically
from hivlp.messages import suggestion
from hivlp.types import Failure, Progress, Sample

if TYPE_CHECKING:
    from hivlp.data.sources import Source

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Pack:
    """One packed source.

    Attributes:
        pixels_NCHW: uint8, memory-mapped.
        captions: the captions of each image; an image may have none.
        ids: the samples' ids, in the same order.
        failures: images and rows of the source that could not be read.
        preprocessing: how images became squares.
        negatives: hard negative captions of each image; empty without a column for them.
    """

    folder: Path
    pixels_NCHW: NDArray[np.uint8]
    captions: list[tuple[str, ...]]
    ids: list[str]
    failures: list[Failure]
    preprocessing: Preprocessing
    negatives: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def __len__(self) -> int:
        return len(self.ids)


def pack(
    source: Source,
    root: Path,
    *,
    size: int,
    key: str,
    fit: Literal["squeeze", "crop"] = "squeeze",
    centre: float = 1.0,
    negatives: str | None = None,
    progress: Progress = lambda *_: None,
) -> Pack:
    """The pack of a source under `root`, made now or found finished.

    Args:
        source: what to read; its order is the order of the pack.
        root: folder of packs; each lies in a folder named by `key` and `size`.
        size: side of the stored squares, pixels.
        fit, centre: as in `Preprocessing`.
        key: what distinguishes this source from others, such as its spec and split.
        negatives: the field of the source's metadata that holds wrong texts, one or a list of them.
        progress: called with a line now and then.

    Raises:
        DataError: no image could be read, or no image has that field.
    """
    parts: list[Any] = [key, size, FORMAT] if negatives is None else [key, size, FORMAT, negatives]
    preprocessing = Preprocessing(size=size, fit=fit, centre=centre, interpolation="bicubic")
    if (fit, centre) != ("squeeze", 1.0):
        parts.append([fit, centre])
    folder = root / f"pack-{digest(parts)}"
    if not (folder / "manifest.json").is_file():
        _write(source, folder, preprocessing, key=key, negatives=negatives, progress=progress)
    return _open(folder, preprocessing)


def digest(parts: Any) -> str:
    """A short name for a JSON-compatible value."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _open(folder: Path, preprocessing: Preprocessing) -> Pack:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    count, size = manifest["count"], manifest["size"]
    pixels_NCHW = np.memmap(folder / "pixels.u8", dtype=np.uint8, mode="r", shape=(count, 3, size, size))
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    return Pack(
        folder=folder,
        pixels_NCHW=pixels_NCHW,
        captions=[tuple(row["captions"]) for row in rows],
        ids=[row["id"] for row in rows],
        failures=[Failure(**failure) for failure in manifest["failures"]],
        preprocessing=preprocessing,
        negatives=[tuple(row["negatives"]) for row in rows if "negatives" in row],
    )


def _write(
    source: Source,
    folder: Path,
    preprocessing: Preprocessing,
    *,
    key: str,
    negatives: str | None,
    progress: Progress,
) -> None:
    """Everything first, the manifest last: a pack with a manifest is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    count, wrong, failures, fields = 0, 0, list[Failure](), set[str]()
    with (
        (folder / "pixels.u8").open("wb") as pixels,
        (folder / "samples.jsonl").open("w", encoding="utf-8") as rows,
    ):
        for sample, outcome in decode_ahead(source, preprocessing):
            if isinstance(outcome, Failure):
                failures.append(outcome)
                continue
            pixels.write(outcome.tobytes())
            row: dict[str, Any] = {"id": sample.id, "captions": sample.captions}
            if negatives is not None:
                row["negatives"] = _texts(sample.meta.get(negatives))
                wrong += len(row["negatives"])
                fields |= set(sample.meta)
            rows.write(json.dumps(row) + "\n")
            count += 1
            if count % 2000 == 0:
                progress(f"packed {count:,} pictures of {source.name}")
    failures += source.failures
    if count == 0:
        raise DataError(
            f"{source.name}: not one picture could be read; the first problem: {_first(failures)}"
        )
    if negatives is not None and not wrong:
        raise DataError(
            f"{source.name}: no picture has texts in the field {negatives!r}; "
            f"{suggestion(negatives, sorted(fields)) if fields else 'it has no further fields'}"
        )
    manifest = {
        "key": key,
        "size": preprocessing.size,
        "count": count,
        "failures": [failure.as_dict() for failure in failures],
    }
    write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1).encode())
    progress(f"packed {count:,} pictures of {source.name}, {len(failures)} could not be used")


def _texts(value: Any) -> list[str]:
    """The texts of a metadata field: none, one, or a list."""
    values = value if isinstance(value, list) else [value]
    return [" ".join(text.split()) for text in values if isinstance(text, str) and text.strip()]


def _first(failures: list[Failure]) -> str:
    return f"{failures[0].uri}: {failures[0].error}" if failures else "it is empty"


def decode_ahead(
    source: Source, preprocessing: Preprocessing, *, workers: int = 2, ahead: int = 64
) -> Iterator[tuple[Sample, NDArray[np.uint8] | Failure]]:
    """Samples with their pixels (3, S, S), in order, decoded by threads a little ahead of the reader."""

    def decode(sample: Sample) -> tuple[Sample, NDArray[np.uint8] | Failure]:
        try:
            return sample, load_pixels(sample.read(), preprocessing)
        except (ImageError, OSError, ValueError) as error:
            return sample, Failure(uri=sample.uri, error=str(error))

    return look_ahead(decode, source, workers=workers, depth=ahead)
