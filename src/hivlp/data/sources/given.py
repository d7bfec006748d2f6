"""Images, paths and samples that Python code hands over, as a source; it decodes no picture."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any

from hivlp.data.images import EXTENSIONS
from hivlp.data.sources.base import Report, Source
from hivlp.errors import DataError, ImageError
from hivlp.inputs import is_image
from hivlp.types import Sample


class GivenSource(Source):
    """The entries of a collection in their order: samples, images in any form, and paths.

    A path of a folder or of a file of captions stands for all that is in it. An entry that can't be used is
    reported with its place in the collection.
    """

    def __init__(
        self, given: Iterable[Any], *, root: Path | None, opened: Callable[[Path], Source | None]
    ) -> None:
        """Takes the entries.

        Args:
            given: the entries; a generator can be iterated once.
            root: the folder that relative paths start from; None for the working directory.
            opened: the source at a path, or None where the path is that of an image.
        """
        super().__init__("the given images")
        self._given, self._root, self._opened = given, root, opened

    def count(self) -> int | None:
        """The number of entries; unknown of a generator, and where an entry may hold several images."""
        if not isinstance(self._given, Sized) or any(_may_hold_more(entry) for entry in self._given):
            return None
        return len(self._given)

    def _samples(self, report: Report) -> Iterator[Sample]:
        for number, entry in enumerate(self._given, start=1):
            place = f"entry {number}"
            if isinstance(entry, Sample):
                yield entry
            elif isinstance(entry, (str, os.PathLike)):
                yield from self._at_path(os.fsdecode(entry), place, report)
            elif entry is None or (isinstance(entry, float) and math.isnan(entry)):
                report(place, "it is a missing value; give a path or an image")
            elif is_image(entry):
                yield from _made(entry, place, report)
            else:
                raise DataError(
                    f"{place} is {entry!r:.60} ({type(entry).__name__}): give paths, images, or samples with "
                    "captions, such as Sample(image='dog.jpg', captions=['a dog'])"
                )

    def _at_path(self, text: str, place: str, report: Report) -> Iterator[Sample]:
        path = Path(text).expanduser() if self._root is None else self._root / text
        try:
            source = self._opened(path)
        except DataError as error:
            report(text, str(error))
            return
        if source is None:
            yield from _made(text, place, report) if path == Path(text) else _at(text, path)
            return
        self.notes += source.notes
        yield from source
        for failure in source.failures:
            report(failure.uri, failure.error)


def _may_hold_more(entry: Any) -> bool:
    return isinstance(entry, (str, os.PathLike)) and Path(entry).suffix.lower() not in EXTENSIONS


def _at(text: str, path: Path) -> Iterator[Sample]:
    yield Sample(id=Path(text).as_posix(), image=path.absolute())


def _made(image: Any, place: str, report: Report) -> Iterator[Sample]:
    try:
        yield Sample(image=image)
    except ImageError as error:
        report(place, str(error))
