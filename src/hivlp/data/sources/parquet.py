"""Parquet files, with paths of pictures or with the pictures inside; and the door to pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from hivlp.data.sources.base import Report, Source, clean_captions, clean_split, clean_text
from hivlp.data.sources.rows import CheckHeader, Row
from hivlp.data.sources.table import Columns, check_columns, count_splits, row_problem
from hivlp.errors import DataError, MissingExtraError
from hivlp.types import Sample


def pyarrow_parquet(purpose: str) -> ModuleType:
    """The module ``pyarrow.parquet``. Raises MissingExtraError where it is not installed."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet", purpose) from None
    return parquet


def _open(path: Path) -> Any:
    """The file as ``pyarrow.parquet.ParquetFile``. Raises DataError for any other file."""
    parquet = pyarrow_parquet("reading parquet files")
    try:
        return parquet.ParquetFile(path)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} can't be read as parquet ({reason}); write it again") from error


def read_parquet(path: Path, check: CheckHeader, report: Report) -> Iterator[Row]:
    """Rows of a parquet file, a small batch in memory at a time."""
    with _open(path) as file:
        check(list(file.schema_arrow.names))
        yield from _parquet_rows(path, file, report)


def _parquet_rows(path: Path, file: Any, report: Report, columns: list[str] | None = None) -> Iterator[Row]:
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


def holds_bytes(path: Path) -> bool:
    """Whether the image column holds pictures, not paths. Raises DataError where a column is missing."""
    with _open(path) as file:
        schema = file.schema_arrow
        check_columns(path, schema.names)
        kind = str(schema.field(Columns.of(schema.names).image).type)
    return "binary" in kind


class ParquetSource(Source):
    """A parquet file with the pictures inside, streamed: bytes, or a struct of ``bytes`` and ``path``.

    Neighbouring rows of one id are one sample. The id is the id column, else the path, else the row number.
    """

    def __init__(self, path: Path, *, split: str | None) -> None:
        super().__init__(path.name)
        self._path = path
        with _open(path) as file:
            names = list(file.schema_arrow.names)
            self._rows = int(file.metadata.num_rows)
        check_columns(path, names)
        self._columns = Columns.of(names)
        self._split = self._choose_split(split)

    def count(self) -> int:
        """Rows of the chosen split: more than samples where several rows show one picture."""
        return self._rows if self._split is None else self.splits()[self._split]

    def splits(self) -> dict[str, int]:
        column = self._columns.split
        if column is None:
            return {}
        with _open(self._path) as file:
            return count_splits(clean_split(value) for value in file.read([column])[column].to_pylist())

    def _samples(self, report: Report) -> Iterator[Sample]:
        waiting: Sample | None = None
        with _open(self._path) as file:
            for number, row in enumerate(_parquet_rows(self._path, file, report)):
                sample = self._sample(number, row, report)
                if sample is None:
                    continue
                if waiting is not None and waiting.id == sample.id and waiting.image == sample.image:
                    sample = _with_captions(waiting, sample.captions)
                elif waiting is not None:
                    yield waiting
                waiting = sample
        if waiting is not None:
            yield waiting

    def _sample(self, number: int, row: Row, report: Report) -> Sample | None:
        columns, cells = self._columns, row.cells
        assert columns.image and columns.caption
        split = clean_split(cells[columns.split]) if columns.split else None
        if self._split is not None and split != self._split:
            return None
        image, name = _picture(cells[columns.image], self._path.parent)
        problem = row_problem(row) or (None if image else "the row has no picture; fill its image cell")
        if problem is not None or image is None:
            report(row.where, str(problem))
            return None
        own_id = cells[columns.id] if columns.id else None
        return Sample(
            id=clean_text(str(own_id if own_id is not None else name or f"{self._path.name}#{number}")),
            uri=f"{self._path}#row={number}",
            image=image,
            captions=clean_captions(cells[columns.caption]),
            split=split,
            meta=columns.meta(cells),
        )


def _picture(cell: Any, folder: Path) -> tuple[Path | bytes | None, str | None]:
    """The picture of a cell, and its name where the cell has one."""
    if isinstance(cell, Mapping):
        name = cell.get("path") or None
        if cell.get("bytes"):
            return cell["bytes"], name
        return (folder / name if name else None), name
    return (cell or None), None


def _with_captions(sample: Sample, captions: tuple[str, ...]) -> Sample:
    return Sample(
        id=sample.id,
        uri=sample.uri,
        image=sample.image,
        captions=sample.captions + captions,
        split=sample.split,
        meta=sample.meta,
    )
