"""Rows merged to one sample a picture, and the sources made of such samples; it knows no file format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from hivlp.data.images import problem_with
from hivlp.data.sources.base import Report, Source, clean_captions, clean_split, clean_text, plain
from hivlp.data.sources.rows import CheckHeader, Row
from hivlp.errors import DataError
from hivlp.types import Failure, Sample

IMAGE_COLUMNS = (
    "image",
    "image_path",
    "filepath",
    "file_path",
    "path",
    "file",
    "file_name",
    "filename",
    "img",
)
BYTES_COLUMNS = ("jpg", "jpeg", "png", "webp")
CAPTION_COLUMNS = ("caption", "captions", "text", "title")
ID_COLUMNS = ("id", "key")
SPLIT_COLUMNS = ("split",)
# The number of the caption within its picture: of no use once the captions are one list.
_DROPPED_COLUMNS = ("idx",)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CHECKED_FOR_NOTE = 50


@dataclass(frozen=True)
class Columns:
    """Which columns of a table mean what; the first name of each list that is there, in any letter case."""

    image: str | None
    caption: str | None
    id: str | None
    split: str | None

    @staticmethod
    def of(names: Iterable[str]) -> Columns:
        by_lower = {name.lower(): name for name in reversed(list(names))}

        def first(wanted: Iterable[str]) -> str | None:
            return next((by_lower[name] for name in wanted if name in by_lower), None)

        return Columns(
            image=first(IMAGE_COLUMNS + BYTES_COLUMNS),
            caption=first(CAPTION_COLUMNS),
            id=first(ID_COLUMNS),
            split=first(SPLIT_COLUMNS),
        )

    def meta(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """All other columns of a row."""
        used = {self.image, self.caption, self.id, self.split, *_DROPPED_COLUMNS}
        return {name: plain(value) for name, value in cells.items() if name not in used}


def check_columns(path: Path, names: Iterable[str]) -> None:
    """Refuse a table without a column of pictures or of captions. Raises DataError naming what it has."""
    names = list(names)
    columns = Columns.of(names)
    missing = [
        kind for kind, name in (("image", columns.image), ("caption", columns.caption)) if name is None
    ]
    if not missing:
        return
    message = (
        f"{path} has no column {' and no column '.join(repr(kind) for kind in missing)}; "
        f"it has {', '.join(repr(name) for name in names) or 'none'}. "
        f"Needed: one of {'/'.join(IMAGE_COLUMNS)} and one of {'/'.join(CAPTION_COLUMNS)}"
    )
    if "image" in missing and "url" in names:
        message += (
            "; pictures behind URLs are not downloaded: name the folder or tars they were downloaded to"
        )
    elif "image" in missing and (columns.caption is not None or "text" in names):
        message += "; its texts alone are what `hivlp index --texts` (Index.add_texts) takes"
    elif missing == ["image"]:
        message += "; the texts alone are indexed by: hivlp index --texts"
    raise DataError(message)


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


class EntrySource(Source):
    """Samples whose pictures are files: of a table or an annotation file that was read when it was opened."""

    def __init__(
        self, name: str, entries: list[Entry], failures: list[Failure], *, base: Path, split: str | None
    ) -> None:
        super().__init__(name)
        self._all = entries
        self._base = base
        self._reading_failures = failures
        wanted = self._choose_split(split)
        self._entries = entries if wanted is None else [entry for entry in entries if entry.split == wanted]
        self._note_wrong_base()

    def count(self) -> int:
        return len(self._entries)

    def splits(self) -> dict[str, int]:
        return count_splits(entry.split for entry in self._all)

    def _samples(self, report: Report) -> Iterator[Sample]:
        for failure in self._reading_failures:
            report(failure.uri, failure.error)
        for entry in self._entries:
            path, problem = self._locate(entry)
            if problem is not None:
                report(str(path), f"{problem} (named in {entry.where})")
                continue
            yield Sample(
                id=entry.id,
                uri=str(path),
                image=path,
                captions=tuple(entry.captions),
                split=entry.split,
                meta=entry.meta,
            )

    def _locate(self, entry: Entry) -> tuple[Path, str | None]:
        """The first path of an entry that is a file, or the first path with its problem."""
        first: tuple[Path, str | None] | None = None
        for name in entry.paths:
            if _URL.match(name):
                return Path(
                    name
                ), "it is a URL; download the pictures first, nothing is fetched from the network"
            path = self._base / name
            problem = problem_with(path)
            if problem is None:
                return path, None
            first = first or (path, problem)
        assert first is not None
        return first

    def _note_wrong_base(self) -> None:
        looked_at = self._entries[:_CHECKED_FOR_NOTE]
        if looked_at and all(self._locate(entry)[1] is not None for entry in looked_at):
            self.notes.append(
                f"none of the first {len(looked_at)} pictures exists; paths are relative to {self._base}, "
                "give another folder with --image-root"
            )


def count_splits(names: Iterable[str | None]) -> dict[str, int]:
    """Samples of each split, in order of appearance; those without a split are not counted."""
    counts: dict[str, int] = {}
    for name in names:
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
    return counts


def merge_rows(rows: Iterable[Row], path: Path, report: Report) -> list[Entry]:
    """One entry a picture, in order of first appearance, with the captions of all its rows.

    Id and metadata are those of the first row. Raises DataError where no row has the columns needed.
    """
    columns_of: dict[tuple[str, ...], Columns] = {}
    entries: dict[str, Entry] = {}
    rows_seen = 0
    for row in rows:
        rows_seen += 1
        names = tuple(row.cells)
        columns = columns_of.setdefault(names, Columns.of(names))
        _merge_row(row, columns, entries, report)
    if not rows_seen:
        raise DataError(f"{path} holds no rows that can be read; write one row per caption")
    if not (any(c.image for c in columns_of.values()) and any(c.caption for c in columns_of.values())):
        check_columns(path, dict.fromkeys(name for names in columns_of for name in names))
    return list(entries.values())


def _merge_row(row: Row, columns: Columns, entries: dict[str, Entry], report: Report) -> None:
    name = _picture_name(row.cells[columns.image]) if columns.image else None
    problem = row_problem(row) or (None if name else "the row has no picture; fill its image cell")
    if name is None or problem is not None:
        report(row.where, str(problem))
        return
    captions = clean_captions(row.cells[columns.caption]) if columns.caption else ()
    split = clean_split(row.cells[columns.split]) if columns.split else None
    entry = entries.get(name)
    if entry is None:
        own_id = (
            clean_text(str(row.cells[columns.id])) if columns.id and row.cells[columns.id] is not None else ""
        )
        entry = Entry(where=row.where, id=own_id or clean_text(name), paths=(name,), split=split)
        entry.meta = columns.meta(row.values)
        entries[name] = entry
    elif split != entry.split:
        report(
            row.where,
            f"the row puts {name} into split {split!r}, {entry.where} into {entry.split!r}; put it into one",
        )
        return
    entry.captions += captions


def _picture_name(cell: Any) -> str | None:
    """The path or URL in an image cell; ``./a.jpg`` and ``a.jpg`` are one picture."""
    if isinstance(cell, Mapping):
        cell = cell.get("path")
    if not isinstance(cell, str) or not cell.strip():
        return None
    return cell.strip() if _URL.match(cell) else str(PurePosixPath(cell.strip()))


def row_problem(row: Row) -> str | None:
    """What img2dataset says of a picture that it could not get, else None."""
    status = row.cells.get("status")
    if "url" in row.cells and isinstance(status, str) and status and status != "success":
        return f"the picture was not downloaded (status {status!r}); download it again"
    return None


def open_table(
    path: Path,
    read: Callable[[Path, CheckHeader, Report], Iterator[Row]],
    *,
    base: Path,
    split: str | None,
) -> EntrySource:
    """A table whose image column holds paths below ``base``."""
    failures: list[Failure] = []

    def report(uri: str, error: str) -> None:
        failures.append(Failure(uri=uri, error=error))

    def check(names: list[str]) -> None:
        check_columns(path, names)

    entries = merge_rows(read(path, check, report), path, report)
    return EntrySource(path.name, entries, failures, base=base, split=split)
