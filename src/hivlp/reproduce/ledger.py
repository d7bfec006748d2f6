"""What was measured so far, kept in a file, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hivlp.bench.worker import read_rows


class Ledger:
    """Named measurements, one JSON line each, written as soon as they are there."""

    def __init__(self, path: Path, say: Callable[[str], None] = lambda message: None) -> None:
        self._path = path
        self._say = say
        path.parent.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, Any] = {row["name"]: row["value"] for row in read_rows(path)}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def get(self, name: str, measure: Callable[[], Any]) -> Any:
        """The measurement of this name, made now if it was not made before; JSON-compatible."""
        if name not in self._known:
            self._say(name)
            value = measure()
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps({"name": name, "value": value}))  # a line that was cut off ends
            self._known[name] = value
        return self._known[name]
