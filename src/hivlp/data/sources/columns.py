"""Which columns of a table hold pictures, captions, ids and splits: by their names, or as a person says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from hivlp.data.images import EXTENSIONS
from hivlp.data.sources.base import clean_captions, plain
from hivlp.data.sources.packed import File
from hivlp.data.sources.rows import Header
from hivlp.data.sources.spec import with_columns
from hivlp.errors import DataError
from hivlp.messages import suggestion

IMAGE_COLUMNS = (
    *("image", "image_path", "filepath", "file_path", "path", "file", "file_name", "filename", "img"),
    *("image_name", "image_file", "image_filename", "image_file_name", "image_filepath", "image_file_path"),
    *("img_path", "img_name", "img_file", "imgpath", "imgname", "imagepath", "imagename", "images", "imgs"),
    *("photo", "photo_path", "photo_file", "photo_name", "picture", "picture_path", "picture_file", "pic"),
    *("image_src", "src", "image_id", "img_id", "imageid", "photo_id", "image_url", "img_url", "photo_url"),
)
BYTES_COLUMNS = ("jpg", "jpeg", "png", "webp", "image_bytes", "img_bytes", "image_data", "bytes")
CAPTION_COLUMNS = (
    *("caption", "captions", "text", "title", "caption_text", "image_caption", "image_text", "texts"),
    *("sentence", "sentences", "comment", "comments", "description", "descriptions", "raw", "prompt"),
    *("alt_text", "alt", "txt", "conversations", "messages", "label", "labels", "class", "class_name"),
    *("category", "product_name"),
)
ID_COLUMNS = ("id", "key")
SPLIT_COLUMNS = ("split",)
# The number of the caption within its picture: of no use once the captions are one list.
DROPPED_COLUMNS = ("idx", "comment_number", "caption_number")

_BETWEEN_WORDS = re.compile(r"[\s\-]+")
_NUMBERED = re.compile(r"(.+?)_?\d{1,3}")
_PICTURE = re.compile(
    rf".*({'|'.join(map(re.escape, sorted(EXTENSIONS)))})(#\d+)?", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True)
class Columns:
    """Which columns of a table mean what.

    Attributes:
        captions: several where the table has ``caption_0``, ``caption_1`` and so on.
    """

    image: str | None
    captions: tuple[str, ...]
    id: str | None
    split: str | None

    @staticmethod
    def of(names: Iterable[str], chosen: Mapping[str, tuple[str, ...]]) -> Columns:
        """The columns that a person chose, and for the rest the first known name of each list that is there.

        Names are compared in lower case, with blanks and hyphens as underscores.
        """
        names = list(names)
        by_name = {_simple(name): name for name in reversed(names)}

        def first(use: str, wanted: Iterable[str]) -> str | None:
            if use in chosen:
                return next((name for name in names if name == chosen[use][0]), None)
            return next((by_name[name] for name in wanted if name in by_name), None)

        image = first("image", IMAGE_COLUMNS + BYTES_COLUMNS)
        others = [name for name in names if name != image]
        return Columns(
            image=image,
            captions=(
                tuple(name for name in chosen["caption"] if name in names)
                if "caption" in chosen
                else _captions(others)
            ),
            id=first("id", ID_COLUMNS),
            split=first("split", SPLIT_COLUMNS),
        )

    def texts(self, cells: Mapping[str, Any]) -> tuple[str, ...]:
        """The captions of a row."""
        return tuple(text for name in self.captions for text in clean_captions(cells[name]))

    def meta(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """All other columns of a row; one without a name is the number of a row, as pandas writes it."""
        used = {self.image, self.id, self.split, *self.captions, *DROPPED_COLUMNS, "", "Unnamed: 0"}
        return {name: plain(value) for name, value in cells.items() if name not in used}


def _captions(names: list[str]) -> tuple[str, ...]:
    """The columns of the best known name, with and without a number behind it."""
    stems = {name: _stem(_simple(name)) for name in names}
    for wanted in CAPTION_COLUMNS:
        found = tuple(name for name in names if wanted in (_simple(name), stems[name]))
        if found:
            return found
    return ()


def _stem(name: str) -> str:
    match = _NUMBERED.fullmatch(name)
    return match[1] if match else name


def _simple(name: str) -> str:
    return _BETWEEN_WORDS.sub("_", name.strip().lower())


def looks_like_picture(cell: str) -> bool:
    """Whether a cell names a picture file: ``a.jpg``, or ``a.jpg#0`` as Flickr8k numbers captions."""
    return _PICTURE.fullmatch(cell.strip()) is not None


def without_number(name: str) -> str:
    """``a.jpg`` of ``a.jpg#0``."""
    match = _PICTURE.fullmatch(name)
    return name[: -len(match[2])] if match and match[2] else name


def header_of(path: File, first: list[str], chosen: Mapping[str, tuple[str, ...]]) -> Header:
    """What the first row of a table is.

    Raises:
        DataError: it names no column of pictures or captions, and it is no row of a picture and a caption.
    """
    columns = Columns.of(first, chosen)
    is_header = columns.image is not None and columns.captions
    if not is_header and not chosen and len(first) > 1 and looks_like_picture(first[0]):
        # Flickr8k.token.txt has two columns, Flickr30k's results have the number of the caption between
        between = [f"column_{place}" for place in range(2, len(first))]
        if len(first) == 3:
            between = ["comment_number"] if first[1].strip().isdigit() else between
        names = ["image", *between, "caption"]
        return Header(names, is_row=True, last_is_text=True)
    check_columns(path, first, chosen)
    return Header(first, last_is_text=bool(first) and first[-1] in columns.captions)


def check_columns(path: File, names: Iterable[str], chosen: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse a table without a column of pictures or of captions. Raises DataError naming what it has."""
    names = list(names)
    _check_chosen(path, names, chosen)
    columns = Columns.of(names, chosen)
    missing = [
        kind for kind, is_there in (("image", columns.image), ("caption", columns.captions)) if not is_there
    ]
    if not missing:
        return
    message = (
        f"{path} has no column {' and no column '.join(repr(kind) for kind in missing)}; "
        f"it has {', '.join(repr(name) for name in names) or 'none'}. Needed: "
        + " and ".join(f"one of {'/'.join(_KNOWN[kind])}" for kind in missing)
        + f", or name yours: '{with_columns(PurePosixPath(str(path)).name, missing)}'"
    )
    if "image" in missing and "url" in names:
        message += (
            "; pictures behind URLs are not downloaded: name the folder or tars they were downloaded to"
        )
    elif "image" in missing and (columns.captions or "text" in names):
        message += "; its texts alone are what `hivlp index --texts` (Index.add_texts) takes"
    raise DataError(message)


# the commonest names; docs/data.md has all
_KNOWN = {"image": IMAGE_COLUMNS[:10], "caption": CAPTION_COLUMNS[:4]}


def _check_chosen(path: File, names: list[str], chosen: Mapping[str, tuple[str, ...]]) -> None:
    for use, wanted in chosen.items():
        for name in wanted:
            if name not in names:
                has = ", ".join(map(repr, names)) or "none"
                raise DataError(
                    f"{path} has no column {name!r}, which {use}={name} names; it has {has}: "
                    f"{suggestion(name, names)}"
                )
