"""Files of texts without pictures: one text a line, or the text column of a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hivlp.data.sources.base import Report, Source, clean_captions, clean_split, clean_text, plain
from hivlp.data.sources.cells import is_missing
from hivlp.data.sources.columns import ID_COLUMNS, SPLIT_COLUMNS
from hivlp.data.sources.packed import File, read_text
from hivlp.data.sources.rows import Header, Reading, ReadRows, Row
from hivlp.data.sources.spec import with_columns
from hivlp.data.sources.table import Chosen, count_splits
from hivlp.errors import DataError, first_reasons
from hivlp.messages import suggestion
from hivlp.types import Failure, Sample

TEXT_COLUMNS = ("text", "caption", "captions", "title")


def read_lines(path: File, reading: Reading) -> Iterator[Row]:
    """Every line of a text file as a row with the one column ``text``, empty lines too."""
    text, note = read_text(path)
    if note is not None:
        reading.note(note)
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        yield Row(f"{path} line {number}", {"text": line})


class TextSource(Source):
    """The texts of a file as samples without pictures, each text the one caption of its sample.

    The id is the id column, else the name of the file and the number of the row or line, counted from 1. A
    row with several texts gives one sample each. All other columns are metadata.
    """

    def __init__(self, path: Path, read: ReadRows, *, split: str | None = None, chosen: Chosen) -> None:
        super().__init__(path.name)
        self._path = path
        self._read = read
        self._names = {
            "text": chosen.get("caption", TEXT_COLUMNS),
            "id": chosen.get("id", ID_COLUMNS),
            "split": chosen.get("split", SPLIT_COLUMNS),
        }
        self._split: str | None = None
        problems: list[Failure] = []
        first = next(
            self._samples(lambda where, error: problems.append(Failure(uri=where, error=error))), None
        )
        if first is None:
            reasons = first_reasons(problems)
            raise DataError(
                f"{path} holds no texts{f' ({reasons})' if reasons else ''}; write one text per line, or a "
                "column 'text'"
            )
        self._split = self._choose_split(split)

    def splits(self) -> dict[str, int]:
        """Rows of each split; reads everything once."""
        rows = self._rows(lambda where, error: None)
        return count_splits(clean_split(self._cell(row, "split")) for row in rows)

    def _rows(self, report: Report) -> Iterator[Row]:
        return self._read(self._path, Reading(header=self._header, report=report, note=self._note))

    def _samples(self, report: Report) -> Iterator[Sample]:
        for number, row in enumerate(self._rows(report), start=1):
            split = clean_split(self._cell(row, "split"))
            if self._split is not None and split != self._split:
                continue
            texts = self._texts(row)
            if not texts and self._read is not read_lines:
                report(row.where, "the row has no text; fill its text cell")
            own_id = self._cell(row, "id")
            name = f"#{number}"
            for n, text in enumerate(texts):
                part = f"#{n}" if len(texts) > 1 else ""
                known = f"{self._path.name}{name}" if is_missing(own_id) else clean_text(str(own_id))
                yield Sample(
                    id=known + part,
                    uri=f"{self._path}{name}{part}",
                    image=None,
                    captions=(text,),
                    split=split,
                    meta=self._meta(row),
                )

    def _texts(self, row: Row) -> tuple[str, ...]:
        cell = self._cell(row, "text")
        if self._read is not read_lines:
            return clean_captions(cell)
        line = clean_text(str(cell))  # "NA" on a line of its own is a text
        return (line,) if line else ()

    def _header(self, names: list[str]) -> Header:
        column = _column(names, self._names["text"])
        if column is None:
            wanted = self._names["text"]
            hint = "" if wanted is TEXT_COLUMNS else f": {suggestion(wanted[0], names)}"
            raise DataError(
                f"{self._path} has no column of texts; it has {', '.join(map(repr, names)) or 'none'}. "
                f"Needed: one of {'/'.join(wanted)}, or name yours: "
                f"'{with_columns(self._path.name, ['caption'])}'{hint}"
            )
        return Header(names, last_is_text=names[-1] == column)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _cell(self, row: Row, use: str) -> Any:
        column = _column(row.cells, self._names[use])
        return None if column is None else row.cells[column]

    def _meta(self, row: Row) -> dict[str, Any]:
        used = {_column(row.cells, names) for names in self._names.values()}
        cells = row.values.items()
        return {name: plain(cell) for name, cell in cells if name not in used and not isinstance(cell, bytes)}


def _column(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    """The first of the wanted columns that is there, in any letter case."""
    names = list(names)
    by_lower = {name.lower(): name for name in reversed(names)}
    return next(
        (name if name in names else by_lower[name] for name in wanted if name in names or name in by_lower),
        None,
    )
