"""Files of texts without pictures: one text a line, or the text column of a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from hivlp.data.sources.base import Report, Source, clean_captions, clean_split, clean_text, plain, read_text
from hivlp.data.sources.rows import CheckHeader, Row
from hivlp.data.sources.table import ID_COLUMNS, SPLIT_COLUMNS, count_splits
from hivlp.errors import DataError
from hivlp.types import Sample

TEXT_COLUMNS = ("text", "caption", "captions", "title")

ReadRows = Callable[[Path, CheckHeader, Report], Iterator[Row]]


def read_lines(path: Path, check: CheckHeader, report: Report) -> Iterator[Row]:
    """Every line of a text file as a row with the one column ``text``, empty lines too."""
    del check, report
    for number, line in enumerate(re.split(r"\r\n|\r|\n", read_text(path)), start=1):
        yield Row(f"{path} line {number}", {"text": line})


class TextSource(Source):
    """The texts of a file as samples without pictures, each text the one caption of its sample.

    The id is the id column, else the name of the file and the number of the row or line, counted from 1. A
    row with several texts gives one sample each. All other columns are metadata.
    """

    def __init__(self, path: Path, read: ReadRows, *, split: str | None = None) -> None:
        super().__init__(path.name)
        self._path = path
        self._read = read
        self._split: str | None = None
        problems: list[str] = []
        first = next(self._samples(lambda where, error: problems.append(f"{where}: {error}")), None)
        if first is None:
            reason = f" ({problems[0]})" if problems else ""
            raise DataError(f"{path} holds no texts{reason}; write one text per line, or a column 'text'")
        self._split = self._choose_split(split)

    def splits(self) -> dict[str, int]:
        """Rows of each split; reads everything once."""
        rows = self._read(self._path, self._check, lambda where, error: None)
        return count_splits(clean_split(_cell(row, SPLIT_COLUMNS)) for row in rows)

    def _samples(self, report: Report) -> Iterator[Sample]:
        for number, row in enumerate(self._read(self._path, self._check, report), start=1):
            split = clean_split(_cell(row, SPLIT_COLUMNS))
            if self._split is not None and split != self._split:
                continue
            texts = clean_captions(_cell(row, TEXT_COLUMNS))
            if not texts and self._read is not read_lines:
                report(row.where, "the row has no text; fill its text cell")
            own_id = clean_text(str(_cell(row, ID_COLUMNS) or ""))
            name = f"#{number}"
            for n, text in enumerate(texts):
                part = f"#{n}" if len(texts) > 1 else ""
                yield Sample(
                    id=(own_id or f"{self._path.name}{name}") + part,
                    uri=f"{self._path}{name}{part}",
                    image=None,
                    captions=(text,),
                    split=split,
                    meta=_meta(row),
                )

    def _check(self, names: list[str]) -> None:
        if _column(names, TEXT_COLUMNS) is None:
            raise DataError(
                f"{self._path} has no column of texts; it has {', '.join(map(repr, names)) or 'none'}. "
                f"Needed: one of {'/'.join(TEXT_COLUMNS)}"
            )


def _column(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    """The first of the wanted columns that is there, in any letter case."""
    by_lower = {name.lower(): name for name in names}
    return next((by_lower[name] for name in wanted if name in by_lower), None)


def _cell(row: Row, wanted: Iterable[str]) -> Any:
    column = _column(row.cells, wanted)
    return None if column is None else row.cells[column]


def _meta(row: Row) -> dict[str, Any]:
    used = {_column(row.cells, names) for names in (TEXT_COLUMNS, ID_COLUMNS, SPLIT_COLUMNS)}
    cells = row.values.items()
    return {name: plain(cell) for name, cell in cells if name not in used and not isinstance(cell, bytes)}
