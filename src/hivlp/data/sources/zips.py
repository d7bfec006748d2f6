"""Zip archives of pictures, with or without a table of captions; nothing is unpacked onto the disk.

One member is in memory at a time. Sizes are limited, whatever the archive says of them, and a name that leads
out of the archive is a failure.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from hivlp.data.images import EXTENSIONS, MAX_FILE_BYTES
from hivlp.data.sources.base import Report, Source, decode_text, is_utf8, no_splits_note
from hivlp.data.sources.folder import caption_lines
from hivlp.data.sources.packed import File
from hivlp.errors import DataError
from hivlp.messages import counted
from hivlp.types import Sample

_MAX_CAPTION_BYTES = 1 << 20
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


@contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive. Raises DataError where it can't be read."""
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise DataError(f"{path} can't be read as a zip archive ({error}); copy it again") from error
    with archive:
        yield archive


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, limit: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a member. Raises DataError where it is damaged, locked by a password, or too large."""
    if info.file_size > limit:
        raise DataError(f"it has {info.file_size:,} bytes, the limit is {limit:,}; make it smaller")
    try:
        with archive.open(info) as file:
            data = file.read(limit + 1)
    except _DAMAGE as error:
        reason = "it needs a password" if info.flag_bits & 1 else f"it is damaged ({error})"
        raise DataError(f"{reason}; unpack the archive yourself and name the folder") from error
    if len(data) > limit:
        raise DataError(
            f"it has more than {limit:,} bytes, and says {info.file_size:,}; it is not to be trusted"
        )
    return data


def tables_in(path: Path, is_table: Callable[[str], bool]) -> list[File]:
    """The members that are named like tables, nearest to the root of the archive first.

    Captions and metadata of one picture beside it (``dog.txt``, Takeout's ``dog.jpg.json``) are no tables.
    """
    with opened_zip(path) as archive:
        infos = [info for info in archive.infolist() if not _is_ignored(info) and _problem(info) is None]
    pictures = [info.filename.lower() for info in infos if _is_picture(info)]
    beside = {str(PurePosixPath(name).with_suffix("")) for name in pictures} | set(pictures)
    names = [
        info.filename
        for info in infos
        if is_table(info.filename)
        and str(PurePosixPath(info.filename.lower()).with_suffix("")) not in beside
        and str(PurePosixPath(info.filename.lower()).with_suffix("").with_suffix("")) not in pictures
    ]
    root = zipfile.Path(path)
    return [root / name for name in sorted(names, key=lambda name: (name.count("/"), name))]


def has_pictures(path: Path) -> bool:
    """Whether a member is named like a picture."""
    with opened_zip(path) as archive:
        return any(_is_picture(info) for info in archive.infolist())


class ZipSource(Source):
    """The pictures of an archive. The id is the path inside, the uri ``archive.zip#path``.

    Captions are the lines of ``dog.txt`` beside ``dog.jpg``.
    """

    def __init__(self, path: Path, *, split: str | None) -> None:
        super().__init__(path.name)
        self._path = path
        with opened_zip(path) as archive:
            infos = archive.infolist()
            self._count = sum(map(_is_picture, infos))
        others = len([info for info in infos if not info.is_dir()])
        if not self._count:
            raise DataError(
                f"{path} holds no pictures, but {counted(others, 'other file')}; unpack it and name these"
            )
        if split is not None:
            self.notes.append(no_splits_note(self.name, split))
        skipped = _other_kinds(infos)
        if skipped:
            self.notes.append(f"{self.name}: skipped {skipped}")

    def count(self) -> int:
        return self._count

    def _samples(self, report: Report) -> Iterator[Sample]:
        with opened_zip(self._path) as archive:
            texts = {name.lower(): name for name in archive.namelist() if name.lower().endswith(".txt")}
            for info in archive.infolist():
                if not _is_picture(info):
                    continue
                uri = f"{self._path}#{info.filename}"
                problem = _problem(info)
                if problem is None:
                    try:
                        data = read_member(archive, info)
                    except DataError as error:
                        problem = str(error)
                    else:
                        name = texts.get(str(PurePosixPath(info.filename).with_suffix(".txt")).lower())
                        captions = self._captions(archive, name, report) if name else ()
                        yield Sample(id=info.filename, uri=uri, image=data, captions=captions)
                if problem is not None:
                    report(uri, problem)

    def _captions(self, archive: zipfile.ZipFile, name: str, report: Report) -> tuple[str, ...]:
        try:
            data = read_member(archive, archive.getinfo(name), limit=_MAX_CAPTION_BYTES)
            return caption_lines(decode_text(data, "the caption file"))
        except DataError as error:
            report(f"{self._path}#{name}", str(error))
            return ()


class ZipPlace:
    """The pictures of an archive, as a table beside them names them: by their path, or by the end of it."""

    def __init__(self, path: Path, base: str) -> None:
        """`base` is the folder in the archive that paths start from, empty for its root."""
        self._path, self._base = path, base
        self._archive: zipfile.ZipFile | None = None
        self._names: dict[str, list[str]] = {}
        with opened_zip(path) as archive:
            for info in archive.infolist():
                if _is_picture(info) and _problem(info) is None:
                    end = PurePosixPath(info.filename).name
                    for name in dict.fromkeys((end.casefold(), PurePosixPath(end).stem.casefold())):
                        self._names.setdefault(name, []).append(info.filename)

    def find(self, names: Sequence[str]) -> tuple[str, str | None]:
        for name in names:
            member = self._member(name)
            if member is not None:
                return f"{self._path}#{member}", None
        return f"{self._path}#{names[0]}", "the archive has no such picture, or several; correct its path"

    def image(self, uri: str) -> bytes:
        if self._archive is None:
            self._archive = zipfile.ZipFile(self._path)
        name = uri.removeprefix(f"{self._path}#")
        try:
            return read_member(self._archive, self._archive.getinfo(name))
        except KeyError:
            raise DataError("the archive has no such member; name another one") from None

    def settle(self, names: Sequence[str]) -> str | None:
        del names  # `find` looks everywhere
        return None

    def _member(self, name: str) -> str | None:
        """The one picture whose path ends with this one, or with the longest part of its end."""
        parts = PurePosixPath(name.casefold()).parts
        if not parts:
            return None
        found = self._names.get(parts[-1], [])
        at_base = str(PurePosixPath(self._base, name))
        if at_base in found:
            return at_base
        for dropped in range(len(parts)):
            tail = parts[dropped:]
            matching = [one for one in found if _ends_with(PurePosixPath(one.casefold()).parts, tail)]
            if matching:
                return matching[0] if len(matching) == 1 else None
        return None


def _ends_with(parts: tuple[str, ...], tail: tuple[str, ...]) -> bool:
    """Whether a path ends with another one, whose last part may lack its ending."""
    if len(parts) < len(tail):
        return False
    last = parts[-1] if parts[-1] == tail[-1] else PurePosixPath(parts[-1]).stem
    return (*parts[len(parts) - len(tail) : -1], last) == tail


def _other_kinds(infos: Sequence[zipfile.ZipInfo]) -> str:
    """The files that are no pictures and no captions, counted by ending: ``8 .json, 1 .mov``."""
    kinds = Counter(
        PurePosixPath(info.filename.lower()).suffix or "without ending"
        for info in infos
        if not _is_ignored(info) and not _is_picture(info)
    )
    del kinds[".txt"]
    return ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())


def _is_ignored(info: zipfile.ZipInfo) -> bool:
    """Folders, hidden files, and what macOS adds to an archive."""
    parts = PurePosixPath(info.filename).parts
    return info.is_dir() or any(
        (part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts
    )


def _is_picture(info: zipfile.ZipInfo) -> bool:
    return not _is_ignored(info) and PurePosixPath(info.filename.lower()).suffix in EXTENSIONS


def _problem(info: zipfile.ZipInfo) -> str | None:
    if not is_utf8(info.filename):
        return "the name is not UTF-8; rename it"
    if _leads_out(info.filename):
        return "its path leads out of the archive; pack it again"
    return None


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or name[1:2] == ":"
