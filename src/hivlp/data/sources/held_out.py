"""Parts of a source set aside for validation and for reporting, by a hash of the ids: the same for everyone.

What is set aside does not depend on the order of the source or on what else it holds, so a source that grows
keeps its splits.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from hivlp.data.sources.base import Report, Source, clean_split, unknown_split
from hivlp.errors import DataError
from hivlp.types import Sample

REPORT = "report"
"""The split that no choice may look at: numbers are published on it."""


class HeldOutSource(Source):
    """Another source, a part of which is ``val``, and a part of that ``report``."""

    def __init__(
        self, source: Source, *, held_out: float | None, report: float | None, split: str | None
    ) -> None:
        """Divides a source.

        Args:
            source: without a split chosen.
            held_out: share of its pictures that become ``val``, in (0, 1); the others become ``train``.
            report: share of the pictures of ``val`` that become ``report``, in (0, 1).
            split: only this split.

        Raises:
            DataError: the source has splits of its own and `held_out` is given, or it has no such split.
        """
        super().__init__(source.name)
        self.notes = source.notes
        self.skipped = source.skipped
        self.describes = source.describes
        own = source.splits()
        if held_out is not None and own.keys() - {"train"}:
            raise DataError(f"{source.name} has splits of its own ({', '.join(own)}); leave held_out out")
        self._source, self._held_out, self._reported = source, held_out, report
        self._split = clean_split(split)
        known = {*own, "train", "val"} if held_out is not None else {*own}
        if report is not None and "val" not in known:
            raise DataError(
                f"{source.name} has no split 'val', of which report={report:g} would set a part aside: leave "
                "report out, or hold back a share with held_out=0.1"
            )
        known |= {REPORT} if report is not None else set()
        if self._split is not None and self._split not in known:
            raise DataError(unknown_split(self.name, str(split), self.splits()))

    def splits(self) -> dict[str, int]:
        """Samples of each split; reads everything once."""
        found = Counter(split for sample in self._source if (split := self._split_of(sample)) is not None)
        parts = [] if self._held_out is None else ["train", "val"]
        return {name: found[name] for name in dict.fromkeys([*parts, *found])}

    def _samples(self, report: Report) -> Iterator[Sample]:
        for sample in self._source._samples(report):
            split = self._split_of(sample)
            if self._split in (None, split):
                yield replace(sample, split=split)

    def _split_of(self, sample: Sample) -> str | None:
        split = sample.split
        if self._held_out is not None:
            split = "val" if drawn(sample.id) < self._held_out else "train"
        if split == "val" and self._reported is not None and drawn(f"report {sample.id}") < self._reported:
            return REPORT
        return split


def drawn(identity: str) -> float:
    """A number in [0, 1) from the first 64 bits of the SHA-256 of an id."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64
