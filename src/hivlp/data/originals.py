"""The picture file behind an item's uri, read again: by a service, a contact sheet, or to re-rank."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, BinaryIO

from PIL import Image

from hivlp.data.images import MAX_FILE_BYTES, decode, file_hash
from hivlp.errors import ImageError
from hivlp.messages import counted
from hivlp.types import Hit, Item

SHEET_MARK = "contact sheet of hivlp"  # what a contact sheet says in its metadata
_MARKED_BYTES = 512  # the mark stands near the beginning, in a WebP near the end
_QUALITY = 82  # of a small JPEG
UPLOADS = "uploads"  # the folder in an index with the pictures that were sent to a service, by their content


def place_of(item: Item, index: Path) -> str:
    """Where the picture of an item lies by now: its uri, or in the folder of an index that it was sent to."""
    path = Path(item.uri)
    if item.sha256 is None or path.parent.name != UPLOADS or not path.name.startswith(item.sha256):
        return item.uri
    here = index.resolve() / UPLOADS / path.name
    return str(here) if os.path.lexists(here) else item.uri


def is_contact_sheet(data: bytes) -> bool:
    """Whether a picture is a contact sheet that hivlp drew, which nobody means when they index a folder."""
    mark = SHEET_MARK.encode()
    return mark in data[:_MARKED_BYTES] or mark in data[-_MARKED_BYTES:]


def is_there(uri: str) -> bool:
    """Whether a file exists, or the archive before ``#`` that it is a member of; or nobody may look."""
    archives = (Path(uri[:end]) for end, letter in enumerate(uri) if letter == "#")
    try:
        return exists(Path(uri)) or any(archive.is_file() for archive in archives)
    except (OSError, ValueError):
        return True


def exists(path: Path) -> bool:
    """Like ``Path.exists``, but a broken link exists, and a folder that may not be looked into raises."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def note_on_missing(hits: Iterable[Hit], index: Path) -> str | None:
    """The note on pictures of a search whose files are gone; None where all are there."""
    files = [hit.uri for hit in hits if hit.kind == "image" and Path(hit.uri).is_absolute()]
    missing = [uri for uri in files if Path(uri).parent.name != UPLOADS and not is_there(uri)]
    if not missing:
        return None
    verb, they = ("is", "it was") if len(missing) == 1 else ("are", "they were")
    return (
        f"{len(missing):,} of {counted(len(files), 'picture')} found here {verb} not where {they} indexed, "
        f"such as {missing[0]}; if the folder has moved, `hivlp index FOLDER --out {index}` finds its "
        "pictures again without encoding them"
    )


def read_original(uri: str, *, sha256: str | None = None) -> bytes:
    """The bytes of a picture file, or of the member of a tar or zip that ``archive.tar#member`` names.

    Args:
        uri: where it lies.
        sha256: of the file that was indexed; another one that took its place is not given out.

    Raises:
        ImageError: it is gone, too large, no plain file, or another file by now.
    """
    try:
        data = _read(uri)
    except (OSError, ValueError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, KeyError) as error:
        raise ImageError(f"{uri} can't be read again ({error}); index it again") from None
    if sha256 is not None and file_hash(data) != sha256:
        raise ImageError(f"another file has taken the place of {uri} since it was indexed; index it again")
    return data


def thumbnail(uri: str, *, sha256: str, side: int) -> bytes:
    """A JPEG of an indexed picture, at most `side` pixels wide and high, without its metadata.

    Raises:
        ImageError: as `read_original`, or it can't be decoded.
    """
    image = decode(read_original(uri, sha256=sha256), hint=side)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return as_jpeg(image, quality=_QUALITY)


def as_jpeg(image: Image.Image, *, quality: int) -> bytes:
    """An image as a JPEG, without metadata; `quality` is Pillow's, from 0 to 95."""
    image.info = {}  # a comment of the original would be written into the JPEG
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _read(uri: str) -> bytes:
    archive, mark, member = _parts(uri, ".zip#")
    if mark:
        with _opened(Path(archive)) as file, zipfile.ZipFile(file) as pack, pack.open(member) as stream:
            return _limited(stream, pack.getinfo(member).file_size)
    archive, mark, member = _parts(uri, ".tar#")
    if not mark:
        with _opened(Path(uri)) as file:
            return _limited(file, os.fstat(file.fileno()).st_size)
    with _opened(Path(archive)) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        info = tar.getmember(member)
        stream = tar.extractfile(info)
        if stream is None:
            raise FileNotFoundError(uri)
        return _limited(stream, info.size)


def _parts(uri: str, mark: str) -> tuple[str, str, str]:
    """The archive, the mark and the member of a uri; the mark is empty where the uri has none."""
    place = uri.lower().find(mark)
    if place < 0:
        return uri, "", ""
    end = place + len(mark)
    return uri[: end - 1], mark, uri[end:]


def _limited(file: IO[bytes], size: int) -> bytes:
    if size > MAX_FILE_BYTES:
        raise ValueError(f"it has {size:,} bytes, the limit is {MAX_FILE_BYTES:,}")
    return file.read(MAX_FILE_BYTES)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A plain file to read; a pipe or a device in its place is not waited for."""
    without_waiting = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    opener = lambda name, flags: os.open(name, flags | without_waiting)  # noqa: E731
    with open(path, "rb", opener=opener) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileNotFoundError(path)
        yield file
