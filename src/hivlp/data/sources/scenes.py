"""Drawn scenes as a source: ``scenes:COUNT``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl

from hivlp.data.sources.base import Report, Source, clean_split
from hivlp.errors import DataError
from hivlp.types import Sample


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
