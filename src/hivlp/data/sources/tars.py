"""Webdataset tars: neighbouring members of one name are one sample, and names may have dots.

They are read once from front to back, one sample in memory at a time, with the standard library alone.
"""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

from hivlp.data.images import EXTENSIONS, problem_with
from hivlp.data.sources.base import (
    Report,
    Source,
    clean_captions,
    clean_split,
    decode_text,
    is_utf8,
    no_splits_note,
    plain,
    unknown_split,
)
from hivlp.data.sources.columns import CAPTION_COLUMNS
from hivlp.data.sources.folder import caption_lines
from hivlp.data.sources.table import count_splits
from hivlp.errors import DataError
from hivlp.types import Sample

TAR_EXTENSIONS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_MEMBER_BYTES = 1 << 28

_TEXT_PARTS = ("txt", "caption", "text", "json", "cls")
_MOST_WAITING = 16
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_DAMAGE = (tarfile.TarError, OSError, EOFError, zlib.error, ValueError)


class _StrictHeader(tarfile.TarInfo):
    """A header that reports damage; the standard one takes a broken header for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> Any:
        try:
            return super().fromtarfile(tarfile)
        except _HEADER_ERROR as error:
            if type(error).__name__ == "EOFHeaderError":
                raise
            raise _READ_ERROR(f"{error}; the archive is cut off or damaged") from error


_HEADER_ERROR = tarfile.HeaderError
_READ_ERROR = tarfile.ReadError


class TarSource(Source):
    """One or more tars. The id is the members' common name, the uri ``shard.tar#member``.

    A sample has a picture (``.jpg``, ``.png``, ...), captions in ``.txt`` (one per line) or else in ``.json``
    (``caption``, ``text`` or ``title``; all other fields are metadata), and perhaps a ``.cls``. Where the
    first sample's JSON has a ``split``, the tars have splits.
    """

    def __init__(self, name: str, shards: list[Path], *, split: str | None = None) -> None:
        super().__init__(name)
        self._shards = shards
        self._has_splits = self._probe()
        self._split = clean_split(split)
        if split is not None and not self._has_splits:
            self.notes.append(no_splits_note(name, split))
            self._split = None

    def _probe(self) -> bool:
        """Whether there are splits. Raises DataError where the only shard can't be read at all."""
        problems: list[str] = []
        for shard in self._shards[:1]:
            first = next(_read_shard(shard, lambda uri, error: problems.append(f"{uri}: {error}")), None)
            if first is not None:
                return first.split is not None
        if len(self._shards) == 1:
            reason = problems[0] if problems else "it holds no pictures"
            raise DataError(f"{self._shards[0]} can't be used as a tar of pictures; {reason}")
        return False

    def splits(self) -> dict[str, int]:
        """Samples of each split; reads everything once."""
        if not self._has_splits:
            return {}
        samples = (sample for shard in self._shards for sample in _read_shard(shard, lambda uri, error: None))
        return count_splits(sample.split for sample in samples)

    def _samples(self, report: Report) -> Iterator[Sample]:
        found: dict[str, int] = {}
        for shard in self._shards:
            for sample in _read_shard(shard, report):
                if sample.split is not None:
                    found[sample.split] = found.get(sample.split, 0) + 1
                if self._split is None or sample.split == self._split:
                    yield sample
        if self._split is not None and self._split not in found:
            raise DataError(unknown_split(self.name, self._split, found))


def expand_braces(pattern: str) -> list[str]:
    """All names of a pattern: ``a-{000..002}.tar`` counts (with its zeros), ``{x,y}.tar`` lists."""
    pieces = _BRACES.split(pattern)
    choices = [_choices(piece) if number % 2 else [piece] for number, piece in enumerate(pieces)]
    return ["".join(parts) for parts in product(*choices)]


def _choices(inside: str) -> list[str]:
    match = _RANGE.fullmatch(inside)
    if match is None:
        return inside.split(",")
    first, last = match.groups()
    step = 1 if int(first) <= int(last) else -1
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + step, step)]


def _read_shard(shard: Path, report: Report) -> Iterator[Sample]:
    """The samples of one tar; damage ends it and is reported, with what was read kept."""
    problem = problem_with(shard)
    if problem is not None:
        report(str(shard), problem)
        return
    group = _Group(shard, report)
    for member, data in _members(shard, report):
        yield from group.add(member, data)
    yield from group.end()


class _Group:
    """The neighbouring members that have one name before their first dot, until they are samples.

    Mostly that is one sample: ``7.jpg``, ``7.txt``, and ``7.seg.png``, which is no picture of its own. Where
    no picture has the name alone, the names have dots themselves (``2024.05.jpg``, ``2024.05.txt``), and all
    before the last dot is the name. Few such members wait at a time.
    """

    def __init__(self, shard: Path, report: Report) -> None:
        self._shard, self._report = shard, report
        self._key: str | None = None
        self._parts: dict[str, tuple[str, bytes]] = {}

    def add(self, member: str, data: bytes) -> Iterator[Sample]:
        """Takes a member; the samples that are complete with it."""
        name, _, extension = PurePosixPath(member).name.partition(".")
        extension = extension.lower()
        folder = str(PurePosixPath(member).parent)
        key = name if folder == "." else f"{folder}/{name}"
        if self._parts and (key != self._key or extension in self._parts):
            yield from self.end()
        elif len(self._parts) >= _MOST_WAITING and not self._has_plain_picture():
            yield from self._dotted(but=extension.rpartition(".")[0])
        self._key = key
        # beside a picture with the name alone, others are masks and the like
        is_part = "." in extension and self._has_plain_picture()
        self._parts[extension] = (member, b"" if is_part else data)

    def end(self) -> Iterator[Sample]:
        """The samples of what was taken so far."""
        parts, self._parts = self._parts, {}
        if not parts:
            return
        names = {extension.rpartition(".")[0] for extension in parts}
        if names == {""} or any(f".{extension}" in EXTENSIONS for extension in parts):
            yield from _sample(self._shard, str(self._key), parts, self._report)
        else:
            self._parts = parts
            yield from self._dotted(but=None)

    def _has_plain_picture(self) -> bool:
        return any(f".{extension}" in EXTENSIONS for extension in self._parts)

    def _dotted(self, *, but: str | None) -> Iterator[Sample]:
        """A sample for each name with dots; the members of the one name `but` go on waiting."""
        by_name: dict[str, dict[str, tuple[str, bytes]]] = {}
        for extension, part in self._parts.items():
            name, _, last = extension.rpartition(".")
            by_name.setdefault(name, {})[last] = part
        waiting = by_name.pop(but, {}) if but else {}
        self._parts = {f"{but}.{last}": part for last, part in waiting.items()}
        for name, parts in by_name.items():
            # the case of the name as it was written
            member = next(iter(parts.values()))[0]
            key = member[: member.rindex(".")] if name else str(self._key)
            yield from _sample(self._shard, key, parts, self._report)


def _members(shard: Path, report: Report) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of the files of a tar, front to back; parts that are not used come without bytes."""
    try:
        with tarfile.open(shard, "r|*", tarinfo=_StrictHeader, errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                # tarfile remembers every member: millions of them, in a stream that never looks back.
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue]
                data = _member_bytes(shard, tar, member, report)
                if data is not None:
                    yield member.name.removeprefix("./"), data
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        report(str(shard), f"damaged or cut off ({reason}); what came before is kept, copy it again")


def _member_bytes(shard: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, report: Report) -> bytes | None:
    name = PurePosixPath(member.name).name
    if member.isdir() or name.startswith("."):
        return None
    uri = f"{shard}#{member.name}"
    if not is_utf8(member.name):
        report(uri, "the name is not UTF-8; rename it")
    elif not member.isfile():
        report(uri, "it is a link or a device, not a file; pack the file itself")
    elif member.size > MAX_MEMBER_BYTES:
        report(uri, f"it has {member.size:,} bytes, the limit is {MAX_MEMBER_BYTES:,}; make it smaller")
    else:
        extension = name.rpartition(".")[2].lower()
        if f".{extension}" not in EXTENSIONS and extension not in _TEXT_PARTS:
            return b""
        file = tar.extractfile(member)
        data = file.read() if file is not None else b""
        if len(data) < member.size:
            raise EOFError(f"{member.name} ends after {len(data):,} of {member.size:,} bytes")
        return data
    return None


def _sample(shard: Path, key: str, parts: dict[str, tuple[str, bytes]], report: Report) -> Iterator[Sample]:
    """The sample of one group of members; none where it has no picture."""
    picture = next((part for extension, part in parts.items() if f".{extension}" in EXTENSIONS), None)
    uri = f"{shard}#{picture[0] if picture else key}"
    if picture is None:
        members = ", ".join(member for member, _ in parts.values())
        report(
            uri, f"no picture among the members {members}; name it like {key}.jpg, beside its other members"
        )
        return
    captions: tuple[str, ...] = ()
    fields: dict[str, Any] = {}
    for extension, (member, data) in parts.items():
        if extension not in _TEXT_PARTS:
            continue
        try:
            text = decode_text(data, "the member")
            if extension == "json":
                fields = _fields(text)
            elif extension == "cls":
                fields.setdefault("cls", int(text) if text.strip().isdigit() else text.strip())
            else:
                captions += caption_lines(text)
        except (DataError, ValueError, RecursionError) as error:
            report(f"{shard}#{member}", f"left out: {error}")
    yield _make(key, uri, picture[1], captions, fields)


def _fields(text: str) -> dict[str, Any]:
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError(f"it is a JSON {type(fields).__name__}; write an object")
    return fields


def _make(key: str, uri: str, image: bytes, captions: tuple[str, ...], fields: dict[str, Any]) -> Sample:
    split = clean_split(fields.pop("split", None))
    used = next((name for name in CAPTION_COLUMNS if clean_captions(fields.get(name))), None)
    if used is not None:
        own = clean_captions(fields.pop(used))
        captions = captions or own
    meta = {name: plain(value) for name, value in fields.items()}
    return Sample(id=key, uri=uri, image=image, captions=captions, split=split, meta=meta)
