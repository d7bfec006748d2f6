"""Rows of .tsv, .csv and .jsonl files as dicts; it knows nothing of pictures and captions."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hivlp.data.sources.base import Report, decode_text, read_text
from hivlp.errors import DataError


class Row(NamedTuple):
    """One row.

    Attributes:
        where: it stands, for messages: ``/data/captions.tsv line 7``.
        cells: by column; those of a TSV or CSV are texts.
        numeric: the columns of texts that hold numbers only, in every row of the file.
    """

    where: str
    cells: Mapping[str, Any]
    numeric: frozenset[str] = frozenset()

    @property
    def values(self) -> Mapping[str, Any]:
        """The cells as metadata: those of numeric columns are numbers, or None where they are empty."""
        return {n: _number(cell) if n in self.numeric else cell for n, cell in self.cells.items()}


# Called with the header before the first row, so that a table with wrong columns is refused as a whole.
CheckHeader = Callable[[list[str]], None]


def read_tsv(path: Path, check: CheckHeader, report: Report) -> Iterator[Row]:
    """Rows of a tab-separated file.

    Two habits are common in such files: cells quoted as in CSV, and bare text in which a quote is just a
    quote. Both are read: a cell counts as quoted only if it begins and ends with a quote, every quote inside
    is doubled, and it does not hold both tabs and newlines (a bare quote whose partner stands rows later).
    """
    yield from _records(path, _tsv_records(read_text(path)), check, report)


def read_csv(path: Path, check: CheckHeader, report: Report) -> Iterator[Row]:
    """Rows of a comma-separated file (or semicolon or tab, where the header has no comma)."""
    yield from _records(path, _csv_records(path, read_text(path), report), check, report)


def _records(
    path: Path, records: Iterator[tuple[int, list[str]]], check: CheckHeader, report: Report
) -> Iterator[Row]:
    _, first = next(records, (1, []))
    header = [name.strip() for name in first]
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise DataError(f"{path} has the column {min(repeated)!r} twice; rename one of them")
    check(header)
    rows = list(records)
    whole = [cells for _, cells in rows if len(cells) == len(header)]
    numeric = frozenset(n for place, n in enumerate(header) if _is_numeric(cells[place] for cells in whole))
    for line, cells in rows:
        where = f"{path} line {line}"
        if len(cells) == len(header):
            yield Row(where, dict(zip(header, cells, strict=True)), numeric)
        elif any(cells):
            report(where, f"the row has {len(cells)} cells, the header {len(header)}; quote or correct it")


# As JSON writes them: 007 and +1 are texts. SQLite has whole numbers of up to 18 digits.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?")


def _is_numeric(cells: Iterable[str]) -> bool:
    """Whether a column has numbers, and beside them nothing but empty cells."""
    filled = [text for cell in cells if (text := cell.strip())]
    return bool(filled) and all(_NUMBER.fullmatch(text) for text in filled)


def _number(cell: str) -> int | float | None:
    return json.loads(cell) if cell.strip() else None


_TSV_BARE = re.compile(r"[^\t\n]*")


def _tsv_records(text: str) -> Iterator[tuple[int, list[str]]]:
    position, line, cells, start = 0, 1, list[str](), 1
    while position < len(text):
        cell, end = _tsv_cell(text, position)
        cells.append(cell)
        line += text.count("\n", position, end)
        position = end
        if text.startswith("\t", position):
            position += 1
            if position < len(text):
                continue
            cells.append("")
        yield start, cells
        position = text.find("\n", position) + 1 or len(text)
        line += 1
        start, cells = line, []


def _tsv_cell(text: str, position: int) -> tuple[str, int]:
    """The cell that begins at a position, and where it ends."""
    closing = _closing_quote(text, position) if text[position] == '"' else None
    if closing is not None:
        inside = text[position + 1 : closing]
        if not ("\t" in inside and "\n" in inside):
            return inside.replace('""', '"'), closing + 1
    match = _TSV_BARE.match(text, position)
    assert match is not None
    return match[0].rstrip("\r"), match.end()


def _closing_quote(text: str, opening: int) -> int | None:
    """Where a quoted cell ends; None where the first quote that is not doubled stands inside of a cell."""
    position = text.find('"', opening + 1)
    while position >= 0 and text.startswith('""', position):
        position = text.find('"', position + 2)
    if position < 0:
        return None
    after = text[position + 1 : position + 3]
    return position if not after or after[0] in "\t\n" or after in ("\r\n", "\r") else None


def _csv_records(path: Path, text: str, report: Report) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(
        io.StringIO(text.replace("\0", " "), newline=""), delimiter=_delimiter(text), strict=True
    )
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "expected after" not in str(error):
                raise DataError(
                    f"{path} line {line} can't be read as CSV ({error}); close the quote that is open there"
                ) from error
            report(
                f"{path} line {line}",
                f"the row can't be read as CSV ({error}); double quotes inside of quotes",
            )


def _delimiter(text: str) -> str:
    header = text[: text.find("\n") + 1 or len(text)]
    return next((mark for mark in ",;\t" if mark in header), ",")


def read_jsonl(path: Path, check: CheckHeader, report: Report) -> Iterator[Row]:
    """Rows of a file with one JSON object per line; other lines are reported."""
    del check  # the rows may differ in their columns
    number = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                where = f"{path} line {number}"
                text = decode_text(line, where)
                if text.strip():
                    row = _parse(text, where, report)
                    if row is not None:
                        yield row
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror or error}); check its permissions") from error


def _parse(text: str, where: str, report: Report) -> Row | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        report(where, f"the line is not JSON ({error}); write one object per line")
        return None
    if not isinstance(value, dict):
        report(where, f"the line is a JSON {type(value).__name__}; write one object per line")
        return None
    return Row(where, value)
