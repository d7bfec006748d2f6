"""A part of a source held back for validation, chosen by a hash of the ids: the same for everyone, for ever.

What is held back does not depend on the order of the source or on what else it holds, so a source that grows
keeps its split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from hivlp.data.sources.base import Report, Source, clean_split, unknown_split
from hivlp.errors import DataError
from hivlp.types import Sample


class HeldOutSource(Source):
    """Another source in the splits ``train`` and ``val``."""

    def __init__(self, source: Source, share: float, *, split: str | None) -> None:
        """`share` of the pictures, in (0, 1), become ``val``. Raises DataError where one is."""
        super().__init__(source.name)
        self.notes = source.notes
        self.skipped = source.skipped
        self.describes = source.describes
        if source.splits().keys() - {"train"}:
            raise DataError(
                f"{source.name} has splits of its own ({', '.join(source.splits())}); leave held_out out"
            )
        self._source, self._share, self._split = source, share, clean_split(split)
        if self._split not in (None, "train", "val"):
            raise DataError(unknown_split(self.name, str(split), self.splits()))

    def splits(self) -> dict[str, int]:
        """Samples of each split; reads everything once."""
        found = {"train": 0, "val": 0}
        for sample in self._source:
            found[split_of(sample.id, self._share)] += 1
        return found

    def _samples(self, report: Report) -> Iterator[Sample]:
        for sample in self._source._samples(report):
            split = split_of(sample.id, self._share)
            if self._split in (None, split):
                yield replace(sample, split=split)


def split_of(identity: str, share: float) -> str:
    """``val`` for a share of all ids, by the first 64 bits of their SHA-256; ``train`` for the others."""
    drawn = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64
    return "val" if drawn < share else "train"
