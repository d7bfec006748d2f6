"""The state of an index folder at one moment; it reads no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hivlp.index.mask import RowMask
from hivlp.index.vectors import LevelArray


@dataclass(frozen=True)
class State:
    """The rows and vectors of an index at one moment.

    Attributes:
        mask: the live rows.
        levels: their vectors by width, N × width.
        generation: number of compactions so far; the row numbers of two generations are unrelated.
    """

    mask: RowMask
    levels: Mapping[int, LevelArray]
    generation: int

    @property
    def identity(self) -> tuple[int, int, int]:
        """Equal for equal states of an index: within a generation rows are only added and only deleted."""
        return self.generation, self.mask.rows, self.mask.live
