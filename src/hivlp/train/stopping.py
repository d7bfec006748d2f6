"""Early stopping: which evaluation was the best so far, and whether waiting for a better one has an end."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Best:
    """The best evaluation of a run so far; part of every checkpoint.

    Attributes:
        step: after which step it was made; 0 before the first one.
        average: its AR, in percent.
        since: evaluations since then, none of them better.
    """

    step: int = 0
    average: float = 0.0
    since: int = 0

    def after(self, step: int, average: float) -> Best:
        """What is the best once the evaluation after this step is known. Of equals the first stays."""
        if not self.step or average > self.average:
            return Best(step, average)
        return Best(self.step, self.average, self.since + 1)

    def is_final(self, patience: int) -> bool:
        """Whether a run ends that waits for `patience` evaluations; with 0 it never does."""
        return 0 < patience <= self.since

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
