"""Annotation files in JSON: Karpathy's splits, COCO captions, and the lists of LAVIS and BLIP."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hivlp.data.sources.base import Report, clean_captions, clean_split, clean_text, plain, read_text
from hivlp.data.sources.rows import Row
from hivlp.data.sources.table import Entry, EntrySource, merge_rows
from hivlp.errors import DataError
from hivlp.types import Failure

_KARPATHY_USED = ("filename", "filepath", "split", "sentences", "sentids")
_COCO_USED = ("id", "file_name")


def open_annotations(path: Path, *, base: Path, split: str | None) -> EntrySource:
    """The pictures that a JSON file names, below ``base``.

    Read are ``{"images": [{"filename", "split", "sentences": [{"raw"}]}]}`` (Karpathy),
    ``{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}`` (COCO captions), and
    ``[{"image", "caption"}]`` with one caption or a list (LAVIS, BLIP, ALBEF).
    """
    failures: list[Failure] = []

    def report(uri: str, error: str) -> None:
        failures.append(Failure(uri=uri, error=error))

    entries = _entries(path, _parse(path), report)
    if not entries:
        raise DataError(f"{path} names no pictures that can be used; {_first_problem(failures)}")
    return EntrySource(path.name, entries, failures, base=base, split=split)


def _parse(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except RecursionError:
        raise DataError(f"{path} is nested too deep to be an annotation file; check what it is") from None
    except ValueError as error:
        hint = (
            "name it .jsonl if it has one object per line" if "Extra data" in str(error) else "write it again"
        )
        raise DataError(f"{path} is not JSON ({error}); {hint}") from error


def _entries(path: Path, document: Any, report: Report) -> list[Entry]:
    if isinstance(document, list):
        return merge_rows(_list_rows(path, document, report), path, report)
    images = document.get("images") if isinstance(document, dict) else None
    if isinstance(images, list):
        if isinstance(document.get("annotations"), list):
            return _coco(path, images, document["annotations"], report)
        if any(isinstance(image, dict) and "sentences" in image for image in images):
            return _karpathy(path, images, report)
    found = (
        ", ".join(map(repr, list(document)[:8])) if isinstance(document, dict) else type(document).__name__
    )
    raise DataError(
        f"{path} is of no known kind (found: {found or 'nothing'}). Needed: Karpathy's 'images' with "
        "'sentences', COCO's 'images' and 'annotations', or a list of objects with 'image' and 'caption'"
    )


def _first_problem(failures: list[Failure]) -> str:
    if not failures:
        return "its lists are empty"
    return f"the first problem: {failures[0].uri}: {failures[0].error}"


def _list_rows(path: Path, items: list[Any], report: Report) -> Iterator[Row]:
    for number, item in enumerate(items):
        where = f"{path} entry {number}"
        if isinstance(item, dict):
            yield Row(where, item)
        else:
            report(
                where, f"the entry is a JSON {type(item).__name__}; write objects with 'image' and 'caption'"
            )


def _karpathy(path: Path, images: list[Any], report: Report) -> list[Entry]:
    entries: list[Entry] = []
    for number, image in enumerate(images):
        where = f"{path} image {number}"
        name = image.get("filename") if isinstance(image, dict) else None
        if not isinstance(name, str) or not name.strip():
            report(where, "the entry has no 'filename'; add it")
            continue
        folder = image.get("filepath")
        # COCO's file names the folder (val2014) apart; who unpacked all pictures into one folder has none.
        paths = (f"{folder}/{name}", name) if isinstance(folder, str) and folder else (name,)
        entry = Entry(
            where=where, id=clean_text(paths[0]), paths=paths, split=clean_split(image.get("split"))
        )
        entry.captions += _sentences(image.get("sentences"))
        entry.meta = {key: plain(value) for key, value in image.items() if key not in _KARPATHY_USED}
        entries.append(entry)
    return entries


def _sentences(value: Any) -> Iterator[str]:
    for sentence in value if isinstance(value, list) else ():
        yield from clean_captions(sentence.get("raw") if isinstance(sentence, Mapping) else sentence)


def _coco(path: Path, images: list[Any], annotations: list[Any], report: Report) -> list[Entry]:
    by_id: dict[Any, Entry] = {}
    for number, image in enumerate(images):
        where = f"{path} image {number}"
        name = image.get("file_name") if isinstance(image, dict) else None
        if not isinstance(name, str) or not name.strip() or not isinstance(image.get("id"), (int, str)):
            report(where, "the entry lacks 'id' or 'file_name'; add them")
            continue
        first = by_id.get(image["id"])
        if first is not None:
            report(where, f"duplicate image id {image['id']!r}, first at {first.where}; give it another id")
            continue
        entry = Entry(where=where, id=clean_text(name), paths=(name,), split=clean_split(image.get("split")))
        entry.meta = {key: plain(value) for key, value in image.items() if key not in (*_COCO_USED, "split")}
        entry.meta["image_id"] = image["id"]
        by_id[image["id"]] = entry
    for number, annotation in enumerate(annotations):
        key = annotation.get("image_id") if isinstance(annotation, dict) else None
        found = by_id.get(key) if isinstance(key, (int, str)) else None
        if found is None:
            report(
                f"{path} annotation {number}", f"it names image {key!r}, which is not in 'images'; correct it"
            )
        else:
            found.captions += clean_captions(annotation.get("caption"))
    return list(by_id.values())
