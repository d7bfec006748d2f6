"""What was measured so far, kept in a file, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hivlp.bench.worker import read_rows


class Ledger:
    """Named measurements, one JSON line each, written as soon as they are there.

    Beside each stands how busy other processes kept the processors meanwhile; what they disturbed more than
    ``tolerated`` is measured again by the next run.
    """

    def __init__(
        self, path: Path, say: Callable[[str], None] = lambda message: None, *, tolerated: float = 1.0
    ) -> None:
        self._path = path
        self._say = say
        self._tolerated = tolerated
        self.disturbed: dict[str, float] = {}
        """What this run measured while others were too busy, with their share of the processors."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, Any] = {
            row["name"]: row["value"] for row in read_rows(path) if row["others"] <= tolerated
        }

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def get(self, name: str, measure: Callable[[], Any]) -> Any:
        """The measurement of this name, made now if it was not made before; JSON-compatible."""
        if name not in self._known:
            self._say(name)
            before = _processor_seconds()
            value = measure()
            others = _share_of_others(before, _processor_seconds())
            if others > self._tolerated:
                self.disturbed[name] = others
                self._say(f"{name}: others used {others:.0%} of the processors; run again for a quiet number")
            with self._path.open("a", encoding="utf-8") as file:
                # a new line first: it ends one that was cut off
                file.write("\n" + json.dumps({"name": name, "value": value, "others": round(others, 3)}))
            self._known[name] = value
        return self._known[name]


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
