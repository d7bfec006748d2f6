"""Chance that falls the same on every Python version and platform; it knows nothing of scenes."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A seeded source of chance built on ``Random.random`` alone.

    Only that method of the standard library promises the same numbers in every version; ``choice``,
    ``shuffle`` and the like have changed in the past.
    """

    def __init__(self, seed: int) -> None:
        self.unit = random.Random(seed).random

    @classmethod
    def of(cls, *parts: object) -> Dice:
        """Dice seeded by the text of some values, so that different values never share a course."""
        text = ":".join(str(part) for part in parts)
        return cls(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big"))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def whole(self, low: int, high: int) -> int:
        """A whole number of low..high, both possible; low where high is less."""
        return low + int(self.unit() * (high - low + 1)) if high > low else low

    def real(self, low: float, high: float) -> float:
        """A number between low and high."""
        return low + (high - low) * self.unit()

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self.unit() * len(items))]
