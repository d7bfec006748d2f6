"""Adds and deletes items for requests; uploaded images are stored inside the index folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hivlp.data.images import check, file_hash
from hivlp.data.originals import UPLOADS
from hivlp.errors import ImageError
from hivlp.files import sync_folder, write_atomically
from hivlp.ingest import AddReport, text_id
from hivlp.retriever import Index
from hivlp.types import Failure, Sample


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An image or a text to add.

    Attributes:
        name: its id; None makes one from the content.
        image: an encoded image.
        text: a text.
        caption: caption of the image.
        meta: JSON-compatible.
    """

    name: str | None = None
    image: bytes | None = None
    text: str | None = None
    caption: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Added:
    """The result of adding uploads: the ids of the items, and the reports."""

    ids: list[str]
    reports: list[AddReport]

    def as_dict(self) -> dict[str, Any]:
        sums = {
            name: sum(getattr(r, name) for r in self.reports) for name in ("indexed", "replaced", "skipped")
        }
        failed = [failure.as_dict() for report in self.reports for failure in report.failed]
        return {"ids": self.ids, **sums, "failed": failed}


def add(index: Index, uploads: Sequence[Upload], max_pixels: int) -> Added:
    """Adds images and texts, durably.

    An upload that can't be used is reported and does not stop the others.
    """
    refused = AddReport()
    samples: list[Sample] = []
    for number, upload in enumerate(uploads, start=1):
        if upload.image is None:
            continue
        try:
            samples.append(_sample(index, upload, upload.image, max_pixels))
        except ImageError as error:
            refused.failed.append(Failure(uri=upload.name or f"item {number}", error=str(error)))
    texts = [upload for upload in uploads if upload.text is not None]
    reports = [refused, index.add(samples), _add_texts(index, texts)]
    failed = {failure.uri for report in reports for failure in report.failed}
    ids = [sample.id for sample in samples if sample.uri not in failed] + [_text_id(text) for text in texts]
    return Added(ids=[name for name in ids if name not in failed], reports=reports)


def delete(index: Index, ids: Sequence[str]) -> list[str]:
    """Removes items and their uploaded images. Returns the unknown ids."""
    folder = index.folder_store("served for writing")
    items = dict(zip(ids, folder.fetch(ids), strict=True))
    index.delete(ids)
    for item in items.values():
        if item is None or folder.known_uris([item.uri]):
            continue
        place = Path(index.place(item))
        if place.parent == _folder(index):
            place.unlink(missing_ok=True)
    return [name for name, item in items.items() if item is None]


def _sample(index: Index, upload: Upload, image: bytes, max_pixels: int) -> Sample:
    media_type = check(image, max_pixels=max_pixels)
    digest = file_hash(image)
    path = _folder(index) / f"{digest}.{media_type.partition('/')[2]}"
    _write(path, image)
    return Sample(
        id=upload.name or digest[:16],
        uri=str(path),
        image=path,
        captions=() if upload.caption is None else (" ".join(upload.caption.split()),),
        meta=upload.meta,
    )


def _add_texts(index: Index, texts: Sequence[Upload]) -> AddReport:
    if not texts:
        return AddReport()
    return index.add_texts(
        [str(text.text) for text in texts],
        ids=[_text_id(text) for text in texts],
        meta=[text.meta for text in texts],
    )


def _text_id(upload: Upload) -> str:
    return upload.name or text_id(str(upload.text))


def _folder(index: Index) -> Path:
    """The folder of uploaded images, named by their content: ``uploads`` in the index folder."""
    return Path(index.info()["path"]).resolve() / UPLOADS


def _write(path: Path, data: bytes) -> None:
    """Writes a file completely or not at all, before the item that names it."""
    if path.is_file() and not path.is_symlink() and path.read_bytes() == data:
        return
    if not path.parent.is_dir():
        path.parent.mkdir(exist_ok=True)
        sync_folder(path.parent.parent)  # the name of the new folder, too, must outlast a power cut
    write_atomically(path, data)
