"""Tells which samples and items are one file, and which item a file was before it was moved."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from hivlp.data.originals import is_there
from hivlp.types import Item, Sample

_FORMS = ("NFC", "NFD")


def is_named_by_place(thing: Sample | Item) -> bool:
    """Whether the id is a path, which changes with the place of the file; others were given by somebody."""
    paths = [thing.uri]
    if isinstance(thing, Sample) and isinstance(thing.image, Path):
        paths.append(str(thing.image))
    return _last_part(thing.id) in map(_last_part, paths)


def places(sample: Sample) -> list[str]:
    """The spellings of the place of a sample's file, the one without links first; none where it has none."""
    if not isinstance(sample.image, Path):
        return []
    spelled = dict.fromkeys((os.path.realpath(sample.image), sample.uri, str(sample.image)))
    if all(map(str.isascii, spelled)):
        return list(spelled)
    forms = (unicodedata.normalize(form, place) for place in spelled for form in _FORMS)
    return list(dict.fromkeys((*spelled, *forms)))


def is_same_name(one: str, other: str) -> bool:
    """Whether two paths differ in their form of Unicode at most."""
    return one == other or unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def is_same_file(item: Item, sample: Sample) -> bool:
    """Whether the file of a sample is that of an item by another path: through a link, or a mounted disk."""
    if not isinstance(sample.image, Path):
        return False
    try:
        return sample.image.samefile(item.uri)
    except (OSError, ValueError):
        return False


def moved_from(sample: Sample, items: Iterable[Item]) -> Item | None:
    """Which of the items with a sample's content has lost its file; the one whose path is most alike.

    An image from memory has no file that could be lost.

    Args:
        items: with the content of the sample, in any order.
    """
    gone = [item for item in items if Path(item.uri).is_absolute() and not is_there(item.uri)]
    return max(gone, key=lambda item: _likeness(item.uri, sample.uri), default=None)


def _likeness(one: str, other: str) -> tuple[int, int]:
    """How many parts of two paths agree at their ends, and then at their beginnings."""
    ours, theirs = _parts(one), _parts(other)
    return _agreeing(reversed(ours), reversed(theirs)), _agreeing(ours, theirs)


def _agreeing(ours: Iterable[str], theirs: Iterable[str]) -> int:
    pairs = zip(ours, theirs, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _parts(path: str) -> list[str]:
    return unicodedata.normalize("NFC", path).replace("\\", "/").split("/")


def _last_part(path: str) -> str:
    return _parts(path)[-1]
