"""A folder of pictures with same-stem caption files; it opens caption files, never pictures."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from hivlp.data.facts import LONGEST_XMP, Facts, from_xmp
from hivlp.data.images import EXTENSIONS, problem_with
from hivlp.data.sources.base import Report, Source, clean_text, decode_text, is_utf8, no_splits_note
from hivlp.data.sources.skipped import Skipped
from hivlp.data.sources.walk import Walk, WalkedFile
from hivlp.errors import DataError
from hivlp.types import Sample


class FolderSource(Source):
    """All pictures under a folder, in the order of their names; each file once, whatever links lead to it.

    A picture is a file with one of the known extensions, in upper or lower case, or one that begins as
    pictures do. What is hidden, belongs to a system or a program, or is excluded is passed over: ``skipped``
    counts it. ``dog.txt`` beside ``dog.jpg`` holds its captions, one per line, and ``dog.jpg.xmp`` its
    metadata. The id is the path below the folder, in Unicode's form NFC; the uri is the place of the file
    without links. Tables that lie in the folder are not read: name the table itself to use it.
    """

    _ids_are_unique = True
    describes = False

    def __init__(self, folder: Path, *, split: str | None = None, exclude: Sequence[str] = ()) -> None:
        """A source of the pictures below `folder`.

        Args:
            split: has no effect but a note, since folders have no splits.
            exclude: patterns in gitignore's syntax; what they fit is passed over, and what they fit with a
                ``!`` before it is read although it is left out by default.

        Raises:
            DataError: there are no pictures, or a pattern is invalid.
        """
        super().__init__(folder.name or str(folder))
        self.folder = folder
        self._exclude = tuple(exclude)
        if split is not None:
            self.notes.append(no_splits_note(self.name, split))
        skipped = Skipped()
        if next(iter(self._walk(_ignore, skipped)), None) is None:
            raise DataError(_no_pictures(folder, skipped))

    def count(self) -> int:
        return sum(1 for _ in self._walk(_ignore, Skipped()))

    def _walk(self, report: Report, skipped: Skipped) -> Walk:
        return Walk(self.folder, exclude=self._exclude, report=report, skipped=skipped)

    def _samples(self, report: Report) -> Iterator[Sample]:
        self.skipped.clear()
        for found in self._walk(report, self.skipped):
            if not is_utf8(found.below) or not is_utf8(found.place):
                report(str(found.path), "the file name is not UTF-8; rename it")
                continue
            problem = problem_with(found.path)
            if problem is not None:
                report(str(found.path), problem)
                continue
            captions = _read_captions(found.captions, report) if found.captions else ()
            self.skipped.sidecars += bool(captions)
            meta = _read_metadata(found.metadata, report) if found.metadata else {}
            yield Sample(id=self._id(found), uri=found.place, image=found.path, captions=captions, meta=meta)

    def _id(self, found: WalkedFile) -> str:
        """The path below the folder in NFC, unless another file has that very name."""
        name = unicodedata.normalize("NFC", found.below)
        if name == found.below:
            return name
        twin = self.folder / name
        try:
            return name if not os.path.lexists(twin) or twin.samefile(found.path) else found.below
        except OSError:
            return found.below


def _ignore(uri: str, error: str) -> None:
    """For walks whose problems will be reported by another walk."""


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


def _read_metadata(path: Path, report: Report) -> Facts:
    try:
        if path.stat().st_size <= LONGEST_XMP:
            return from_xmp(path.read_bytes())
        report(str(path), f"the XMP file has more than {LONGEST_XMP:,} bytes, the limit; it is not read")
    except OSError as error:
        report(str(path), f"the XMP file can't be read ({error.strerror or error}); check its permissions")
    return {}


def caption_lines(text: str) -> tuple[str, ...]:
    """The captions of a caption file: one per line, without empty lines."""
    lines = (clean_text(line) for line in text.replace("\r", "\n").split("\n"))
    return tuple(line for line in lines if line)


def _no_pictures(folder: Path, skipped: Skipped) -> str:
    known = " ".join(sorted(extension[1:] for extension in EXTENSIONS))
    if not skipped.count:
        return f"{folder} is an empty folder; put pictures into it ({known}) or name another folder"
    return f"{folder} holds no pictures ({skipped.line()}); pictures are files ending in {known}"
