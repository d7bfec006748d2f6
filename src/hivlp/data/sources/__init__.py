"""Opens whatever holds pictures and captions as a :class:`Source`; it decodes no picture."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from hivlp.data.images import EXTENSIONS
from hivlp.data.sources.annotations import open_annotations
from hivlp.data.sources.base import Report, Source, clean_split
from hivlp.data.sources.folder import FolderSource
from hivlp.data.sources.given import GivenSource
from hivlp.data.sources.held_out import HeldOutSource, asked_for
from hivlp.data.sources.parquet import ParquetSource, holds_bytes, read_parquet
from hivlp.data.sources.rows import read_csv, read_jsonl, read_tsv
from hivlp.data.sources.table import open_table
from hivlp.data.sources.tars import TAR_EXTENSIONS, TarSource, expand_braces
from hivlp.data.sources.texts import TextSource, read_lines
from hivlp.errors import DataError
from hivlp.inputs import is_image
from hivlp.types import Sample

__all__ = ["Source", "open_given", "open_source", "open_texts"]

_TABLES = {".tsv": read_tsv, ".csv": read_csv, ".jsonl": read_jsonl, ".ndjson": read_jsonl}
_KNOWN = (
    "a folder of pictures, a .tsv/.csv/.jsonl/.parquet table, a .json annotation file, "
    "webdataset tars, or scenes:COUNT"
)


def open_source(
    spec: str | Path, *, image_root: str | Path | None = None, split: str | None = None
) -> Source:
    """Open a source of pictures and captions.

    Args:
        spec: a folder of pictures (tables inside are not looked at) or of tars; a table in ``.tsv``,
            ``.csv``, ``.jsonl`` or ``.parquet``; a Karpathy, COCO or LAVIS ``.json``; a tar or a brace
            pattern such as ``shard-{000..009}.tar``; any of these with ``?held_out=SHARE`` behind it, which
            divides a source without splits into ``train`` and ``val`` by a hash of the ids; or
            ``scenes:COUNT[?seed=S&size=P]`` for drawn pictures.
        image_root: the folder that paths in a table or JSON start from; without it, the folder of that file.
        split: only this split; ``restval`` counts as ``train``. Sources without splits are used whole, with a
            note.

    Raises:
        DataError: the source is missing, empty, of no known kind, or lacks columns or the split.
        MissingExtraError: the source is a parquet file and pyarrow is not installed.
    """
    text = str(spec)
    if text.startswith("scenes:"):
        return ScenesSource(text, split=split)
    held_out = None if Path(text).exists() else asked_for(text)
    if held_out is not None:
        whole, share = held_out
        return HeldOutSource(open_source(whole, image_root=image_root), share, split=split)
    root = _existing_root(image_root)
    path = _absolute(text)
    source = _open_path(path, root, split)
    if root is not None and not _takes_root(path):
        source.notes.append(f"the image root {root} has no effect: {source.name} holds its pictures itself")
    return source


def open_given(given: Any, *, image_root: str | Path | None = None, split: str | None = None) -> Source:
    """Open whatever Python code hands over as images.

    Args:
        given: a spec of `open_source`; a source; a sample; an image in any form of `hivlp.inputs.as_image`;
            or several images, samples and paths, where a path may be that of an image, a folder or a
            file of captions.
        image_root: as in `open_source`; relative paths in the iterable start from it too.
        split: as in `open_source`; only for a spec.

    Raises:
        DataError: as `open_source`, or it is nothing of these.
    """
    if isinstance(given, (str, Path)) and not _is_picture_file(Path(given)):
        return open_source(given, image_root=image_root, split=split)
    if split is not None:
        raise DataError(f"split={split!r} is only for a source that is named by a path; leave it out")
    if isinstance(given, Source):
        return given
    if isinstance(given, Sample) or is_image(given):
        given = [given]
    if isinstance(given, (dict, set)) or not isinstance(given, Iterable):
        raise DataError(
            f"{given!r:.60} ({type(given).__name__}) is not a source: give a path, or a list of paths, "
            "images or samples"
        )
    root = _existing_root(image_root)
    return GivenSource(given, root=root, opened=partial(_opened, root=root))


def _is_picture_file(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and path.is_file()


def _opened(path: Path, *, root: Path | None) -> Source | None:
    """The source at a path of a list; None for the path of an image, which may be missing."""
    text = str(path)
    is_spec = not path.exists() and (text.startswith("scenes:") or "{" in text or "?held_out" in text)
    holds_more = path.is_dir() or _takes_root(path) or path.name.lower().endswith(TAR_EXTENSIONS)
    return open_source(path, image_root=root) if holds_more or is_spec else None


def open_texts(path: str | Path, *, split: str | None = None) -> TextSource:
    """Open a file of texts without pictures.

    Args:
        path: a ``.txt`` with one text a line, or a table in ``.tsv``, ``.csv``, ``.jsonl`` or ``.parquet``
            with a column ``text`` or ``caption``.
        split: only this split.

    Raises:
        DataError: the file is missing, holds no texts, or has no such column or split.
        MissingExtraError: the source is a parquet file and pyarrow is not installed.
    """
    path = _absolute(path)
    readers = {".txt": read_lines, **_TABLES, ".parquet": read_parquet}
    if not path.exists():
        raise DataError(_missing(path))
    if path.is_dir() or path.suffix.lower() not in readers:
        raise DataError(f"{path} is not a file of texts; such a file ends in {' '.join(readers)}")
    return TextSource(path, readers[path.suffix.lower()], split=split)


def _open_path(path: Path, root: Path | None, split: str | None) -> Source:
    name = path.name.lower()
    base = root or path.parent
    if not path.exists():
        if "{" in str(path):
            return _open_pattern(path, split)
        raise DataError(_missing(path))
    if path.is_dir():
        return _open_folder(path, split)
    if path.suffix.lower() in _TABLES:
        return open_table(path, _TABLES[path.suffix.lower()], base=base, split=split)
    if name.endswith(".parquet"):
        if holds_bytes(path):
            return ParquetSource(path, split=split)
        return open_table(path, read_parquet, base=base, split=split)
    if name.endswith(".json"):
        return open_annotations(path, base=base, split=split)
    if name.endswith(TAR_EXTENSIONS):
        return TarSource(path.name, [path], split=split)
    raise DataError(f"{path} is {_other_kind(path)}; a source is {_KNOWN}")


def _other_kind(path: Path) -> str:
    """Names the kind of a file that is not a source, with a remedy."""
    if path.suffix.lower() == ".txt":
        return "a file of texts, which `hivlp index --texts` (Index.add_texts) takes"
    if path.suffix.lower() in EXTENSIONS:
        return f"a single picture; name its folder, {path.parent}"
    return "of no known kind of source"


def _takes_root(path: Path) -> bool:
    return path.suffix.lower() in (*_TABLES, ".parquet", ".json")


def _open_folder(folder: Path, split: str | None) -> Source:
    try:
        tars = sorted(path for path in folder.iterdir() if path.name.lower().endswith(TAR_EXTENSIONS))
    except OSError as error:
        raise DataError(
            f"{folder} can't be read ({error.strerror or error}); check its permissions"
        ) from error
    if not tars:
        return FolderSource(folder, split=split)
    try:
        pictures = FolderSource(folder).count()
    except DataError:
        return TarSource(folder.name, tars, split=split)
    raise DataError(
        f"{folder} holds both tars ({len(tars):,}) and pictures ({pictures:,}); name the tars as a pattern, "
        f"such as {folder}/{{a,b}}.tar, or move the pictures into a folder of their own"
    )


def _open_pattern(pattern: Path, split: str | None) -> Source:
    shards = [Path(name) for name in expand_braces(str(pattern))]
    others = [shard for shard in shards if not shard.name.lower().endswith(TAR_EXTENSIONS)]
    if others:
        raise DataError(
            f"{pattern} stands for {others[0]}; a brace pattern must name tars ({' '.join(TAR_EXTENSIONS)})"
        )
    if not any(shard.exists() for shard in shards):
        raise DataError(
            f"none of the {len(shards):,} tars of {pattern} exists, such as {_missing(shards[0])}"
        )
    return TarSource(pattern.name, shards, split=split)


def _absolute(path: str | Path) -> Path:
    """The one spelling of a path that uris are made of: absolute, without ``..``."""
    written = Path(path).expanduser().absolute()
    plain = Path(os.path.normpath(written))
    # behind a link `..` is another folder than it looks
    return plain if plain.exists() and written.exists() and plain.samefile(written) else written


def _existing_root(image_root: str | Path | None) -> Path | None:
    if image_root is None:
        return None
    root = _absolute(image_root)
    if not root.is_dir():
        reason = "is not a folder; name the folder that paths start from" if root.exists() else ""
        raise DataError(f"the image root {root} {reason}" if reason else f"the image root {_missing(root)}")
    return root


def _missing(path: Path) -> str:
    """That a path does not exist, with the nearest folder that does and names like it there."""
    child, parent = path, path.parent
    while not parent.exists() and parent != parent.parent:
        child, parent = parent, parent.parent
    try:
        names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    except OSError:
        names = []
    similar = difflib.get_close_matches(child.name, names[:10_000], n=3)
    hint = f"did you mean {' or '.join(similar)}?" if similar else "check the spelling"
    return f"{path} does not exist; the nearest that does is {parent}: {hint}"


class ScenesSource(Source):
    """Pictures drawn on demand, with exact captions: ``scenes:COUNT[?seed=S&size=P]``."""

    _ids_are_unique = True

    def __init__(self, spec: str, *, split: str | None) -> None:
        super().__init__(spec)
        match = re.fullmatch(r"scenes:(\d{1,12})(?:\?(.*))?", spec)
        options = dict(parse_qsl(match[2] or "", keep_blank_values=True)) if match else {}
        numbers = {key: int(value) for key, value in options.items() if re.fullmatch(r"\d{1,9}", value)}
        if (
            match is None
            or int(match[1]) < 1
            or set(options) - {"seed", "size"}
            or len(numbers) < len(options)
        ):
            raise DataError(
                f"{spec!r} is not a source of drawn scenes; write scenes:COUNT or "
                f"scenes:COUNT?seed=S&size=P, "
                "with COUNT and P at least 1 and whole numbers only"
            )
        self._count = int(match[1])
        self._seed = numbers.get("seed", 0)
        self._size = numbers.get("size", 224)
        self._split = clean_split(split) or "train"
        if not 16 <= self._size <= 4096:
            raise DataError(f"size={self._size} is invalid: must be 16 to 4096 pixels")
        if self._split not in ("train", "val", "test"):
            raise DataError(f"drawn scenes have no split {split!r}; take one of: train, val, test")

    def count(self) -> int:
        return self._count

    def splits(self) -> dict[str, int]:
        """The split that is drawn; every split has the same number of scenes."""
        return {self._split: self._count}

    def _samples(self, report: Report) -> Iterator[Sample]:
        # The drawing code is large and only needed here.
        from hivlp import scenes

        return scenes.samples(self._count, seed=self._seed, size=self._size, split=self._split)
