"""Opens whatever holds pictures and captions as a :class:`Source`; it decodes no picture."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any

from hivlp.data.images import EXTENSIONS
from hivlp.data.sources.annotations import is_document, read_annotations
from hivlp.data.sources.base import Source
from hivlp.data.sources.columns import Columns, looks_like_picture
from hivlp.data.sources.folder import FolderSource
from hivlp.data.sources.given import GivenSource
from hivlp.data.sources.held_out import HeldOutSource
from hivlp.data.sources.packed import COMPRESSED, File, kind_of, lines_of
from hivlp.data.sources.parquet import ParquetSource, holds_bytes, read_parquet
from hivlp.data.sources.places import FolderPlace
from hivlp.data.sources.rows import ReadRows, read_delimited, read_jsonl, separator
from hivlp.data.sources.rules import Rules
from hivlp.data.sources.scenes import ScenesSource
from hivlp.data.sources.spec import parse_spec
from hivlp.data.sources.table import Chosen, EntrySource, TableEntries, read_table
from hivlp.data.sources.tars import TAR_EXTENSIONS, TarSource, expand_braces
from hivlp.data.sources.texts import TextSource, read_lines
from hivlp.data.sources.zips import ZipPlace, ZipSource, has_pictures, tables_in
from hivlp.errors import DataError
from hivlp.inputs import is_image
from hivlp.messages import counted
from hivlp.types import Sample

__all__ = ["Source", "open_given", "open_source", "open_texts"]

_TABLES: dict[str, ReadRows] = {
    ".tsv": read_delimited,
    ".csv": read_delimited,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
}
# Flickr8k.token.txt, captions.txt, results_20130124.token: tables where their first line is a row of one
_PERHAPS_TABLES = (".txt", ".token")
_KNOWN = (
    "a folder of pictures, a .tsv/.csv/.jsonl/.parquet table, a .json annotation file, "
    "webdataset tars, a .zip, or scenes:COUNT"
)
_REMEDIES = {
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), "a spreadsheet; save it as CSV (UTF-8)"),
    **dict.fromkeys((".rar", ".7z", ".zst", ".lz4"), "an archive of a kind that is not read; unpack it"),
    **dict.fromkeys(
        (".arrow", ".feather", ".h5", ".hdf5", ".pkl", ".pickle", ".mat", ".lmdb", ".mdb", ".db", ".sqlite"),
        "a data file of a kind that is not read; write it as .parquet, .jsonl or .csv",
    ),
    **dict.fromkeys((".npy", ".npz"), "an array; `hivlp import` makes an index of vectors"),
}
_TABLES_TRIED = 20


def open_source(
    spec: str | Path,
    *,
    image_root: str | Path | None = None,
    split: str | None = None,
    exclude: Sequence[str] = (),
) -> Source:
    """Open a source of pictures and captions.

    Args:
        spec: a folder of pictures (tables inside are not looked at), of tars or of parquet files; a table in
            ``.tsv``, ``.csv``, ``.jsonl`` or ``.parquet``; a Karpathy, COCO, LAVIS or LLaVA ``.json``; a tar;
            a ``.zip`` of pictures, with or without a table; or a pattern of such files, as
            ``shard-{000..009}.tar`` or ``data/*.parquet``. Behind it may stand
            ``?image=COLUMN&caption=COLUMN`` (also ``id=`` and ``split=``) to name the columns of a table, and
            ``?held_out=SHARE``, which divides a source without splits into ``train`` and ``val`` by a hash of
            the ids, and ``?report=SHARE``, which makes a part of ``val`` the split ``report``. Or
            ``scenes:COUNT[?seed=S&size=P]`` for drawn pictures.
        image_root: the folder that paths in a table or JSON start from; without it, the folder of that file.
        split: only this split; ``restval`` counts as ``train``, ``validation`` as ``val``. Sources without
            splits are used whole, with a note.
        exclude: patterns in gitignore's syntax of what to pass over in a folder of pictures.

    Raises:
        DataError: the source is missing, empty, of no known kind, or lacks columns or the split.
        MissingExtraError: the source is a parquet file and pyarrow is not installed.
    """
    text = str(spec)
    if text.startswith("scenes:"):
        return ScenesSource(text, split=split)
    parts = parse_spec(text)
    image_root = parts.image_root if image_root is None else image_root
    if parts.held_out is not None or parts.report is not None:
        whole = _open(parts.path, image_root, None, parts.columns, exclude)
        return HeldOutSource(whole, held_out=parts.held_out, report=parts.report, split=split)
    return _open(parts.path, image_root, split, parts.columns, exclude)


def _open(
    path_text: str,
    image_root: str | Path | None,
    split: str | None,
    chosen: Chosen,
    exclude: Sequence[str],
) -> Source:
    root = _existing_root(image_root)
    path = _absolute(path_text)
    source = _open_path(path, root, split, chosen, exclude)
    if exclude and not isinstance(source, FolderSource):
        raise DataError(
            f"patterns to exclude are for folders of pictures, and {path} is not one; leave them out"
        )
    if root is not None and not isinstance(source, EntrySource):
        source.notes.append(f"the image root {root} has no effect: {source.name} holds its pictures itself")
    if chosen and isinstance(source, (FolderSource, TarSource, ZipSource)):
        raise DataError(
            f"{path} has no columns, so {' and '.join(f'{use}=' for use in chosen)} can't name one; leave "
            "out what stands behind the ?"
        )
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
    is_pattern = not path.exists() and (text.startswith("scenes:") or any(mark in text for mark in "{*[?"))
    kinds = (*_TABLES, *_PERHAPS_TABLES, ".parquet", ".json", ".zip")
    holds_more = path.is_dir() or kind_of(path.name) in kinds or path.name.lower().endswith(TAR_EXTENSIONS)
    return open_source(path, image_root=root) if holds_more or is_pattern else None


def open_texts(path: str | Path, *, split: str | None = None) -> TextSource:
    """Open a file of texts without pictures.

    Args:
        path: a ``.txt`` with one text a line, or a table in ``.tsv``, ``.csv``, ``.jsonl`` or ``.parquet``
            with a column ``text`` or ``caption``; ``?caption=COLUMN`` behind it names another one.
        split: only this split.

    Raises:
        DataError: the file is missing, holds no texts, or has no such column or split.
        MissingExtraError: the source is a parquet file and pyarrow is not installed.
    """
    parts = parse_spec(str(path))
    path = _absolute(parts.path)
    readers: dict[str, ReadRows] = {".txt": read_lines, **_TABLES, ".parquet": read_parquet}
    if not path.exists():
        raise DataError(_missing(path))
    kind = kind_of(path.name)
    if path.is_dir() or kind not in readers:
        raise DataError(f"{path} is not a file of texts; such a file ends in {' '.join(readers)}")
    return TextSource(path, readers[kind], split=split, chosen=parts.columns)


def _open_path(
    path: Path, root: Path | None, split: str | None, chosen: Chosen, exclude: Sequence[str]
) -> Source:
    if not path.exists():
        if any(mark in str(path) for mark in "{*["):
            return _open_pattern(path, root, split, chosen)
        raise DataError(_missing(path))
    if path.is_dir():
        Rules.of(exclude)  # a wrong pattern is said first
        return _open_folder(path, root, split, chosen, exclude)
    return _open_files(path.name, [path], root, split, chosen)


def _open_files(name: str, paths: list[Path], root: Path | None, split: str | None, chosen: Chosen) -> Source:
    """One source of files of one kind."""
    first = paths[0]
    if first.name.lower().endswith(TAR_EXTENSIONS):
        return TarSource(name, paths, split=split)
    kind = kind_of(first.name)
    if kind == ".zip" and len(paths) == 1:
        return _open_zip(first, root, split, chosen)
    if kind == ".parquet" and holds_bytes(next((path for path in paths if path.exists()), first), chosen):
        return ParquetSource(name, paths, split=split, chosen=chosen)
    found = TableEntries()
    for path in paths:
        read = _read_found(path, chosen)
        if read is None:
            raise DataError(f"{path} is {_other_kind(path)}; a source is {_KNOWN}")
        found.merge(read)
    base = root or first.parent
    return EntrySource(name, found, place=FolderPlace(base), base=str(base), split=split)


def _read_found(path: File, chosen: Chosen) -> TableEntries | None:
    """The pictures that a table or annotation file names; None where it is neither."""
    kind = kind_of(path.name)
    if kind == ".json" or (kind in (".jsonl", ".ndjson") and is_document(path)):
        return read_annotations(path, chosen)
    if kind == ".parquet":
        return read_table(path, read_parquet, chosen)
    if kind in _TABLES:
        return read_table(path, _TABLES[kind], chosen)
    if kind in _PERHAPS_TABLES and _begins_like_table(path, chosen):
        return read_table(path, read_delimited, chosen)
    return None


def _begins_like_table(path: File, chosen: Chosen) -> bool:
    line = next((line for line in lines_of(path) if line.strip()), b"")
    text = line.decode("utf-8-sig", "replace") if isinstance(line, bytes) else line
    cells = [cell.strip() for cell in text.split(separator(text, path.name))]
    columns = Columns.of(cells, chosen)
    is_header = columns.image is not None and bool(columns.captions)
    return bool(chosen) or is_header or (len(cells) > 1 and looks_like_picture(cells[0]))


def _other_kind(path: Path) -> str:
    """Names the kind of a file that is not a source, with a remedy."""
    kind = path.suffix.lower()
    if kind_of(path.name) == ".txt":
        return "a file of texts, which `hivlp index --texts` (Index.add_texts) takes"
    if kind in EXTENSIONS:
        return f"a single picture; name its folder, {path.parent}"
    if kind in COMPRESSED:
        return "a compressed file; unpack it, or name it by what is inside, such as pairs.csv.gz"
    return _REMEDIES.get(kind, "of no known kind of source")


def _open_folder(
    folder: Path, root: Path | None, split: str | None, chosen: Chosen, exclude: Sequence[str]
) -> Source:
    """The pictures of a folder; where it has none, its tars, or the parquet files in it and below it."""
    try:
        tars = sorted(path for path in folder.iterdir() if path.name.lower().endswith(TAR_EXTENSIONS))
    except OSError as error:
        raise DataError(
            f"{folder} can't be read ({error.strerror or error}); check its permissions"
        ) from error
    try:
        source = FolderSource(folder, split=split, exclude=exclude)
    except DataError:
        files = tars or _files_below(folder, ".parquet")
        if files:
            return _open_files(folder.name, files, root, split, chosen)
        tables = [path for kind in (*_TABLES, ".json", ".zip") for path in _files_below(folder, kind)]
        if not tables:
            raise
        raise DataError(
            f"{folder} holds no pictures, but tables or archives ({len(tables):,}); name the file, such as "
            f"{tables[0]}"
        ) from None
    if tars:
        source.notes.append(
            f"{counted(len(tars), 'tar')} beside the pictures of {folder} not read; name them as a pattern, "
            f"such as {folder}/{{a,b}}.tar"
        )
    return source


def _files_below(folder: Path, kind: str) -> list[Path]:
    """Files of a kind in a folder and below it, without hidden ones."""
    found: list[Path] = []
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = (Path(above, name) for name in sorted(names) if not name.startswith("."))
        found += [path for path in files if kind_of(path.name) == kind]
    return found


def _open_zip(path: Path, root: Path | None, split: str | None, chosen: Chosen) -> Source:
    """The pictures of an archive by its table, where a table in it names them; else all of them."""
    tables = tables_in(path, lambda name: kind_of(name) in (*_TABLES, ".json", *_PERHAPS_TABLES))
    pictures = has_pictures(path)
    problems: list[str] = []
    for table in tables[:_TABLES_TRIED]:
        try:
            found = _read_found(table, chosen)
        except DataError as error:
            problems.append(str(error))
            continue
        if found is None:
            continue
        base = root or path.parent
        inside = str(table)[len(str(path)) + 1 :].rpartition("/")[0]
        place = ZipPlace(path, inside) if pictures else FolderPlace(base)
        source = EntrySource(path.name, found, place=place, base=str(path if pictures else base), split=split)
        if not pictures or source.finds_pictures():
            source.notes.insert(0, f"the captions of {path.name} are those of {table.name} in it")
            return source
        problems.append(f"{table} names none of the pictures in the archive")
    if (not pictures or chosen) and problems:
        raise DataError(problems[0])
    source = ZipSource(path, split=split)
    source.notes += problems[:3]
    return source


def _open_pattern(pattern: Path, root: Path | None, split: str | None, chosen: Chosen) -> Source:
    """The files of a pattern with braces or stars, all of one kind."""
    names = expand_braces(str(pattern))
    matching = [sorted(glob(name, recursive=True)) or [name] for name in names]  # noqa: PTH207  absolute
    paths = [Path(name) for several in matching for name in several]
    there = [path for path in paths if path.exists()]
    if not there:
        raise DataError(f"none of the {len(paths):,} files of {pattern} exists, such as {_missing(paths[0])}")
    kinds = {_kind_in_pattern(path): path for path in reversed(paths)}
    if len(kinds) > 1 or "" in kinds:
        raise DataError(
            f"{pattern} stands for {' and '.join(map(str, kinds.values()))}; a pattern must name files "
            f"of one kind: {' '.join((*TAR_EXTENSIONS, *_TABLES, '.parquet', '.json'))}"
        )
    if "tar" in kinds or ".parquet" in kinds:
        return _open_files(pattern.name, paths, root, split, chosen)
    source = _open_files(pattern.name, there, root, split, chosen)
    source.notes += [f"{path} does not exist; it was left out" for path in paths if path not in there]
    return source


def _kind_in_pattern(path: Path) -> str:
    if path.name.lower().endswith(TAR_EXTENSIONS):
        return "tar"
    kind = kind_of(path.name)
    return kind if kind in (*_TABLES, ".parquet", ".json") and not path.is_dir() else ""


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
