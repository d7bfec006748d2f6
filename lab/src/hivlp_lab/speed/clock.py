"""Timing: one call after another, after a warm-up, by the median."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

WARM_UP = 3


@dataclass(frozen=True, kw_only=True)
class TimeLimit:
    """The limits of one measurement: ``most`` calls, or the calls of ``seconds``, at least 3."""

    most: int = 200
    seconds: float = 8.0


def medians(steps: Sequence[Callable[[int], Any]], effort: TimeLimit) -> tuple[list[float], float, int]:
    """Milliseconds of each step and of all steps together, and how many rounds were timed.

    A round runs the steps one after the other, as a query does: what one leaves in the caches the next one
    meets. Steps are given the number of the round.
    """
    took: list[list[float]] = []
    begin = time.perf_counter()
    for turn in range(-WARM_UP, effort.most):
        marks = [time.perf_counter()]
        for step in steps:
            step(turn)
            marks.append(time.perf_counter())
        if turn >= 0:
            took.append([1e3 * (after - before) for before, after in itertools.pairwise(marks)])
        if len(took) >= 3 and marks[-1] - begin > effort.seconds:
            break
    parts = [statistics.median(column) for column in zip(*took, strict=True)]
    return parts, statistics.median(map(sum, took)), len(took)
