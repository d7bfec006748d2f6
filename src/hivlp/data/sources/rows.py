"""Rows of text tables as dicts; it knows nothing of pictures and captions."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from hivlp.data.sources.base import Report
from hivlp.data.sources.cells import is_missing
from hivlp.data.sources.packed import File, decoded, lines_of, read_text
from hivlp.errors import DataError
from hivlp.messages import counted


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
        """The cells as metadata: those of numeric columns are numbers, or None where they are missing."""
        return {n: _number(cell) if n in self.numeric else cell for n, cell in self.cells.items()}


@dataclass(frozen=True)
class Header:
    """What the first row of a table is.

    Attributes:
        names: the names of the columns, others where the table has no header.
        is_row: whether the first row is a row like the others.
        last_is_text: whether the last column may hold the separator without quotes.
    """

    names: list[str]
    is_row: bool = False
    last_is_text: bool = False


@dataclass(frozen=True)
class Reading:
    """What a reader of rows calls.

    Attributes:
        header: given the first row, before all others, so that a table with wrong columns is refused whole.
        report: given the place and the problem of each row that can't be used.
        note: given remarks for a person.
    """

    header: Callable[[list[str]], Header]
    report: Report
    note: Callable[[str], None]


ReadRows = Callable[[File, Reading], Iterator[Row]]


def read_delimited(path: File, reading: Reading) -> Iterator[Row]:
    """Rows of a file of tab, comma, semicolon or pipe separated cells.

    Cells of a comma or semicolon separated file are quoted as in CSV. In the others, two habits are common:
    cells quoted as in CSV, and bare text in which a quote is just a quote. Both are read: a cell counts as
    quoted only if it begins and ends with a quote, every quote inside is doubled, and it does not hold both
    separators and newlines (a bare quote whose partner stands rows later).
    """
    text, note = read_text(path)
    if note is not None:
        reading.note(note)
    first_line, mark = 1, None
    named = _EXCEL_SEPARATOR.match(text)
    if named is not None:
        text, first_line, mark = text[named.end() :], 2, named[1]
    mark = mark or separator(text, path.name)
    records = _csv_records(path, text, mark, reading.report) if mark in ",;" else _bare_records(text, mark)
    yield from _rows(path, ((line + first_line - 1, cells) for line, cells in records), mark, reading)


# the first line by which Excel is told the separator
_EXCEL_SEPARATOR = re.compile(r"sep=([,;\t|])\r?\n", re.IGNORECASE)
_LINES_COMPARED = 30


def separator(text: str, name: str) -> str:
    """The separator of a table: the one that its first lines have in common.

    Of several that is the first of tab, pipe, semicolon and comma that the first line has. A ``.tsv`` is
    separated by tabs where its header has one.
    """
    lines = [line for line in text[:1_000_000].split("\n", _LINES_COMPARED)[:_LINES_COMPARED] if line.strip()]
    header = lines[0] if lines else ""
    there = [mark for mark in "\t|;," if mark in header]
    if "\t" in there and ".tsv" in name.lower():
        return "\t"
    common = [mark for mark in there if all(mark in line for line in lines[1:])]
    return next(iter(common or there), ",")


def _rows(path: File, records: Iterator[tuple[int, list[str]]], mark: str, reading: Reading) -> Iterator[Row]:
    number, first = next(records, (1, []))
    header = reading.header([name.strip() for name in first])
    names = header.names
    repeated = {name for name in names if name and names.count(name) > 1}
    if repeated:
        raise DataError(f"{path} has the column {min(repeated)!r} twice; rename one of them")
    rows = [(number, first), *records] if header.is_row else list(records)
    rows, joined = _fitted(rows, header, mark)
    whole = [cells for _, cells in rows if len(cells) == len(names)]
    numeric = frozenset(n for place, n in enumerate(names) if _is_numeric(cells[place] for cells in whole))
    if joined:
        reading.note(_of_joined(path, joined, names[-1], mark))
    for line, cells in rows:
        where = f"{path} line {line}"
        if len(cells) == len(names):
            yield Row(where, dict(zip(names, cells, strict=True)), numeric)
        elif any(cells):
            reading.report(
                where, f"the row has {len(cells)} cells, the header {len(names)}; quote or correct it"
            )


def _fitted(
    rows: list[tuple[int, list[str]]], header: Header, mark: str
) -> tuple[list[tuple[int, list[str]]], list[int]]:
    """The rows without empty cells behind the last column, and with a text of several cells joined again.

    Also the lines where cells were joined.
    """
    width, joined = len(header.names), list[int]()
    for place, (line, cells) in enumerate(rows):
        if len(cells) <= width:
            continue
        if not any(cell.strip() for cell in cells[width:]):
            rows[place] = (line, cells[:width])
        elif header.last_is_text and width > 1:
            rows[place] = (line, [*cells[: width - 1], mark.join(cells[width - 1 :])])
            joined.append(line)
    return rows, joined


_LINES_NAMED = 5


def _of_joined(path: File, lines: list[int], column: str, mark: str) -> str:
    named = ", ".join(str(line) for line in lines[:_LINES_NAMED]) + (
        ", …" if len(lines) > _LINES_NAMED else ""
    )
    return (
        f"{path}: {counted(len(lines), 'row')} with unquoted {mark!r} in the last column {column!r}: all "
        f"that follows was read as part of it; quote the cells where that is wrong (line {named})"
    )


# As JSON writes them: 007 and +1 are texts. SQLite has whole numbers of up to 18 digits.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?")


def _is_numeric(cells: Iterable[str]) -> bool:
    """Whether a column has numbers, and beside them nothing but missing values."""
    filled = [cell.strip() for cell in cells if not is_missing(cell)]
    return bool(filled) and all(_NUMBER.fullmatch(text) for text in filled)


def _number(cell: str) -> int | float | None:
    return None if is_missing(cell) else json.loads(cell)


def _bare_records(text: str, mark: str) -> Iterator[tuple[int, list[str]]]:
    bare = re.compile(rf"[^{re.escape(mark)}\n]*")
    position, line, cells, start = 0, 1, list[str](), 1
    while position < len(text):
        cell, end = _bare_cell(text, position, mark, bare)
        cells.append(cell)
        line += text.count("\n", position, end)
        position = end
        if text.startswith(mark, position):
            position += 1
            if position < len(text):
                continue
            cells.append("")
        yield start, cells
        position = text.find("\n", position) + 1 or len(text)
        line += 1
        start, cells = line, []


def _bare_cell(text: str, position: int, mark: str, bare: re.Pattern[str]) -> tuple[str, int]:
    """The cell that begins at a position, and where it ends."""
    closing = _closing_quote(text, position, mark) if text[position] == '"' else None
    if closing is not None:
        inside = text[position + 1 : closing]
        if not (mark in inside and "\n" in inside):
            return inside.replace('""', '"'), closing + 1
    match = bare.match(text, position)
    assert match is not None
    return match[0].rstrip("\r"), match.end()


def _closing_quote(text: str, opening: int, mark: str) -> int | None:
    """Where a quoted cell ends; None where the first quote that is not doubled stands inside of a cell."""
    position = text.find('"', opening + 1)
    while position >= 0 and text.startswith('""', position):
        position = text.find('"', position + 2)
    if position < 0:
        return None
    after = text[position + 1 : position + 3]
    return position if not after or after[0] in (mark, "\n") or after in ("\r\n", "\r") else None


def _csv_records(path: File, text: str, mark: str, report: Report) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text.replace("\0", " "), newline=""), delimiter=mark, strict=True)
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


def read_jsonl(path: File, reading: Reading) -> Iterator[Row]:
    """Rows of a file with one JSON object per line, one at a time; other lines are reported."""
    notes: Counter[str] = Counter()
    for number, line in enumerate(lines_of(path), start=1):
        where = f"{path} line {number}"
        text, note = decoded(line, str(path)) if isinstance(line, bytes) else (line, None)
        if note is not None and not notes[note]:
            reading.note(note)
            notes[note] += 1
        if text.strip():
            row = _parse(text, where, reading.report)
            if row is not None:
                yield row


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
