"""A folder of pictures with same-stem caption files; it opens caption files, never pictures."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from hivlp.data.images import EXTENSIONS, problem_with
from hivlp.data.sources.base import Report, Source, clean_text, decode_text, is_utf8, no_splits_note
from hivlp.errors import DataError
from hivlp.messages import counted
from hivlp.types import Sample


class FolderSource(Source):
    """All pictures under a folder, in the order of their names.

    A picture is a file with one of the known extensions, in upper or lower case. Hidden files and folders are
    skipped. ``dog.txt`` beside ``dog.jpg`` holds its captions, one per line. The id is the path below the
    folder. Tables that lie in the folder are not read: name the table itself to use it.
    """

    _ids_are_unique = True

    def __init__(self, folder: Path, *, split: str | None = None) -> None:
        super().__init__(folder.name or str(folder))
        self.folder = folder
        self._split = split
        if split is not None:
            self.notes.append(no_splits_note(self.name, split))
        if next(self._walk(_ignore), None) is None:
            raise DataError(_no_pictures(folder))

    def count(self) -> int:
        return sum(1 for _ in self._walk(_ignore))

    def _samples(self, report: Report) -> Iterator[Sample]:
        for path, name, caption_file in self._walk(report):
            if not is_utf8(name):
                report(str(path), "the file name is not UTF-8; rename it")
                continue
            problem = problem_with(path)
            if problem is not None:
                report(str(path), problem)
                continue
            captions = _read_captions(caption_file, report) if caption_file else ()
            yield Sample(id=name, uri=str(path), image=path, captions=captions)

    def _walk(self, report: Report) -> Iterator[tuple[Path, str, Path | None]]:
        """Path, path below the folder, and caption file of every picture."""
        waiting: list[tuple[Path, PurePosixPath, frozenset[tuple[int, int]]]]
        waiting = [(self.folder, PurePosixPath(), frozenset())]
        while waiting:
            path, below, above = waiting.pop()
            if _is_folder(path, report):
                identity = _identity(path)
                # A link to a folder above would lead round in circles.
                if identity not in above:
                    entries = _entries(path, report)
                    waiting += [(path / name, below / name, above | {identity}) for name in reversed(entries)]
            elif path.suffix.lower() in EXTENSIONS:
                captions = next(
                    (p for p in (path.with_suffix(".txt"), path.with_suffix(".TXT")) if p.exists()), None
                )
                yield path, str(below), captions


def _ignore(uri: str, error: str) -> None:
    """For walks whose problems will be reported by another walk."""


def _is_folder(path: Path, report: Report) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        # Broken links are reported as pictures where they are named like one.
        return False


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _entries(folder: Path, report: Report) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        report(str(folder), f"the folder can't be read ({error.strerror or error}); check its permissions")
        return []


def _read_captions(path: Path, report: Report) -> tuple[str, ...]:
    try:
        text = decode_text(path.read_bytes(), "the caption file")
    except OSError as error:
        report(
            str(path), f"the caption file can't be read ({error.strerror or error}); check its permissions"
        )
        return ()
    except DataError as error:
        report(str(path), str(error))
        return ()
    return caption_lines(text)


def caption_lines(text: str) -> tuple[str, ...]:
    """The captions of a caption file: one per line, without empty lines."""
    lines = (clean_text(line) for line in text.replace("\r", "\n").split("\n"))
    return tuple(line for line in lines if line)


def _no_pictures(folder: Path) -> str:
    others = sum(len(files) for _, _, files in os.walk(folder))
    known = " ".join(sorted(extension[1:] for extension in EXTENSIONS))
    if others == 0:
        return f"{folder} is an empty folder; put pictures into it ({known}) or name another folder"
    return (
        f"{folder} holds no pictures, but {counted(others, 'other file')}; "
        f"pictures are files ending in {known}"
    )
