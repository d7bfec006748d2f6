"""A list of ids beside vectors: lines of text, a JSON list, or a table that describes the items."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hivlp.data.sources.packed import kind_of, read_text
from hivlp.data.sources.parquet import read_parquet
from hivlp.data.sources.rows import Header, Reading, read_delimited, read_jsonl
from hivlp.errors import DataError

_READERS = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
}
_NAMED = (
    "id",
    "key",
    "image_path",
    "url",
    "path",
    "filepath",
    "file_path",
    "file_name",
    "filename",
    "image",
    "uri",
)


def read_ids(path: Path) -> list[Mapping[str, Any]]:
    """The descriptions of items in the order of the file, each with ``id`` or other columns.

    Raises:
        DataError: the file can't be read, is of another kind, or a line of it is bad: the others would no
            longer belong to their vectors.
    """
    kind = kind_of(path.name)
    if kind == ".txt":
        return [{"id": line} for line in read_text(path)[0].splitlines()]
    if kind == ".json":
        return _of_json(path)
    if kind not in _READERS:
        raise DataError(f"{path} is not a list of ids; such a file ends in .txt .json {' '.join(_READERS)}")

    def refuse(where: str, problem: str) -> None:
        raise DataError(f"{where}: {problem}, since each line belongs to a vector")

    return [row.cells for row in _READERS[kind](path, Reading(_header, refuse, lambda note: None))]


def _header(names: list[str]) -> Header:
    """A table of one column may have no header."""
    if len(names) == 1 and names[0].lower() not in _NAMED:
        return Header(["id"], is_row=True)
    return Header([name.lower() if name.lower() in _NAMED else name for name in names])


def _of_json(path: Path) -> list[Mapping[str, Any]]:
    try:
        document = json.loads(read_text(path)[0])
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); write a list of ids") from error
    if not isinstance(document, list) or not all(isinstance(one, (str, int, dict)) for one in document):
        raise DataError(f"{path} is not a list of ids or of objects; write one of these")
    return [one if isinstance(one, dict) else {"id": str(one)} for one in document]
