"""Rows merged to one sample a picture, and the sources made of such samples; it knows no file format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from hivlp.data.sources.base import Report, Source, clean_split, clean_text
from hivlp.data.sources.cells import is_missing, listed
from hivlp.data.sources.columns import Columns, check_columns, header_of, without_number
from hivlp.data.sources.packed import File
from hivlp.data.sources.places import PicturePlace
from hivlp.data.sources.rows import Reading, ReadRows, Row
from hivlp.errors import DataError
from hivlp.messages import counted
from hivlp.types import Failure, Sample

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CHECKED_FOR_NOTE = 50

Chosen = Mapping[str, tuple[str, ...]]


@dataclass
class Entry:
    """A sample in the making.

    Attributes:
        where: the row it began in, for messages.
        paths: where the picture may be, below the base folder, best first.
    """

    where: str
    id: str
    paths: tuple[str, ...]
    captions: list[str] = field(default_factory=list[str])
    split: str | None = None
    meta: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class TableEntries:
    """What was read from a table or annotation file.

    Attributes:
        failures: the rows that can't be used.
        notes: remarks for a person, each once.
    """

    entries: list[Entry] = field(default_factory=list[Entry])
    failures: list[Failure] = field(default_factory=list[Failure])
    notes: list[str] = field(default_factory=list[str])

    def report(self, uri: str, error: str) -> None:
        self.failures.append(Failure(uri=uri, error=error))

    def merge(self, other: TableEntries) -> None:
        """Takes what another file of the same source holds; a picture of both has the captions of both."""
        known = {entry.paths[0]: entry for entry in self.entries}
        for entry in other.entries:
            first = known.setdefault(entry.paths[0], entry)
            if first is entry:
                self.entries.append(entry)
            else:
                first.captions += entry.captions
        self.failures += other.failures
        for text in other.notes:
            self.note(text)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class EntrySource(Source):
    """Samples whose pictures are files: of a table or an annotation file that was read when it was opened."""

    def __init__(
        self, name: str, found: TableEntries, *, place: PicturePlace, base: str, split: str | None
    ) -> None:
        """`base` names the place in messages."""
        super().__init__(name)
        self.notes += found.notes
        self._all = found.entries
        self._place = place
        self._reading_failures = found.failures
        wanted = self._choose_split(split)
        self._entries = [entry for entry in self._all if wanted is None or entry.split == wanted]
        self._settle(base)

    def count(self) -> int:
        return len(self._entries)

    def splits(self) -> dict[str, int]:
        return count_splits(entry.split for entry in self._all)

    def _samples(self, report: Report) -> Iterator[Sample]:
        for failure in self._reading_failures:
            report(failure.uri, failure.error)
        for entry in self._entries:
            uri, problem = self._locate(entry)
            if problem is None:
                try:
                    image = self._place.image(uri)
                except DataError as error:
                    problem = str(error)
                else:
                    yield Sample(
                        id=entry.id,
                        uri=uri,
                        image=image,
                        captions=tuple(entry.captions),
                        split=entry.split,
                        meta=entry.meta,
                    )
            if problem is not None:
                report(uri, f"{problem} (named in {entry.where})")

    def finds_pictures(self) -> bool:
        """Whether one of the first pictures is in its place."""
        return any(self._locate(entry)[1] is None for entry in self._entries[:_CHECKED_FOR_NOTE])

    def _locate(self, entry: Entry) -> tuple[str, str | None]:
        """The uri of the picture, or of the place where it should be with the problem there."""
        url = next((name for name in entry.paths if _URL.match(name)), None)
        if url is not None:
            return url, "it is a URL; download the pictures first, nothing is fetched from the network"
        return self._place.find(entry.paths)

    def _settle(self, base: str) -> None:
        """Looks for the pictures elsewhere where none of the first ones is in its place, and says so."""
        looked_at = self._entries[:_CHECKED_FOR_NOTE]
        if not looked_at or self.finds_pictures():
            return
        note = self._place.settle([entry.paths[0] for entry in self._all if not _URL.match(entry.paths[0])])
        self.notes.append(
            note
            or f"none of the first {counted(len(looked_at), 'picture')} exists; paths are relative to "
            f"{base}, give another folder with --image-root"
        )


def count_splits(names: Iterable[str | None]) -> dict[str, int]:
    """Samples of each split, in order of appearance; those without a split are not counted."""
    counts: dict[str, int] = {}
    for name in names:
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
    return counts


def merge_rows(rows: Iterable[Row], path: File, report: Report, chosen: Chosen) -> list[Entry]:
    """One entry a picture, in order of first appearance, with the captions of all its rows.

    Id and metadata are those of the first row; a row with several pictures counts for each of them. Raises
    DataError where no row has the columns needed.
    """
    columns_of: dict[tuple[str, ...], Columns] = {}
    entries: dict[str, Entry] = {}
    rows_seen = 0
    for row in rows:
        rows_seen += 1
        names = tuple(row.cells)
        columns = columns_of.setdefault(names, Columns.of(names, chosen))
        _merge_row(row, columns, entries, report)
    if not rows_seen:
        raise DataError(f"{path} holds no rows that can be read; write one row per caption")
    if not (any(c.image for c in columns_of.values()) and any(c.captions for c in columns_of.values())):
        check_columns(path, dict.fromkeys(name for names in columns_of for name in names), chosen)
    return list(entries.values())


def _merge_row(row: Row, columns: Columns, entries: dict[str, Entry], report: Report) -> None:
    names = picture_names(row.cells[columns.image]) if columns.image else []
    problem = row_problem(row) or (None if names else "the row has no picture; fill its image cell")
    if problem is not None:
        report(row.where, problem)
        return
    captions = columns.texts(row.cells)
    split = clean_split(row.cells[columns.split]) if columns.split else None
    for number, paths in enumerate(names):
        entry = entries.get(paths[0])
        if entry is None:
            part = f"#{number}" if len(names) > 1 else ""
            own_id = row.cells[columns.id] if columns.id else None
            name = clean_text(paths[0]) if is_missing(own_id) else clean_text(str(own_id)) + part
            entry = Entry(where=row.where, id=name, paths=paths, split=split, meta=columns.meta(row.values))
            entries[paths[0]] = entry
        elif split != entry.split:
            report(
                row.where,
                f"the row puts {paths[0]} into split {split!r}, {entry.where} into {entry.split!r}; "
                "put it into one",
            )
            continue
        entry.captions += captions


def picture_names(cell: Any) -> list[tuple[str, ...]]:
    """For each picture of an image cell the paths where it may be, or its URL.

    ``./a.jpg`` and ``a.jpg`` are one picture. The backslashes of Windows are slashes; a file whose name
    has one is found as well.
    """
    if isinstance(cell, Mapping):
        cell = next((cell[name] for name in ("path", "filename", "file_name", "url") if cell.get(name)), None)
    if isinstance(cell, (list, tuple)):
        return [paths for part in cell for paths in picture_names(part)]
    if not isinstance(cell, str) or is_missing(cell):
        return []
    text = cell.strip()
    parts = listed(text) if text[0] in "[(" else None
    if isinstance(parts, list):
        return picture_names(parts)
    if text.startswith("file://"):
        text = unquote(text.removeprefix("file://").removeprefix("localhost"))
    if _URL.match(text):
        return [(text,)]
    name = without_number(text)
    with_slashes = str(PurePosixPath(name.replace("\\", "/")))
    return [tuple(dict.fromkeys((with_slashes, str(PurePosixPath(name)))))]


def row_problem(row: Row) -> str | None:
    """What img2dataset says of a picture that it could not get, else None."""
    status = row.cells.get("status")
    if "url" in row.cells and isinstance(status, str) and status and status != "success":
        return f"the picture was not downloaded (status {status!r}); download it again"
    return None


def read_table(path: File, read: ReadRows, chosen: Chosen) -> TableEntries:
    """The pictures of a table. Raises DataError where it lacks the columns, or can't be read."""
    found = TableEntries()
    reading = Reading(
        header=lambda names: header_of(path, names, chosen), report=found.report, note=found.note
    )
    found.entries = merge_rows(read(path, reading), path, found.report, chosen)
    return found
