"""Annotation files in JSON: Karpathy's splits, COCO, lists as of LAVIS and LLaVA, and plain objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from hivlp.data.sources.base import clean_captions, clean_split, clean_text, plain
from hivlp.data.sources.cells import is_missing
from hivlp.data.sources.columns import Columns, looks_like_picture
from hivlp.data.sources.packed import File, lines_of, read_text
from hivlp.data.sources.rows import Row, read_jsonl
from hivlp.data.sources.table import Chosen, Entry, TableEntries, merge_rows, picture_names, read_table
from hivlp.errors import DataError, first_reasons

_KARPATHY_USED = ("filename", "filepath", "split", "sentences", "sentids")
_COCO_USED = ("id", "file_name", "split")
_COCO_URLS = ("coco_url", "url", "flickr_url")


def read_annotations(path: File, chosen: Chosen) -> TableEntries:
    """The pictures that a JSON file names.

    Read are ``{"images": [{"filename", "split", "sentences": [{"raw"}]}]}`` (Karpathy),
    ``{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}`` (COCO captions; of COCO
    instances the names of the categories are the captions), a list of objects with the columns of a table
    (LAVIS, BLIP, LLaVA), such a list within an object (FiftyOne), ``{"a.jpg": "caption"}``, and one object a
    line.

    Raises:
        DataError: the file is no JSON, of another kind, or names no picture that can be used.
    """
    found = TableEntries()
    document = _parse(path, found)
    if document is None:
        return read_table(path, read_jsonl, chosen)
    found.entries = _Annotations(path, found, chosen).entries(document)
    if not found.entries:
        reasons = first_reasons(found.failures) or "its lists are empty"
        raise DataError(f"{path} names no pictures that can be used; {reasons}")
    return found


def is_document(path: File) -> bool:
    """Whether a file is one JSON document and not an object a line, whatever its name says."""
    first = next((line for line in lines_of(path) if line.strip()), b"")
    text = first.decode("utf-8", "replace") if isinstance(first, bytes) else first
    text = text.removeprefix("\ufeff").strip()
    return text.startswith("[") or text == "{"


def _parse(path: File, found: TableEntries) -> Any:
    """The document; None where the file has one object a line."""
    text, note = read_text(path)
    if note is not None:
        found.note(note)
    try:
        return json.loads(text)
    except RecursionError:
        raise DataError(f"{path} is nested too deep to be an annotation file; check what it is") from None
    except ValueError as error:
        if "Extra data" in str(error) and text.lstrip().startswith("{"):
            return None
        raise DataError(f"{path} is not JSON ({error}); write it again") from error


class _Annotations:
    """One document being read."""

    def __init__(self, path: File, found: TableEntries, chosen: Chosen) -> None:
        self.path = path
        self.report = found.report
        self.note = found.note
        self.chosen = chosen

    def entries(self, document: Any) -> list[Entry]:
        if isinstance(document, list):
            return self._rows(document)
        images = document.get("images") if isinstance(document, dict) else None
        if isinstance(images, list):
            if isinstance(document.get("annotations"), list):
                return _Coco(self, images).entries(document["annotations"], document.get("categories"))
            if any(isinstance(image, dict) and "sentences" in image for image in images):
                return self._karpathy(images)
        rows = self._rows_within(document) if isinstance(document, dict) else None
        if rows is not None:
            return self._rows(rows)
        found = (
            ", ".join(map(repr, list(document)[:8]))
            if isinstance(document, dict)
            else type(document).__name__
        )
        raise DataError(
            f"{self.path} is of no known kind (found: {found or 'nothing'}). Needed: Karpathy's 'images' "
            "with 'sentences', COCO's 'images' and 'annotations', or a list of objects with 'image' and "
            "'caption'"
        )

    def _rows_within(self, document: dict[str, Any]) -> list[Any] | None:
        """A list of objects with the columns needed, in whichever field; or captions by picture."""
        for value in document.values():
            first = value[0] if isinstance(value, list) and value else None
            if isinstance(first, dict):
                columns = Columns.of(first, self.chosen)
                if columns.image and columns.captions:
                    return value
        if not looks_like_picture(next(iter(document), "")):
            return None
        return [{"image": name, "caption": value} for name, value in document.items()]

    def _rows(self, items: list[Any]) -> list[Entry]:
        return merge_rows(self._list_rows(items), self.path, self.report, self.chosen)

    def _list_rows(self, items: list[Any]) -> Iterator[Row]:
        for number, item in enumerate(items):
            where = f"{self.path} entry {number}"
            if isinstance(item, dict):
                yield Row(where, item)
            else:
                self.report(
                    where,
                    f"the entry is a JSON {type(item).__name__}; write objects with 'image' and 'caption'",
                )

    def _karpathy(self, images: list[Any]) -> list[Entry]:
        entries: list[Entry] = []
        for number, image in enumerate(images):
            where = f"{self.path} image {number}"
            name = _name(image.get("filename")) if isinstance(image, dict) else None
            if name is None:
                self.report(where, "the entry has no 'filename'; add it")
                continue
            folder = image.get("filepath")
            # COCO's file names the folder (val2014) apart; it is gone where all lie in one folder.
            paths = (f"{folder}/{name}", name) if isinstance(folder, str) and folder else (name,)
            entry = Entry(
                where=where, id=clean_text(paths[0]), paths=paths, split=clean_split(image.get("split"))
            )
            entry.captions += clean_captions(image.get("sentences"))
            entry.meta = {key: plain(value) for key, value in image.items() if key not in _KARPATHY_USED}
            entries.append(entry)
        return entries


class _Coco:
    """COCO's images with their captions, or with the names of the things on them."""

    def __init__(self, reader: _Annotations, images: list[Any]) -> None:
        self.path, self.report, self.note = reader.path, reader.report, reader.note
        self.by_id: dict[str, Entry] = {}
        for number, image in enumerate(images):
            self._add(f"{self.path} image {number}", image)

    def _add(self, where: str, image: Any) -> None:
        name = _file_name(image) if isinstance(image, dict) else None
        if name is None or not isinstance(image.get("id"), (int, str)):
            self.report(where, "the entry lacks 'id' or 'file_name'; add them")
            return
        first = self.by_id.get(str(image["id"]))
        if first is not None:
            self.report(
                where, f"duplicate image id {image['id']!r}, first at {first.where}; give it another id"
            )
            return
        entry = Entry(where=where, id=clean_text(name), paths=(name,), split=clean_split(image.get("split")))
        entry.meta = {key: plain(value) for key, value in image.items() if key not in _COCO_USED}
        entry.meta["image_id"] = image["id"]
        self.by_id[str(image["id"])] = entry

    def entries(self, annotations: list[Any], categories: Any) -> list[Entry]:
        has_captions = any(isinstance(one, dict) and "caption" in one for one in annotations)
        names = _categories(categories) if not has_captions else {}
        if names:
            self.note(
                f"{self.path} has no captions; the names of its {len(names)} categories are used instead"
            )
        for number, annotation in enumerate(annotations):
            key = annotation.get("image_id") if isinstance(annotation, dict) else None
            # some writers make texts of the ids in one of the lists
            entry = self.by_id.get(str(key)) if isinstance(key, (int, str)) else None
            if entry is None:
                where = f"{self.path} annotation {number}"
                self.report(where, f"it names image {key!r}, which is not in 'images'; correct it")
                continue
            captions = clean_captions(
                names.get(str(annotation.get("category_id")), annotation.get("caption"))
            )
            entry.captions += [text for text in captions if not (names and text in entry.captions)]
        return list(self.by_id.values())


def _categories(categories: Any) -> dict[str, str]:
    """Names of categories by their ids, as texts."""
    known = categories if isinstance(categories, list) else []
    return {
        str(one["id"]): str(one["name"])
        for one in known
        if isinstance(one, Mapping) and "id" in one and not is_missing(one.get("name"))
    }


def _file_name(image: Mapping[str, Any]) -> str | None:
    """The file of one of COCO's images, else the end of its URL, which is the same name."""
    name = _name(image.get("file_name"))
    if name is not None:
        return name
    urls = (image.get(field) for field in _COCO_URLS)
    return next(
        (PurePosixPath(unquote(urlsplit(url).path)).name for url in urls if isinstance(url, str)), None
    )


def _name(value: Any) -> str | None:
    paths = picture_names(value) if isinstance(value, str) else []
    return paths[0][0] if paths else None
