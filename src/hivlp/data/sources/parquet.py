"""Parquet files, with paths of pictures or with the pictures inside; and the door to pyarrow."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hivlp.data.sources.base import Report, Source, clean_split, clean_text
from hivlp.data.sources.cells import is_missing
from hivlp.data.sources.columns import Columns, check_columns
from hivlp.data.sources.packed import File
from hivlp.data.sources.rows import Reading, Row
from hivlp.data.sources.table import Chosen, count_splits, row_problem
from hivlp.errors import DataError, MissingExtraError
from hivlp.types import Sample

_SPLIT_IN_NAME = re.compile(r"(train|validation|valid|val|test|dev)(?![a-z])", re.IGNORECASE)


def pyarrow_parquet(purpose: str) -> ModuleType:
    """The module ``pyarrow.parquet``. Raises MissingExtraError where it is not installed."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet", purpose) from None
    return parquet


def _open(path: File) -> Any:
    """The file as ``pyarrow.parquet.ParquetFile``. Raises DataError for any other file."""
    parquet = pyarrow_parquet("reading parquet files")
    try:
        return parquet.ParquetFile(path)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} can't be read as parquet ({reason}); write it again") from error


def read_parquet(path: File, reading: Reading) -> Iterator[Row]:
    """Rows of a parquet file, a small batch in memory at a time."""
    with _open(path) as file:
        reading.header(list(file.schema_arrow.names))
        labels = _class_labels(file)
        for row in _parquet_rows(path, file, reading.report):
            yield Row(row.where, _with_labels(row.cells, labels)) if labels else row


def _parquet_rows(path: File, file: Any, report: Report, columns: list[str] | None = None) -> Iterator[Row]:
    """Rows of an open parquet file; damage inside is reported and ends it, with what was read kept."""
    number = 0
    try:
        for batch in file.iter_batches(batch_size=64, columns=columns):
            for cells in batch.to_pylist():
                yield Row(f"{path} row {number}", cells)
                number += 1
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        report(f"{path} row {number}", f"the file is damaged from here on ({reason}); write it again")


def _class_labels(file: Any) -> dict[str, list[str]]:
    """The names of the classes of each column of numbers, as the datasets library notes them."""
    try:
        notes = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
        features = notes["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _with_labels(cells: Mapping[str, Any], labels: Mapping[str, list[str]]) -> dict[str, Any]:
    """The cells with names in place of the numbers of classes; -1 is a class that is missing."""

    def named(column: str, value: Any) -> Any:
        if isinstance(value, int) and column in labels and value < len(labels[column]):
            return labels[column][value] if value >= 0 else None
        return value

    return {column: named(column, value) for column, value in cells.items()}


def holds_bytes(path: Path, chosen: Chosen) -> bool:
    """Whether the image column holds pictures, not paths. Raises DataError where a column is missing."""
    with _open(path) as file:
        schema = file.schema_arrow
        check_columns(path, schema.names, chosen)
        kind = str(schema.field(Columns.of(schema.names, chosen).image).type)
    return "binary" in kind


@dataclass
class _Record:
    """One row, or several rows of one picture, of a file.

    Attributes:
        key: equal for rows of the same picture, split and name.
        pictures: the pictures of the row, mostly one, each with its name if it has one.
    """

    key: int
    id: str
    uri: str
    pictures: list[tuple[Path | bytes, str | None]]
    captions: tuple[str, ...]
    split: str | None
    meta: dict[str, Any]

    def samples(self) -> Iterator[Sample]:
        for number, (image, _) in enumerate(self.pictures):
            part = f"#{number}" if len(self.pictures) > 1 else ""
            yield Sample(
                id=self.id + part,
                uri=self.uri + part,
                image=image,
                captions=self.captions,
                split=self.split,
                meta=self.meta,
            )


class _Part:
    """One parquet file of a source."""

    def __init__(self, path: Path, label: str, chosen: Chosen, *, named_split: str | None) -> None:
        self.path, self.label, self._named_split = path, label, named_split
        with _open(path) as file:
            names = list(file.schema_arrow.names)
            self.rows = int(file.metadata.num_rows)
            self._labels = _class_labels(file)
        check_columns(path, names, chosen)
        self._columns = Columns.of(names, chosen)

    def splits(self) -> Iterator[str | None]:
        """The split of each row."""
        column = self._columns.split
        if column is None:
            yield from (self._named_split for _ in range(self.rows))
            return
        with _open(self.path) as file:
            yield from (clean_split(value) for value in file.read([column])[column].to_pylist())

    def records(self, report: Report) -> Iterator[_Record]:
        with _open(self.path) as file:
            for number, row in enumerate(_parquet_rows(self.path, file, report)):
                record = self._record(number, Row(row.where, _with_labels(row.cells, self._labels)), report)
                if record is not None:
                    yield record

    def _record(self, number: int, row: Row, report: Report) -> _Record | None:
        columns, cells = self._columns, row.cells
        assert columns.image
        pictures = _pictures(cells[columns.image], self.path.parent)
        problem = row_problem(row) or (None if pictures else "the row has no picture; fill its image cell")
        if problem is not None:
            report(row.where, problem)
            return None
        split = clean_split(cells[columns.split]) if columns.split else self._named_split
        own_id = cells[columns.id] if columns.id else None
        name = str(own_id) if not is_missing(own_id) else pictures[0][1]
        return _Record(
            key=_key(name, split, pictures),
            id=clean_text(name or f"{self.label}#{number}"),
            uri=f"{self.path}#row={number}",
            pictures=pictures,
            captions=columns.texts(cells),
            split=split,
            meta=columns.meta(cells),
        )


class ParquetSource(Source):
    """Parquet files with the pictures inside, streamed: bytes, structs of ``bytes`` and ``path``, or lists.

    Rows of one picture, name and split are one sample with the captions of all, wherever they stand. The id
    is the id column, else the path, else the row number. Where there is no column of splits, files that are
    named for several splits (``train-00000.parquet``) have them.
    """

    def __init__(self, name: str, paths: Sequence[Path], *, split: str | None, chosen: Chosen) -> None:
        super().__init__(name)
        base = _common_folder(paths)
        in_names = {path: _split_of_name(path) for path in paths}
        named = len(set(in_names.values()) - {None}) > 1
        self._parts: list[_Part] = []
        self._unreadable: list[tuple[Path, str]] = []
        for path in paths:
            label = str(path.relative_to(base))
            try:
                part = _Part(path, label, chosen, named_split=in_names[path] if named else None)
            except DataError as error:
                if len(paths) == 1:
                    raise
                self._unreadable.append((path, str(error)))
            else:
                self._parts.append(part)
        if not self._parts:
            raise DataError(
                f"none of the {len(paths):,} files of {name} can be read; {self._unreadable[0][1]}"
            )
        self._split = self._choose_split(split)
        self._scattered: dict[int, tuple[str, ...]] | None = None

    def count(self) -> int:
        """Rows of the chosen split: more than samples where several rows show one picture."""
        return sum(part.rows for part in self._parts) if self._split is None else self.splits()[self._split]

    def splits(self) -> dict[str, int]:
        return count_splits(split for part in self._parts for split in part.splits())

    def _samples(self, report: Report) -> Iterator[Sample]:
        for path, problem in self._unreadable:
            report(str(path), problem)
        scattered = dict(self._scattered_captions())
        waiting: _Record | None = None
        for record in self._records(report):
            if record.key in scattered:
                record.captions = scattered[record.key]
                scattered[record.key] = ()
                if not record.captions:
                    continue
            elif waiting is not None and waiting.key == record.key:
                waiting.captions += record.captions
                continue
            if waiting is not None:
                yield from waiting.samples()
            waiting = record
        if waiting is not None:
            yield from waiting.samples()

    def _records(self, report: Report) -> Iterator[_Record]:
        for part in self._parts:
            for record in part.records(report):
                if self._split is None or record.split == self._split:
                    yield record

    def _scattered_captions(self) -> dict[int, tuple[str, ...]]:
        """The captions of pictures whose rows do not stand side by side, by their keys.

        It reads everything once, and keeps eight bytes a row and those captions.
        """
        if self._scattered is None:
            keys_N = np.fromiter((record.key for record in self._records(_ignore)), dtype=np.uint64)
            starts_R = (
                keys_N[np.flatnonzero(np.diff(keys_N, prepend=keys_N[:1] + 1))] if len(keys_N) else keys_N
            )
            again, counts = np.unique(starts_R, return_counts=True)
            wanted = set(again[counts > 1].tolist())
            found: dict[int, list[str]] = {key: [] for key in wanted}
            for record in self._records(_ignore) if wanted else ():
                if record.key in wanted:
                    found[record.key] += record.captions
            self._scattered = {key: tuple(captions) for key, captions in found.items() if captions}
        return self._scattered


def _ignore(uri: str, error: str) -> None:
    """For a reading whose problems will be reported by another one."""


def _pictures(cell: Any, folder: Path) -> list[tuple[Path | bytes, str | None]]:
    """The pictures of a cell, and their names where they have one."""
    if isinstance(cell, (list, tuple)):
        return [picture for part in cell for picture in _pictures(part, folder)]
    if isinstance(cell, Mapping):
        name = cell.get("path") or None
        if cell.get("bytes"):
            return [(cell["bytes"], name)]
        return [(folder / name, name)] if isinstance(name, str) else []
    return [(cell, None)] if isinstance(cell, bytes) and cell else []


def _key(name: str | None, split: str | None, pictures: list[tuple[Path | bytes, str | None]]) -> int:
    """64 bits that are equal for equal pictures of one name and split."""
    digest = hashlib.blake2b(repr((name, split)).encode("utf-8", "surrogatepass"), digest_size=8)
    for image, _ in pictures:
        digest.update(image if isinstance(image, bytes) else str(image).encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest(), "little")


def _common_folder(paths: Sequence[Path]) -> Path:
    first, *others = [path.parent for path in paths]
    while not all(folder.is_relative_to(first) for folder in others):
        first = first.parent
    return first


def _split_of_name(path: Path) -> str | None:
    """``train`` of ``train-00000-of-00002.parquet``, or of ``train/0000.parquet``."""
    for name in (path.name, path.parent.name):
        match = _SPLIT_IN_NAME.match(name)
        if match:
            return clean_split(match[1].lower())
    return None
