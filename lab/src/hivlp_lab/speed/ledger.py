"""What was measured so far, kept in a file, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hivlp_lab.bench.worker import read_rows

TOLERATED = 0.1
"""Share of the processors that other processes may use while something is measured."""


RETRIES = 2
"""How often a time is measured again where other processes disturbed it."""


class Ledger:
    """Named measurements, one JSON line each, written as soon as they are there.

    Beside each stands which share of the processors other processes used meanwhile. With ``again`` what they
    disturbed before is measured anew.
    """

    def __init__(
        self, path: Path, say: Callable[[str], None] = lambda message: None, *, again: bool = False
    ) -> None:
        self._path = path
        self._say = say
        self._requested: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = {row["name"]: row for row in read_rows(path)}
        self._rows = {name: row for name, row in rows.items() if not (again and _is_disturbed(row))}

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def get(self, name: str, measure: Callable[[], Any], *, retries: int = 0) -> Any:
        """The measurement of this name, made now if it was not made before; JSON-compatible.

        Args:
            retries: how often it may be made again where other processes disturbed it; the quietest counts.
        """
        self._requested.add(name)
        if name not in self._rows:
            self._say(name)
            value, others = _measured(measure)
            for _ in range(retries):
                if others <= TOLERATED:
                    break
                self._say(f"{name}: other processes disturbed it, once more")
                value, others = min((value, others), _measured(measure), key=lambda one: one[1])
            row = {"name": name, "value": value, "others": round(others, 3)}
            with self._path.open("a", encoding="utf-8") as file:
                # a new line first: it ends one that was cut off
                file.write("\n" + json.dumps(row))
            self._rows[name] = row
        return self._rows[name]["value"]

    def disturbed(self) -> dict[str, float]:
        """The requested rows that other processes disturbed, with their share of the processors."""
        requested = (self._rows[name] for name in sorted(self._requested))
        return {row["name"]: row["others"] for row in requested if _is_disturbed(row)}


def _measured(measure: Callable[[], Any]) -> tuple[Any, float]:
    """A value, and the share of the processors that other processes used meanwhile."""
    before = _processor_seconds()
    value = measure()
    return value, _share_of_others(before, _processor_seconds())


def _is_disturbed(row: Mapping[str, Any]) -> bool:
    return row["others"] > TOLERATED


def _processor_seconds() -> tuple[float, float, float]:
    """Seconds since the start: of all processors, idle ones included; busy ones; and of this process."""
    with suppress(OSError):
        line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
        ticks = [int(part) / os.sysconf("SC_CLK_TCK") for part in line.split()[1:9]]
        own = os.times()
        return sum(ticks), sum(ticks) - ticks[3] - ticks[4], own.user + own.system
    return 0.0, 0.0, 0.0


def _share_of_others(before: tuple[float, ...], after: tuple[float, ...]) -> float:
    """Share of all processors that other processes used between two moments, in [0, 1]; 0 where unknown."""
    total, busy, own = (late - early for early, late in zip(before, after, strict=True))
    return min(1.0, max(0.0, busy - own) / total) if total > 0 else 0.0
