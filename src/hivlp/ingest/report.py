"""The report of adding to an index."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hivlp.data.sources.skipped import Skipped
from hivlp.types import Failure


@dataclass(slots=True, kw_only=True)
class AddReport:
    """What `Index.add` did.

    Attributes:
        indexed: items that were encoded and written.
        replaced: those of them that took the place of an item with the same id and other content.
        copies: those of them with the content of another item, whose vectors they take over.
        skipped: items that the index had already, with the same content.
        moved: those of them whose file is at another place now.
        captions: captions of pictures that were written as items of their own.
        cut: texts or captions that are longer than the model reads.
        failed: everything that could not be used, and why.
        partial: pictures that were used in part, such as JPEG files that are cut off, and why.
        skipped_files: files and folders of the source that are not pictures to be read.
        gone: indexed images below the folder of the source whose files are not there; `Index.prune` removes
            them.
        seconds: wall-clock time.
        notes: what the source has to say, such as an option without effect.
    """

    indexed: int = 0
    replaced: int = 0
    copies: int = 0
    skipped: int = 0
    moved: int = 0
    captions: int = 0
    cut: int = 0
    failed: list[Failure] = field(default_factory=list[Failure])
    partial: list[Failure] = field(default_factory=list[Failure])
    skipped_files: Skipped = field(default_factory=Skipped)
    gone: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list[str])

    @property
    def items_per_s(self) -> float:
        """Items written a second; 0 where none was."""
        return (self.indexed + self.captions) / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "indexed": self.indexed,
            "replaced": self.replaced,
            "copies": self.copies,
            "skipped": self.skipped,
            "moved": self.moved,
            "gone": self.gone,
            "captions": self.captions,
            "failed": [failure.as_dict() for failure in self.failed],
            "partial": [failure.as_dict() for failure in self.partial],
            "skipped_files": self.skipped_files.as_dict(),
            "seconds": round(self.seconds, 3),
            "items_per_s": round(self.items_per_s, 2),
            "notes": self.notes,
        }
