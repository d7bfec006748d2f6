"""Files of text as they come: compressed or not, in UTF-8, UTF-16 or Windows-1252, perhaps in a zip."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeAlias

from hivlp.data.sources.base import UTF16_MARKS, decode_text
from hivlp.errors import DataError

# a member of a zip is read like a file
File: TypeAlias = "Path | zipfile.Path"

MAX_UNPACKED_BYTES = 2 << 30
MAX_LINE_BYTES = 64 << 20
COMPRESSED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, NotImplementedError)
# more would be a language without Latin letters
_MOST_ACCENTS = 0.25


def kind_of(name: str) -> str:
    """The ending that says what a file holds, in lower case: ``.csv`` of ``Pairs.CSV.gz``."""
    path = PurePosixPath(name.lower())
    return PurePosixPath(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


@contextmanager
def opened(path: File) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where its name says that it is compressed.

    Raises:
        DataError: it can't be read, or is damaged.
    """
    opener: Any = COMPRESSED.get(PurePosixPath(path.name.lower()).suffix)
    try:
        with path.open("rb") as raw:
            if opener is None:
                yield raw  # type: ignore[misc]
            else:
                with opener(raw) as file:
                    yield file
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged or cut off ({error}); copy it again") from error
    except RuntimeError as error:  # zipfile's word for a password
        raise DataError(
            f"{path} can't be unpacked ({error}); unpack it yourself and name the file"
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} can't be read ({error.strerror or error}); check its permissions and its disk"
        ) from error


def read_text(path: File) -> tuple[str, str | None]:
    """A whole text file, and a note where it is not UTF-8.

    Raises:
        DataError: it can't be read, is damaged, is no text, or is larger than 2 GiB when it is unpacked.
    """
    with opened(path) as file:
        limit = -1 if isinstance(path, Path) and path.suffix.lower() not in COMPRESSED else MAX_UNPACKED_BYTES
        data = file.read(limit)
        if limit >= 0 and file.read(1):
            raise DataError(f"{path} has more than {limit:,} bytes when it is unpacked; unpack it yourself")
    return decoded(data, str(path))


def decoded(data: bytes, where: str) -> tuple[str, str | None]:
    """Bytes as text, and a note where they are not UTF-8.

    UTF-16 is known by its byte-order mark. Anything else is read as Windows-1252, which holds Latin-1, if
    most of its letters are unaccented; texts in other letters would become nonsense.

    Raises:
        DataError: the bytes are of another encoding, or no text.
    """
    encoding = encoding_of(data)
    if encoding == "utf-8-sig":
        return decode_text(data, where), None
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return decode_text(data, where), None  # says what is wrong
    if encoding == "cp1252" and ("\0" in text or _is_other_script(text)):
        return decode_text(data, where), None
    name = {"utf-16": "UTF-16", "cp1252": "Windows-1252"}[encoding]
    return text.removeprefix("\ufeff"), f"{where} is not UTF-8; it was read as {name}"


def encoding_of(data: bytes) -> str:
    """The encoding of bytes: ``utf-8-sig``, ``utf-16`` or ``cp1252``."""
    if data[:2] in UTF16_MARKS:
        return "utf-16"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _is_other_script(text: str) -> bool:
    accents = sum(not letter.isascii() for letter in text)
    return accents > _MOST_ACCENTS * sum(letter.isalpha() for letter in text)


def lines_of(path: File) -> Iterator[bytes | str]:
    """The lines of a file, one at a time: bytes, or texts where the file is UTF-16.

    Raises:
        DataError: as `read_text`, and for a line above 64 MiB.
    """
    with opened(path) as file:
        first = file.read(2)
    if first in UTF16_MARKS:
        yield from read_text(path)[0].split("\n")
        return
    with opened(path) as file:
        while line := file.readline(MAX_LINE_BYTES):
            if len(line) == MAX_LINE_BYTES:
                raise DataError(
                    f"{path} has a line above {MAX_LINE_BYTES:,} bytes; write one object per line"
                )
            yield line
